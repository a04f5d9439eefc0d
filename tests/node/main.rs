//! The node's own order of things, with real cells on real vats, where the command line has no handle on it: one
//! epoch after another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use atom::Epoch;
use bytes::Bytes;
use cell::{Setup, Stdout, stdio};
use fixtures::{Environment, guests};
use image::{Image, Layer};
use ww::bounds::Bounds;
use ww::cells::{Cells, Launch, Process, Status};
use ww::epoch::Epochs;
use ww::grants::{Grant, Grants};
use ww::vats::Vats;

/// How long anything may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    engine: cell::Engine,
    cells: Cells,
    image: Arc<Image>,
}

impl Node {
    fn start(environment: &Environment) -> Self {
        let engine = cell::Engine::new(cell::EngineOptions::default()).unwrap();
        let vats = Vats::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let epochs = Epochs::new(Epoch::default());
        let layer = Layer::local(environment.path()).unwrap();
        let image = Image::merge(&[layer]).unwrap();
        Self {
            cells: Cells::new(engine.clone(), vats, epochs, None),
            engine,
            image: Arc::new(image),
        }
    }

    async fn run(&self, args: &[&str]) -> (Process, stdio::Reader) {
        let bounded = Bounds::default().root();
        let wasm = Bytes::from(self.image.entry().unwrap());
        let program = self.cells.load(&bounded.budget, wasm).await.unwrap();
        let (stdout, writer) = stdio::pipe(1 << 16);
        let setup = Setup {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            stdout: Stdout::Pipe(writer),
            ..Setup::default()
        };
        let grants = Grants::default()
            .with("executor", Grant::Executor)
            .image(self.image.clone());
        let launch = Launch::alone(setup, bounded, grants);
        (self.cells.spawn(&program, launch).await.unwrap(), stdout)
    }
}

async fn line(stdout: &stdio::Reader) -> String {
    let mut line = Vec::new();
    let read = async {
        loop {
            match stdout.read(1).await.first() {
                None | Some(b'\n') => return,
                Some(byte) => line.push(*byte),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    String::from_utf8(line).unwrap()
}

fn epoch(sequence: u64) -> Epoch {
    Epoch {
        sequence,
        ..Epoch::default()
    }
}

fn environment() -> Environment {
    let environment = Environment::new(guests::EPOCHS);
    environment.copy(guests::IDLE, "bin/idle.wasm");
    environment
}

// Rows 71, 87: what was granted in one epoch ends with it, the cells that were spawned in it too; the membrane stays
// good, and gives what holds in the next.
#[tokio::test]
async fn authority_ends_with_its_epoch_and_the_membrane_gives_the_next() {
    let environment = environment();
    let node = Node::start(&environment);
    let (process, stdout) = node.run(&["epochs", "3"]).await;
    for sequence in 0..2 {
        assert_eq!(line(&stdout).await, format!("epoch {sequence}"));
        assert_eq!(line(&stdout).await, "spawned");
        assert_eq!(node.engine.live_cells(), 2);
        node.cells.epochs().revoke().await.unwrap();
        assert_eq!(
            node.engine.live_cells(),
            1,
            "the child went with its session"
        );
        let failure = line(&stdout).await;
        let stale = format!("staleEpoch: epoch {sequence} has ended");
        assert!(failure.contains(&stale), "{failure}");
        assert!(matches!(process.status(), Status::Running));
        node.cells.epochs().publish(epoch(sequence + 1));
    }
    assert_eq!(line(&stdout).await, "epoch 2");
    assert_eq!(process.wait().await.code(), 0);
}

// Whatever the order of a graft and the end of an epoch, no session outlives the epoch it was for.
#[tokio::test]
async fn a_graft_in_the_moment_of_a_revocation_leaves_nothing() {
    let environment = environment();
    let node = Node::start(&environment);
    let mut cells = Vec::new();
    for _ in 0..20 {
        cells.push(node.run(&["epochs", "1"]).await.0);
        node.cells.epochs().revoke().await.unwrap();
        node.cells.epochs().publish(epoch(0));
    }
    node.cells.epochs().revoke().await.unwrap();
    for cell in &cells {
        tokio::time::timeout(PATIENCE, cell.wait()).await.unwrap();
    }
    assert_eq!(node.engine.live_cells(), 0);
}
