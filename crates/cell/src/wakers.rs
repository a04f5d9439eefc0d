//! Who waits for something: a small, bounded set of wakers.
//!
//! Most things here are waited for by one task, so the first waker costs no allocation. A set never
//! grows with the number of times that somebody began to wait and gave up: when it is full it wakes
//! everybody, and those who still care register again.

use std::mem;
use std::task::Waker;

/// Distinct tasks that one end of a pipe may have waiting. More are served too, by waking all.
const MAX_WAITING: usize = 32;

/// The tasks that wait. Belongs under the lock of what they wait for.
#[derive(Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Wakers {
    /// Adds `waker`, unless it is there already.
    pub(crate) fn register(&mut self, waker: &Waker) {
        match &self.first {
            None => self.first = Some(waker.clone()),
            Some(first) if first.will_wake(waker) => {}
            Some(_) if self.rest.iter().any(|other| other.will_wake(waker)) => {}
            Some(_) => {
                if self.rest.len() >= MAX_WAITING {
                    self.take().wake();
                }
                self.rest.push(waker.clone());
            }
        }
    }

    /// Empties the set, to be woken once the lock is released.
    pub(crate) fn take(&mut self) -> Woken {
        Woken {
            first: self.first.take(),
            rest: mem::take(&mut self.rest),
        }
    }
}

/// Tasks taken out of a set, to be woken outside of its lock.
#[must_use]
pub(crate) struct Woken {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Woken {
    /// Wakes them all.
    pub(crate) fn wake(self) {
        for waker in self.first.into_iter().chain(self.rest) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_that_registers_twice_is_woken_once() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut wakers = Wakers::default();
        wakers.register(&waker);
        wakers.register(&waker);
        wakers.take().wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_set_stays_small_and_forgets_nobody() {
        let counts: Vec<_> = (0..1000)
            .map(|_| Arc::new(Count(AtomicUsize::new(0))))
            .collect();
        let mut wakers = Wakers::default();
        for count in &counts {
            wakers.register(&Waker::from(count.clone()));
            assert!(wakers.rest.len() <= MAX_WAITING);
        }
        wakers.take().wake();
        assert!(counts.iter().all(|c| c.0.load(Ordering::Relaxed) == 1));
    }
}
