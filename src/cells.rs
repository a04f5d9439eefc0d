//! Cells, as the node runs them: a program, its grants, a place on a vat, and one owner.
//!
//! [`Cells`] is the node's ability to run programs; it is what an `Executor` capability stands for.
//! [`Process`] owns a running cell: dropping it ends the cell and everything the cell held. A cell's exit is reported only when its authority has gone: its membrane is revoked,
//! its connection closed, its tasks ended.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use capnp::capability::Client;
use cell::{Control, Exit, Program, Sender, Setup, Spawned};
use membrane::{AllowAll, Membrane};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use vat::Connection;

use crate::rpc::session::{self, Grants};
use crate::vats::conversation::{self, Hearing};
use crate::vats::{Export, Occupied, Scope, VatError, Vats};

/// Requests for a guest's bootstrap that may wait for its vat. Each is answered in microseconds.
const QUEUED_EXPORTS: usize = 16;

/// What a node runs programs with. Cheap to clone.
#[derive(Clone)]
pub struct Cells {
    engine: cell::Engine,
    vats: Arc<Vats>,
}

/// Why a cell could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The engine refused.
    #[error(transparent)]
    Spawn(#[from] cell::SpawnError),
    /// There is no thread to run it on.
    #[error(transparent)]
    Vat(#[from] VatError),
}

impl Cells {
    /// Runs programs on these vats with this engine.
    pub fn new(engine: cell::Engine, vats: Vats) -> Self {
        Self {
            engine,
            vats: Arc::new(vats),
        }
    }

    /// Verifies and compiles a component, or finds it compiled.
    ///
    /// # Errors
    /// When the bytes are no component that can run here; the error names what is wrong.
    pub async fn load(&self, wasm: Bytes) -> Result<Program, cell::LoadError> {
        self.engine.load(wasm).await
    }

    /// Starts a cell that holds these grants and nothing else.
    ///
    /// # Errors
    /// When the engine has no room for it, or the node is shutting down.
    pub async fn spawn(
        &self,
        program: &Program,
        setup: Setup,
        grants: Grants,
    ) -> Result<Process, LaunchError> {
        let Spawned {
            cell,
            control,
            sender,
        } = program.spawn(setup)?;
        let vat = self.vats.least_loaded()?;
        let occupied = vat.occupy();
        let (ended, exit) = watch::channel(None);
        let (exports, export_requests) = mpsc::channel(QUEUED_EXPORTS);
        let stop = CancellationToken::new();
        let conduct = Conduct {
            cell,
            sender,
            grants,
            export_requests,
            stop: stop.clone(),
            ended,
            occupied,
        };
        // Made before the task is handed over: if this future is dropped meanwhile, the cell is killed.
        let process = Process {
            control,
            exit,
            exports,
            stop,
        };
        vat.spawn(move || conduct.run()).await?;
        tracing::debug!("a cell has started");
        Ok(process)
    }
}

/// The task that is a cell: it lives on the cell's vat.
struct Conduct {
    cell: cell::Cell,
    sender: Sender,
    grants: Grants,
    export_requests: mpsc::Receiver<oneshot::Sender<capnp::Result<Export>>>,
    stop: CancellationToken,
    ended: watch::Sender<Option<Exit>>,
    occupied: Occupied,
}

impl Conduct {
    async fn run(self) {
        let Self {
            cell,
            sender,
            grants,
            mut export_requests,
            stop,
            ended,
            occupied,
        } = self;
        let (authority, hearing) = Authority::hand_over(sender, grants);
        let mut authority = Some(authority);
        let mut running = std::pin::pin!(cell.run(hearing));
        let exit = loop {
            tokio::select! {
                exit = &mut running => break exit,
                () = stop.cancelled(), if authority.is_some() => {
                    if let Some(authority) = authority.take() {
                        authority.take_back("the cell was asked to stop").await;
                    }
                }
                Some(reply) = export_requests.recv() => {
                    let export = match &authority {
                        Some(authority) => Ok(authority.export()),
                        None => Err(stopped()),
                    };
                    // Whoever asked may have gone; then nobody is owed an answer.
                    let _ = reply.send(export);
                }
            }
        };
        if let Some(authority) = authority {
            authority
                .take_back(&format!("the cell has ended: {exit}"))
                .await;
        }
        drop(occupied);
        tracing::debug!(%exit, "a cell has ended");
        ended.send_replace(Some(exit));
    }
}

/// All that a cell can reach, and all that can reach it.
struct Authority {
    /// Around what the cell was granted.
    inward: Membrane,
    /// Around what the cell exports.
    outward: Membrane,
    guest: Connection,
    scope: Scope,
}

impl Authority {
    fn hand_over(sender: Sender, grants: Grants) -> (Self, Hearing) {
        let scope = Scope::default();
        let spawner = scope.spawner();
        let inward = Membrane::new(Rc::new(AllowAll));
        let bootstrap = inward.wrap(session::bootstrap(grants, &spawner)).client;
        let (guest, hearing) = conversation::open(sender, bootstrap);
        let authority = Self {
            inward,
            outward: Membrane::new(Rc::new(AllowAll)),
            guest,
            scope,
        };
        (authority, hearing)
    }

    fn export(&self) -> Export {
        let bootstrap: Client = self.guest.bootstrap();
        Export::new(&self.scope.spawner(), self.outward.wrap(bootstrap))
    }

    /// Revokes it all, and returns once nothing of it is left.
    async fn take_back(self, reason: &str) {
        let Self {
            inward,
            outward,
            guest,
            scope,
        } = self;
        let reason = capnp::Error::disconnected(reason.to_owned());
        inward.revoke(reason.clone());
        outward.revoke(reason);
        drop(guest);
        scope.shutdown().await;
    }
}

fn stopped() -> capnp::Error {
    capnp::Error::disconnected("the cell has ended".into())
}

/// A cell's state, as far as anyone outside is concerned.
#[derive(Clone, Debug)]
pub enum Status {
    /// It runs, or is being put away.
    Running,
    /// It has ended, and its authority with it.
    Ended(Exit),
}

/// The owner of a running cell. Dropping it kills the cell.
pub struct Process {
    control: Control,
    exit: watch::Receiver<Option<Exit>>,
    exports: mpsc::Sender<oneshot::Sender<capnp::Result<Export>>>,
    stop: CancellationToken,
}

impl Process {
    /// How the cell ended; waits for that. Any number may wait, before and after.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        // The vat itself went down with the node, and the cell with it.
        ended
            .ok()
            .and_then(|exit| exit.clone())
            .unwrap_or(Exit::Killed)
    }

    /// Whether it runs.
    pub fn status(&self) -> Status {
        match &*self.exit.borrow() {
            None => Status::Running,
            Some(exit) => Status::Ended(exit.clone()),
        }
    }

    /// Ends the cell wherever it is, at its next tick at the latest.
    pub fn kill(&self) {
        self.control.kill();
    }

    /// Asks the cell to stop: takes its authority back, so that every call it waits for fails. What it
    /// does then is its own affair; [`Process::kill`] is for a cell that does not take the hint.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// What the cell uses.
    pub fn usage(&self) -> cell::Usage {
        self.control.usage()
    }

    /// What the guest exports, on its way to the vat of whoever asks.
    ///
    /// # Errors
    /// `disconnected` when the cell has ended.
    pub async fn bootstrap(&self) -> capnp::Result<Export> {
        let (reply, answer) = oneshot::channel();
        self.exports.send(reply).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.control.kill();
    }
}
