//! A bounded queue of blocking jobs with a few threads, which exist only while there is work.
//!
//! It is the engine's own instead of a runtime's, so that loading works the same from every kind of
//! runtime, and ends in peace when a runtime is shut down in the middle of it.

use super::turns::Turns;
use crate::budget::Lineage;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What the waiting jobs may cost together. A node loads a few components at a time; a flood of them
/// is refused.
const MAX_WAITING_COST: u64 = 256 << 20;

/// What a job costs beside the bytes of its component, so that no more than 256 wait.
const JOB_COST: u64 = 1 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// A queue of jobs. `T` tells what they do, for [`join`](Self::join).
pub(super) struct Lane<T> {
    name: &'static str,
    width: usize,
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    threads: usize,
    waiting: Turns<T, Job>,
}

impl<T: PartialEq + Send + 'static> Lane<T> {
    /// A lane that runs up to `width` jobs at a time, on threads called `name`.
    pub(super) fn new(name: &'static str, width: usize) -> Self {
        let state = State {
            threads: 0,
            waiting: Turns::new(MAX_WAITING_COST),
        };
        Self {
            name,
            width,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Runs `job` when the turn of `whose` comes. Drops it instead, or another one that waits, if too
    /// much is waiting, and drops it if no thread can be had: jobs say themselves what being dropped means.
    pub(super) fn submit(
        &self,
        whose: &Lineage,
        what: T,
        bytes: usize,
        job: impl FnOnce() + Send + 'static,
    ) {
        let cost = JOB_COST.saturating_add(bytes as u64);
        let mut state = lock(&self.state);
        let dropped = state.waiting.push(whose.clone(), what, cost, Box::new(job));
        let wants_thread = state.threads < self.width;
        state.threads += usize::from(wants_thread);
        drop(state);
        drop(dropped);
        if !wants_thread {
            return;
        }
        let shared = self.state.clone();
        let thread = thread::Builder::new().name(self.name.to_owned());
        if thread.spawn(move || work(&shared)).is_err() {
            let mut state = lock(&self.state);
            state.threads -= 1;
            // Another thread will come to it; without one, it would wait for ever.
            if state.threads == 0 {
                let dropped = state.waiting.clear();
                drop(state);
                drop(dropped);
            }
        }
    }

    /// Says that `whose` waits for what a job does as well. If it has not begun it is run when the
    /// sooner of their turns comes.
    pub(super) fn join(&self, what: &T, whose: &Lineage) {
        lock(&self.state).waiting.join(what, whose);
    }
}

fn work<T: PartialEq>(shared: &Mutex<State<T>>) {
    loop {
        let job = {
            let mut state = lock(shared);
            let Some(job) = state.waiting.pop() else {
                state.threads -= 1;
                return;
            };
            job
        };
        // What a panic means has been said by what the job dropped; the thread goes on.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn no_more_jobs_run_at_a_time_than_the_lane_is_wide_and_all_run() {
        let lane = Lane::new("test", 2);
        let running = Arc::new(Mutex::new((0, 0)));
        let (done, all_done) = mpsc::channel();
        for _ in 0..50 {
            let (running, done) = (running.clone(), done.clone());
            lane.submit(&Lineage::nobody(), (), 0, move || {
                {
                    let mut running = running.lock().unwrap();
                    running.0 += 1;
                    running.1 = running.0.max(running.1);
                }
                thread::yield_now();
                running.lock().unwrap().0 -= 1;
                done.send(()).unwrap();
            });
        }
        drop(done);
        assert_eq!(all_done.iter().count(), 50);
        assert!(running.lock().unwrap().1 <= 2);
    }

    const MAX_WAITING: usize = (MAX_WAITING_COST / JOB_COST) as usize;

    #[test]
    fn a_flood_is_dropped_and_a_panic_is_survived() {
        let lane = Lane::new("test", 1);
        let (release, held) = mpsc::channel::<()>();
        lane.submit(&Lineage::nobody(), (), 0, move || {
            let _ = held.recv();
            panic!("on purpose");
        });
        let (done, all_done) = mpsc::channel();
        for _ in 0..2 * MAX_WAITING {
            let done = done.clone();
            lane.submit(&Lineage::nobody(), (), 0, move || done.send(()).unwrap());
        }
        drop(done);
        drop(release);
        let ran = all_done.iter().count();
        // The first job may still have been waiting itself.
        assert!((MAX_WAITING - 1..=MAX_WAITING).contains(&ran), "{ran}");
    }
}
