//! A node that hostile clients are let loose on: real parts, put together as `ww` does.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fixtures::{Environment, guests};
use image::{Image, Layer};
use swarm::{Handle, Identity, Swarm};
use tempfile::TempDir;
use tokio::runtime::Handle as Runtime;
use ww::cells::Cells;
use ww::epoch::Epochs;
use ww::ipfs::Ipfs;
use ww::vats::Vats;

use crate::content::{self, Content};
use crate::contract::{self, Method};

/// Cells at a time: few, so that there is not always room for one.
const MAX_CELLS: u32 = 48;

/// Machine code that is kept for nobody.
const CACHE_BYTES: u64 = 16 << 20;

/// The node, and what there is to be named in a call.
pub struct World {
    pub engine: cell::Engine,
    pub cells: Cells,
    pub host: Handle,
    pub image: Arc<Image>,
    /// Where cells have their `/tmp`.
    pub scratch: TempDir,
    pub methods: Vec<Method>,
    /// Programs in the image, and what is not there.
    pub paths: Vec<&'static str>,
    /// How many of the paths lead to a program: the first ones.
    pub there: usize,
    pub components: Vec<Vec<u8>>,
    pub peers: Vec<Vec<u8>>,
    pub addrs: Vec<Vec<u8>>,
    /// The node's content.
    pub ipfs: Arc<Ipfs>,
    pub content: Content,
    /// The peer beside the node.
    _swarms: [Swarm; 2],
    _environment: Environment,
    _content: TempDir,
}

impl World {
    pub async fn new() -> Self {
        let environment = Environment::new(guests::PLAIN);
        let programs = [
            ("bin/plain.wasm", guests::PLAIN),
            ("bin/idle.wasm", guests::IDLE),
            ("bin/serves.wasm", guests::SERVES),
            ("bin/lends.wasm", guests::LENDS),
            ("bin/reflects.wasm", guests::REFLECTS),
            ("bin/echo.wasm", guests::ECHO),
            ("bin/exit_code.wasm", guests::EXIT_CODE),
            ("bin/spin.wasm", guests::SPIN),
            ("bin/memhog.wasm", guests::MEMHOG),
            ("bin/fills_tmp.wasm", guests::FILLS_TMP),
            ("bin/stack_overflow.wasm", guests::STACK_OVERFLOW),
            ("bin/stderr_flood.wasm", guests::STDERR_FLOOD),
        ];
        for (path, program) in programs {
            environment.copy(program, path);
        }
        let layer = Layer::local(environment.path()).unwrap();
        let image = Image::merge(&[layer]).unwrap();

        let engine = cell::Engine::new(cell::EngineOptions {
            max_cells: MAX_CELLS,
            load: cell::LoadLimits {
                memory_cache_bytes: CACHE_BYTES,
                ..cell::LoadLimits::default()
            },
            ..cell::EngineOptions::default()
        })
        .unwrap();
        let vats = Vats::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let epochs = Epochs::new(atom::Epoch::default());
        let cells = Cells::new(engine.clone(), vats, epochs, None);

        let (ours, host) = swarm().await;
        let (theirs, peer) = swarm().await;
        let peers = [peer.peer_id(), host.peer_id()].map(|id| id.to_bytes());
        let kept = TempDir::new().unwrap();
        let repo = content::repo(&kept.path().join("repo"), &[7; 32]);
        let content = Content::new(&repo, &kept.path().join("tree"));
        let ipfs = Ipfs::new(repo, host.clone(), Runtime::current());
        let addrs = peer.addrs().iter().map(|addr| addr.to_vec()).collect();
        Self {
            engine,
            cells,
            host,
            image: Arc::new(image),
            scratch: TempDir::new().unwrap(),
            methods: contract::methods(),
            there: 13,
            paths: vec![
                "/bin/plain.wasm",
                "/bin/idle.wasm",
                "/bin/serves.wasm",
                "/bin/lends.wasm",
                "/bin/reflects.wasm",
                "/bin/echo.wasm",
                "/bin/echo.wasm",
                "/bin/exit_code.wasm",
                "/bin/spin.wasm",
                "/bin/memhog.wasm",
                "/bin/fills_tmp.wasm",
                "/bin/stack_overflow.wasm",
                "/bin/stderr_flood.wasm",
                "/bin/absent.wasm",
                "/bin",
                "/../etc/passwd",
            ],
            components: [guests::PLAIN, guests::ECHO, guests::EXIT_CODE]
                .map(|program| std::fs::read(program).unwrap())
                .into(),
            peers: peers.into(),
            addrs,
            ipfs,
            content,
            _content: kept,
            _swarms: [ours, theirs],
            _environment: environment,
        }
    }

    /// What cells have left under the directory for their `/tmp`.
    pub fn left_over(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.scratch.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    pub fn scratch(&self) -> Arc<Path> {
        self.scratch.path().into()
    }
}

async fn swarm() -> (Swarm, Handle) {
    let options = swarm::Options {
        port: 0,
        listen: [std::net::Ipv4Addr::LOCALHOST.into()].into(),
        connect_timeout: std::time::Duration::from_secs(2),
        ..swarm::Options::new(Identity::ephemeral())
    };
    Swarm::start(options).await.unwrap()
}
