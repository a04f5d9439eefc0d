//! One running `ww`: engine, vats and swarm, started side by side and ended together.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use atom::Epoch;
use swarm::{Handle, Identity, Swarm, SwarmError};
use tokio::task::JoinHandle;

use crate::audit::Audit;
use crate::cells::Cells;
use crate::epoch::Epochs;
use crate::vats::{VatError, Vats};

/// How a node is set up.
pub struct Options {
    /// Which key the node has.
    pub identity: Identity,
    /// The TCP port that peers reach it on; 0 for any that is free.
    pub port: u16,
    /// Where compiled code is kept between runs; `None` to keep it in memory only.
    pub code_cache: Option<PathBuf>,
    /// How many cells may be alive at a time. Each takes address space, and some microseconds of the node's
    /// start, whether it is used or not.
    pub max_cells: u32,
    /// How components are compiled.
    pub compiler: cell::Compiler,
    /// Whether traps tell source lines.
    pub wasm_debug: bool,
    /// Where uses of authority are told, if anywhere.
    pub audit: Option<Audit>,
}

/// A node that is starting or running. Dropping it ends the swarm and every cell.
pub struct Node {
    cells: Cells,
    network: Network,
}

enum Network {
    Starting(JoinHandle<Result<(Swarm, Handle), SwarmError>>),
    Running(Box<(Swarm, Handle)>),
    Failed,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The Wasm engine could not.
    #[error(transparent)]
    Engine(#[from] cell::EngineError),
    /// A thread could not be had.
    #[error(transparent)]
    Vat(#[from] VatError),
    /// The swarm could not; most often because the port is taken.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// The swarm's own task came down.
    #[error("the network task ended before it was up")]
    Ended,
}

impl Node {
    /// Starts engine and vats; the swarm goes on starting beside whatever comes next.
    ///
    /// # Errors
    /// When the engine or a thread cannot be had. The swarm's errors are told by [`Node::network`].
    pub fn start(options: Options) -> Result<Self, NodeError> {
        let Options {
            identity,
            port,
            code_cache,
            max_cells,
            compiler,
            wasm_debug,
            audit,
        } = options;
        let swarm = tokio::spawn(Swarm::start(swarm::Options {
            port,
            ..swarm::Options::new(identity)
        }));
        let engine = cell::Engine::new(cell::EngineOptions {
            cache_dir: code_cache,
            max_cells,
            compiler,
            wasm_debug,
            ..cell::EngineOptions::default()
        })?;
        let vats = Vats::start(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))?;
        Ok(Self {
            cells: Cells::new(engine, vats, Epochs::new(Epoch::default()), audit),
            network: Network::Starting(swarm),
        })
    }

    /// What runs programs.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The swarm, once it listens.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn network(&mut self) -> Result<Handle, NodeError> {
        if let Network::Starting(starting) = &mut self.network {
            let started = starting.await;
            self.network = Network::Failed;
            self.network = Network::Running(Box::new(started.map_err(|_| NodeError::Ended)??));
        }
        match &self.network {
            Network::Running(running) => Ok(running.1.clone()),
            _ => Err(NodeError::Ended),
        }
    }

    /// Ends the node: says goodbye to peers and ends every cell.
    pub async fn shutdown(self) {
        match self.network {
            Network::Running(running) => running.0.shutdown().await,
            Network::Starting(starting) => starting.abort(),
            Network::Failed => {}
        }
    }
}
