//! A component that is ready to run, and what one cell of it is started with.

use crate::budget::{Budget, Exhausted, Resource};
use crate::cell::{Cell, Owner, Start};
use crate::control::{Control, Shared};
use crate::digest::Digest;
use crate::engine::Engine;
use crate::fuel::Tank;
use crate::host::{Descriptors, Files, ImageTree, Wasi, Writable};
use crate::limits::Limits;
use crate::load::Code;
use crate::queue::queue;
use crate::sender::Sender;
use crate::stdio::{GuestStdin, GuestStdout, Stdin, Stdout};
use bytes::Bytes;
use std::sync::Arc;
use thiserror::Error;
use wasmtime_wasi::WasiCtx;

/// The most random bytes that a guest gets from one call, in bytes. Making them keeps the thread,
/// and no tick interrupts it.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// What the arguments and the environment of a cell may have together, in bytes: as on Linux.
const MAX_ARGUMENT_BYTES: usize = 2 << 20;

/// A component that is ready to run. Clones are the same program.
#[derive(Clone)]
pub struct Program {
    engine: Engine,
    digest: Digest,
    /// Kept to make metered code of it, should a cell with a budget be wanted.
    wasm: Bytes,
    code: Code,
}

/// What a cell is started with. `Default` is nothing: no arguments, no environment, no files, the
/// end of the input at once, output discarded, default limits.
#[derive(Default)]
pub struct Setup {
    /// The arguments, the program's name first by custom.
    pub args: Vec<String>,
    /// The environment, exactly: nothing of the host's is added.
    pub env: Vec<(String, String)>,
    /// What the cell sees as `/` and cannot write to. Default: no files.
    pub root: Option<Arc<dyn ImageTree>>,
    /// A directory of its own that it sees as `/tmp` and may write to. Default: none.
    pub tmp: Option<Writable>,
    /// The lasting state of its environment, which it sees as `/var` and may write to. Default: none.
    pub var: Option<Writable>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Its standard output.
    pub stdout: Stdout,
    /// Its standard error.
    pub stderr: Stdout,
    /// Which of the three it is told to be a terminal.
    pub terminal: Terminal,
    /// What it may use.
    pub limits: Limits,
    /// What it may use together with all that is below it. Counts as one of
    /// [`Allotment::cells`](crate::Allotment::cells) of those above. Default: one without bounds.
    pub budget: Budget,
}

/// Which standard streams a cell is told to be a terminal. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// The standard input.
    pub stdin: bool,
    /// The standard output.
    pub stdout: bool,
    /// The standard error.
    pub stderr: bool,
}

/// Why no cell was made.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The engine has as many cells as it may.
    #[error("{limit} cells are alive, and no more may be")]
    TooManyCells {
        /// [`EngineOptions::max_cells`](crate::EngineOptions::max_cells).
        limit: u32,
    },
    /// A budget above the cell's is spent.
    #[error(transparent)]
    Budget(#[from] Exhausted),
    /// Arguments and environment are too long.
    #[error("arguments and environment have {bytes} bytes together; at most {limit} are passed")]
    ArgumentsTooLong {
        /// Their size.
        bytes: usize,
        /// What is passed.
        limit: usize,
    },
}

/// A new cell: the life itself, a handle on it, and the host's voice in its conversation.
pub struct Spawned {
    /// To be run by whoever owns it.
    pub cell: Cell,
    /// To watch and to kill it.
    pub control: Control,
    /// To talk to it.
    pub sender: Sender,
}

impl Program {
    pub(crate) fn new(engine: Engine, digest: Digest, wasm: Bytes, code: Code) -> Self {
        Self {
            engine,
            digest,
            wasm,
            code,
        }
    }

    /// The BLAKE3 hash of the component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The names of the interfaces that the component imports, with their versions.
    pub fn imports(&self) -> &[String] {
        &self.code.imports
    }

    /// Makes a cell, which does nothing until it is run. Takes some microseconds.
    ///
    /// With fuel that is counted the cell needs code of another flavour; that is found or compiled when
    /// the cell is run, as part of its running.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn(&self, setup: Setup) -> Result<Spawned, SpawnError> {
        let place = self
            .engine
            .admit()
            .map_err(|limit| SpawnError::TooManyCells { limit })?;
        let budget = setup.budget.clone();
        let descent = match budget.parent() {
            Some(above) => Some(above.charge(Resource::Cells, 1)?),
            None => None,
        };
        let limits = setup.limits.clone();
        let wasi = wasi(setup)?;
        let (to_guest, guest_reads) = queue(limits.message_bytes, limits.queued_bytes);
        let metered = Tank::is_needed(&limits, &budget);
        let shared = Arc::new(Shared::new(metered, budget.clone()));
        let owner = Owner::new(shared.clone(), place, descent);
        let start = Start {
            program: self.clone(),
            wasi,
            incoming: guest_reads,
            limits,
            budget,
        };
        Ok(Spawned {
            cell: Cell::new(start, owner),
            control: Control { shared },
            sender: Sender::new(to_guest),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The code to run, compiled if need be when it is the metered one, at the turn of `budget`.
    pub(crate) async fn code(
        &self,
        metered: bool,
        budget: &Budget,
    ) -> Result<Code, crate::LoadError> {
        if metered {
            let loader = self.engine.loader();
            let whose = budget.lineage();
            loader.code(&whose, self.digest, true, &self.wasm).await
        } else {
            Ok(self.code.clone())
        }
    }
}

/// Everything that WASI shows to the guest.
fn wasi(setup: Setup) -> Result<Wasi, SpawnError> {
    let bytes = setup.args.iter().map(String::len).sum::<usize>()
        + setup
            .env
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
    if bytes > MAX_ARGUMENT_BYTES {
        return Err(SpawnError::ArgumentsTooLong {
            bytes,
            limit: MAX_ARGUMENT_BYTES,
        });
    }
    let mut wasi = WasiCtx::builder();
    wasi.args(&setup.args)
        .envs(&setup.env)
        .stdin(GuestStdin::new(setup.stdin, setup.terminal.stdin))
        .stdout(GuestStdout::new(setup.stdout, setup.terminal.stdout))
        .stderr(GuestStdout::new(setup.stderr, setup.terminal.stderr))
        .max_random_size(MAX_RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    let descriptors = Descriptors::new(setup.limits.files, &setup.budget);
    Ok(Wasi {
        ctx: wasi.build(),
        files: Files::new(setup.root, setup.tmp, setup.var, descriptors),
    })
}
