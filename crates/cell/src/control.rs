//! Watching a cell from outside: is it running, what has it used, end it.

use crate::budget::{Budget, Used};
use crate::exit::Exit;
use futures::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Notify;

/// A handle on a cell that anybody may hold, on any thread, for as long as they like. It does not
/// keep the cell alive, and dropping it does not end the cell.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

/// Whether a cell runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not ended, and may not have begun.
    Running,
    /// It has ended, and everything that it held is gone.
    Ended(Exit),
}

/// What a cell uses and has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its linear memories together, in bytes of address space; what it never touched costs nothing.
    pub memory_bytes: u64,
    /// How long its code and its host calls have kept a thread busy, up to its last pause.
    pub cpu_time: Duration,
    /// Fuel used, up to its last call of the host; only counted for cells with
    /// [`Limits::fuel`](crate::Limits::fuel) or a budget with [`Allotment::fuel`](crate::Allotment::fuel).
    pub fuel: Option<u64>,
    /// What is used of its budget, by all that is below it too. Once it has ended: what was then.
    pub tree: Used,
}

impl Control {
    /// Ends the cell wherever it is: in a tight loop, in a host call, in a poll. Returns at once; the
    /// cell is gone within a few ticks if its task is run. Once this has returned nothing more is
    /// delivered to its recipient, except a delivery that was under way on another thread. Harmless
    /// if it has ended.
    pub fn kill(&self) {
        self.end(Exit::Killed);
    }

    /// Ends the cell as [`kill`](Self::kill) does, and has `exit` be how it ended, unless it was ended
    /// before: the first one counts.
    pub fn end(&self, exit: Exit) {
        // Somebody was first; then theirs counts.
        let _ = self.shared.verdict.set(exit);
        self.shared.killed.store(true, Ordering::Release);
        self.shared.task.wake();
    }

    /// Ends the cell because the authority that it ran under was taken back.
    pub fn revoke(&self, reason: impl Into<String>) {
        self.end(Exit::Revoked {
            reason: reason.into(),
        });
    }

    /// Whether it runs, or how it ended.
    pub fn status(&self) -> Status {
        match self.shared.exit.get() {
            None => Status::Running,
            Some(exit) => Status::Ended(exit.clone()),
        }
    }

    /// Waits until the cell has ended and everything that it held is gone. For any number of
    /// callers, before and after that.
    pub async fn wait(&self) -> Exit {
        loop {
            let mut ended = std::pin::pin!(self.shared.ended.notified());
            // From here on no end is missed, so the order of the next two lines is safe.
            ended.as_mut().enable();
            if let Some(exit) = self.shared.exit.get() {
                return exit.clone();
            }
            ended.await;
        }
    }

    /// What it uses and has used.
    pub fn usage(&self) -> Usage {
        let shared = &self.shared;
        Usage {
            memory_bytes: shared.memory_bytes.load(Ordering::Relaxed),
            cpu_time: Duration::from_nanos(shared.cpu_nanos.load(Ordering::Relaxed)),
            fuel: shared
                .metered
                .then(|| shared.fuel_used.load(Ordering::Relaxed)),
            tree: match &*shared.tree() {
                Tree::Alive(budget) => budget.used(),
                Tree::Gone(used) => *used,
            },
        }
    }
}

/// The cell was killed.
#[derive(Clone, Copy, Debug, Error)]
#[error("the cell was killed")]
pub(crate) struct Killed;

/// What a cell and its controls share.
pub(crate) struct Shared {
    exit: OnceLock<Exit>,
    ended: Notify,
    tree: Mutex<Tree>,
    /// How whoever ended it wants its end to be called.
    verdict: OnceLock<Exit>,
    pub(crate) killed: AtomicBool,
    /// The task that polls the cell.
    pub(crate) task: AtomicWaker,
    pub(crate) memory_bytes: AtomicU64,
    pub(crate) cpu_nanos: AtomicU64,
    pub(crate) fuel_used: AtomicU64,
    pub(crate) metered: bool,
    /// The ticker's time when the poll under way began.
    pub(crate) poll_began: AtomicU64,
    /// Whether the last pause was the host's doing, at a tick, and not the guest's.
    pub(crate) paused_by_tick: AtomicBool,
    /// Whether the guest was refused memory since it last waited or grew.
    pub(crate) growth_refused: AtomicBool,
    /// The bound by which it was.
    pub(crate) growth_limit: AtomicU64,
}

/// What a cell shares with those below it.
enum Tree {
    Alive(Budget),
    /// The cell has ended. The budget is let go, since it keeps what was set aside for it.
    Gone(Used),
}

impl Shared {
    pub(crate) fn new(metered: bool, budget: Budget) -> Self {
        Self {
            exit: OnceLock::new(),
            ended: Notify::new(),
            tree: Mutex::new(Tree::Alive(budget)),
            verdict: OnceLock::new(),
            killed: AtomicBool::new(false),
            task: AtomicWaker::new(),
            memory_bytes: AtomicU64::new(0),
            cpu_nanos: AtomicU64::new(0),
            fuel_used: AtomicU64::new(0),
            metered,
            poll_began: AtomicU64::new(0),
            paused_by_tick: AtomicBool::new(false),
            growth_refused: AtomicBool::new(false),
            growth_limit: AtomicU64::new(0),
        }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a cell that was ended from outside ends.
    pub(crate) fn verdict(&self) -> Exit {
        self.verdict.get().cloned().unwrap_or(Exit::Killed)
    }

    /// # Errors
    /// It was killed. A host call that returns this ends the guest on the spot.
    pub(crate) fn check_alive(&self) -> Result<(), Killed> {
        if self.killed.load(Ordering::Acquire) {
            Err(Killed)
        } else {
            Ok(())
        }
    }

    /// Publishes the end. The first one stands.
    pub(crate) fn end(&self, exit: Exit) {
        let used = match &*self.tree() {
            Tree::Alive(budget) => budget.used(),
            Tree::Gone(_) => return,
        };
        let budget = std::mem::replace(&mut *self.tree(), Tree::Gone(used));
        drop(budget);
        if self.exit.set(exit).is_ok() {
            self.memory_bytes.store(0, Ordering::Relaxed);
            self.ended.notify_waiters();
        }
    }
}
