//! Cells, as the node runs them: a program, its grants, a place on a vat, and one owner.
//!
//! [`Cells`] is the node's ability to run programs; it is what an `Executor` capability stands for.
//! [`Process`] owns a running cell: dropping it ends the cell and everything the cell held. A cell's exit is reported only when its authority has gone: its membrane is revoked,
//! its connection closed, its tasks ended.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cell::{Budget, Control, Exit, Program, Sender, Setup, Spawned};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::authority::Authority;
use crate::bounds::Bounded;
use crate::epoch::Epochs;
use crate::files::Tmp;
use crate::grants::{Grants, Kind, Who};
use crate::session::Possessions;
use crate::tenure::{Shared, Tenant};
use crate::vats::{Export, Occupied, Vat, VatError, Vats, conversation};

/// Requests for a guest's bootstrap that may wait for its vat. Each is answered in microseconds.
const QUEUED_EXPORTS: usize = 16;

/// What a node runs programs with. Cheap to clone.
#[derive(Clone)]
pub struct Cells {
    engine: cell::Engine,
    vats: Arc<Vats>,
    epochs: Epochs,
    audit: Option<Audit>,
    /// How many have been numbered.
    numbered: Arc<AtomicU64>,
}

/// What a cell is started with, beside its program.
pub struct Launch {
    /// Arguments, environment, streams, files.
    pub setup: Setup,
    /// What it may use.
    pub bounded: Bounded,
    /// What it holds.
    pub grants: Grants,
    /// The session that it was spawned with, and ends with. The first cell has none.
    pub parent: Option<Tenant>,
    /// The cells that it spawns by what it was handed, which end with it.
    pub descendants: Shared,
    /// Whether it may run programs itself. Then it runs on the vat of whoever spawned it: what it narrows and hands on
    /// is known again only there.
    pub supervises: bool,
    /// Its `/tmp`, if it has one.
    pub tmp: Option<Tmp>,
    /// Below which directory the cells that it spawns may have theirs.
    pub scratch: Option<Arc<Path>>,
}

impl Launch {
    /// A cell that no other one has spawned.
    pub fn alone(setup: Setup, bounded: Bounded, grants: Grants) -> Self {
        Self {
            setup,
            bounded,
            grants,
            parent: None,
            descendants: Shared::default(),
            supervises: false,
            tmp: None,
            scratch: None,
        }
    }
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
    /// Runs programs on these vats with this engine. What they hold belongs to these epochs; what they do with
    /// it is told to the audit, if there is one.
    pub fn new(engine: cell::Engine, vats: Vats, epochs: Epochs, audit: Option<Audit>) -> Self {
        Self {
            engine,
            vats: Arc::new(vats),
            epochs,
            audit,
            numbered: Arc::default(),
        }
    }

    /// The epochs that sessions belong to.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Where uses of authority are told.
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Verifies and compiles a component, or finds it compiled. Those who share a budget take turns with the others
    /// at compiling as one.
    ///
    /// # Errors
    /// When the bytes are no component that can run here; the error names what is wrong.
    pub async fn load(&self, budget: &Budget, wasm: Bytes) -> Result<Program, cell::LoadError> {
        self.engine.load_for(budget, wasm).await
    }

    /// Numbers one more holder of grants.
    pub(crate) fn number(&self, kind: Kind, name: &str) -> Who {
        let before = self.numbered.fetch_add(1, Ordering::Relaxed);
        Who::new(kind, before.saturating_add(1), name)
    }

    /// The vat for one more of them.
    ///
    /// # Errors
    /// When the node is shutting down.
    pub(crate) fn vat(&self) -> Result<Vat, VatError> {
        self.vats.least_loaded()
    }

    /// Starts a cell that holds its grants and nothing else.
    ///
    /// # Errors
    /// When the engine has no room for it, or the node is shutting down.
    pub async fn spawn(&self, program: &Program, launch: Launch) -> Result<Process, LaunchError> {
        let Launch {
            mut setup,
            bounded,
            grants,
            parent,
            descendants,
            supervises,
            tmp,
            scratch,
        } = launch;
        bounded.apply(&mut setup);
        setup.tmp = tmp.as_ref().map(Tmp::writable);
        let name = setup.args.first().map_or("", String::as_str);
        let who = self.number(Kind::Cell, name);
        let Spawned {
            cell,
            control,
            sender,
        } = program.spawn(setup)?;
        let vat = match supervises.then(Vat::here).flatten() {
            Some(here) => here,
            None => self.vat()?,
        };
        let occupied = vat.occupy();
        let (ended, exit) = watch::channel(None);
        let (exports, export_requests) = mpsc::channel(QUEUED_EXPORTS);
        let stop = CancellationToken::new();
        let conduct = Conduct {
            who,
            cells: self.clone(),
            cell,
            control: control.clone(),
            sender,
            bounded,
            grants,
            parent,
            descendants,
            tmp,
            scratch,
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
        Ok(process)
    }
}

/// The task that is a cell: it lives on the cell's vat.
struct Conduct {
    who: Who,
    cells: Cells,
    cell: cell::Cell,
    control: Control,
    sender: Sender,
    bounded: Bounded,
    grants: Grants,
    parent: Option<Tenant>,
    descendants: Shared,
    tmp: Option<Tmp>,
    scratch: Option<Arc<Path>>,
    export_requests: mpsc::Receiver<oneshot::Sender<capnp::Result<Export>>>,
    stop: CancellationToken,
    ended: watch::Sender<Option<Exit>>,
    occupied: Occupied,
}

impl Conduct {
    async fn run(self) {
        let Self {
            who,
            cells,
            cell,
            control,
            sender,
            bounded,
            grants,
            parent,
            descendants,
            tmp,
            scratch,
            mut export_requests,
            stop,
            ended,
            occupied,
        } = self;
        tracing::debug!(%who, "a cell has started");
        let calls = bounded.calls;
        let possessions = Possessions {
            who: who.clone(),
            bounded,
            grants,
            scratch,
        };
        let (authority, hearing) = Authority::hand_over(possessions, cells, |bootstrap| {
            conversation::open(sender, calls, bootstrap)
        });
        let mut authority = Some(authority);
        let mut running = std::pin::pin!(cell.run(hearing));
        let mut orphaned = std::pin::pin!(orphaned(parent.as_ref()));
        let mut revoked = false;
        let exit = loop {
            tokio::select! {
                exit = &mut running => break exit,
                reason = &mut orphaned, if !revoked => {
                    revoked = true;
                    control.revoke(reason);
                }
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
        descendants.end("the cell that spawned it has ended");
        descendants.vacant().await;
        if let Some(tmp) = tmp {
            tmp.remove().await;
        }
        drop(occupied);
        tracing::debug!(%who, %exit, "a cell has ended");
        ended.send_replace(Some(exit));
    }
}

/// Waits until the session ends that a cell was spawned with.
async fn orphaned(parent: Option<&Tenant>) -> &str {
    match parent {
        Some(parent) => parent.over().await,
        None => std::future::pending().await,
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
