//! The clock by which guests give way to each other.
//!
//! One thread moves the epoch of every engine once in [`TICK`], and only while some guest executes:
//! each poll of a cell is counted in and out, and after a few ticks without any the thread parks.
//! It lingers that long because waking it costs a system call, which a busy node would otherwise pay
//! for each message. A node whose cells all wait uses no CPU at all.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// The longest that a guest keeps its thread while others wait, more or less.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the thread parks.
const LINGER_TICKS: u32 = 10;

/// The ticker. Dropping it ends its thread.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    engines: Mutex<Vec<wasmtime::Engine>>,
    ticks: AtomicU64,
    /// Polls of cells that are under way.
    running: AtomicUsize,
    /// Polls of cells that ever began.
    entered: AtomicU64,
    parked: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let handle = thread::Builder::new()
            .name("cell-ticker".to_owned())
            .spawn(move || of_thread.run())?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// Moves this engine's epoch too from now on.
    pub(crate) fn add(&self, engine: wasmtime::Engine) {
        self.shared
            .engines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(engine);
    }

    /// How many ticks have passed.
    pub(crate) fn ticks(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }

    /// Says that a guest executes for as long as the result lives.
    pub(crate) fn enter(&self) -> Executing<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        self.shared.entered.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst)
            && self.shared.parked.swap(false, Ordering::SeqCst)
        {
            self.thread.unpark();
        }
        Executing(&self.shared)
    }

    #[cfg(test)]
    pub(crate) fn is_parked(&self) -> bool {
        self.shared.parked.load(Ordering::SeqCst)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// A guest executes.
pub(crate) struct Executing<'a>(&'a Shared);

impl Drop for Executing<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self) {
        let mut seen = 0;
        let mut quiet = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            self.ticks.fetch_add(1, Ordering::Relaxed);
            for engine in &*self.engines.lock().unwrap_or_else(PoisonError::into_inner) {
                engine.increment_epoch();
            }
            if self.is_quiet_since(seen) {
                quiet += 1;
            } else {
                quiet = 0;
                seen = self.entered.load(Ordering::SeqCst);
            }
            if quiet >= LINGER_TICKS {
                self.park_unless_entered(seen);
                quiet = 0;
            }
        }
    }

    fn is_quiet_since(&self, seen: u64) -> bool {
        self.running.load(Ordering::SeqCst) == 0 && self.entered.load(Ordering::SeqCst) == seen
    }

    /// Announces the parking first and looks again after that: whoever enters in between either is
    /// seen here, or sees the announcement and takes it back.
    fn park_unless_entered(&self, seen: u64) {
        self.parked.store(true, Ordering::SeqCst);
        if self.is_quiet_since(seen) {
            while self.parked.load(Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst) {
                thread::park();
            }
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::sleep(TICK);
        }
    }

    #[test]
    fn it_parks_when_no_guest_executes_and_ticks_again_when_one_does() {
        let ticker = Ticker::start().unwrap();
        until(|| ticker.is_parked());
        for _ in 0..3 {
            let before = ticker.ticks();
            let executing = ticker.enter();
            until(|| ticker.ticks() > before + u64::from(2 * LINGER_TICKS));
            assert!(!ticker.is_parked());
            drop(executing);
            until(|| ticker.is_parked());
        }
    }
}
