//! A bounded queue of blocking jobs with a few threads, which exist only while there is work.
//!
//! It is the engine's own instead of a runtime's, so that loading works the same from every kind of
//! runtime, and ends in peace when a runtime is shut down in the middle of it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Jobs that may wait. A node loads a few components at a time; a flood of them is refused.
const MAX_WAITING: usize = 256;

/// What the waiting jobs' components may have together, in bytes.
const MAX_WAITING_BYTES: usize = 256 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// A queue of jobs.
pub(crate) struct Lane {
    name: &'static str,
    width: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    threads: usize,
    waiting: VecDeque<(usize, Job)>,
    waiting_bytes: usize,
}

impl Lane {
    /// A lane that runs up to `width` jobs at a time, on threads called `name`.
    pub(crate) fn new(name: &'static str, width: usize) -> Self {
        Self {
            name,
            width,
            state: Arc::default(),
        }
    }

    /// Runs `job` when its turn comes. Drops it instead if too much is waiting, or no thread can be
    /// had: jobs say themselves what being dropped means.
    pub(crate) fn submit(&self, bytes: usize, job: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.state);
        let full = state.waiting.len() >= MAX_WAITING
            || (!state.waiting.is_empty() && state.waiting_bytes + bytes > MAX_WAITING_BYTES);
        if full {
            drop(state);
            return drop(job);
        }
        state.waiting.push_back((bytes, Box::new(job)));
        state.waiting_bytes += bytes;
        if state.threads >= self.width {
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = self.state.clone();
        let thread = thread::Builder::new().name(self.name.to_owned());
        if thread.spawn(move || work(&shared)).is_err() {
            let mut state = lock(&self.state);
            state.threads -= 1;
            // Another thread will come to it; without one, it would wait for ever.
            if state.threads == 0 {
                let dropped = std::mem::take(&mut state.waiting);
                state.waiting_bytes = 0;
                drop(state);
                drop(dropped);
            }
        }
    }
}

fn work(shared: &Mutex<State>) {
    loop {
        let job = {
            let mut state = lock(shared);
            let Some((bytes, job)) = state.waiting.pop_front() else {
                state.threads -= 1;
                return;
            };
            state.waiting_bytes -= bytes;
            job
        };
        // What a panic means has been said by what the job dropped; the thread goes on.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
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
            lane.submit(0, move || {
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

    #[test]
    fn a_flood_is_dropped_and_a_panic_is_survived() {
        let lane = Lane::new("test", 1);
        let (release, held) = mpsc::channel::<()>();
        lane.submit(0, move || {
            let _ = held.recv();
            panic!("on purpose");
        });
        let (done, all_done) = mpsc::channel();
        for _ in 0..2 * MAX_WAITING {
            let done = done.clone();
            lane.submit(0, move || done.send(()).unwrap());
        }
        drop(done);
        drop(release);
        let ran = all_done.iter().count();
        // The first job may still have been waiting itself.
        assert!((MAX_WAITING - 1..=MAX_WAITING).contains(&ran), "{ran}");
    }
}
