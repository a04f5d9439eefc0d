//! What the guest sleeps on: the pollables that tasks wait for, and the nearest timer.
//!
//! A task that cannot go on leaves its waker here; when no task can go on, the executor calls
//! [`wait`], which blocks in `wasi:io/poll` until one of them is ready and wakes its task. Nothing is
//! polled that nobody waits for, and there is no timer of the reactor's own.
//!
//! A pollable is a child of the stream that it was taken from, and has to go first. So an owner of
//! both declares its [`Readiness`] before the stream; dropping it takes it out of the reactor.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};

thread_local! {
    static REACTOR: Reactor = const { Reactor::new() };
}

/// How long [`wait`] may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until something is ready.
    Forever,
    /// No time at all: wake what is ready by now.
    Never,
}

/// Nothing is waited for, so that waiting would never end.
pub(crate) struct Stalled;

/// A pollable, and the task that waits for it, if one does.
#[derive(Debug)]
pub(crate) struct Readiness(Rc<Wait>);

/// A place among the timers: a deadline of the monotonic clock in nanoseconds, and a number that
/// sets it apart from others of the same deadline.
pub(crate) type TimerKey = (u64, u64);

#[derive(Debug)]
struct Wait {
    pollable: Pollable,
    /// Present for as long as the reactor waits for the pollable.
    waker: RefCell<Option<Waker>>,
    fired: Cell<bool>,
}

struct Reactor {
    waits: RefCell<Vec<Rc<Wait>>>,
    timers: RefCell<BTreeMap<TimerKey, Waker>>,
    next_timer: Cell<u64>,
    /// The pollable of the nearest deadline, kept from one wait to the next.
    alarm: RefCell<Option<(u64, Pollable)>>,
    /// Always ready: what turns blocking into looking.
    now: RefCell<Option<Pollable>>,
}

impl Readiness {
    pub(crate) fn new(pollable: Pollable) -> Self {
        Self(Rc::new(Wait {
            pollable,
            waker: RefCell::new(None),
            fired: Cell::new(false),
        }))
    }

    /// Ready once after each time that the reactor has found the pollable ready; until then, the
    /// calling task waits for it. It does not ask the host: try the operation first, and wait when
    /// it has nothing to give.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.fired.take() {
            return Poll::Ready(());
        }
        let mut waker = self.0.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                *waker = Some(cx.waker().clone());
                REACTOR.with(|reactor| reactor.waits.borrow_mut().push(self.0.clone()));
            }
        }
        Poll::Pending
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        if self.0.waker.take().is_some() {
            // The reactor may be gone already when the thread ends.
            let _ = REACTOR.try_with(|reactor| {
                reactor
                    .waits
                    .borrow_mut()
                    .retain(|wait| !Rc::ptr_eq(wait, &self.0));
            });
        }
    }
}

/// Wakes the task once the deadline has passed.
pub(crate) fn set_timer(deadline: u64, waker: Waker) -> TimerKey {
    REACTOR.with(|reactor| {
        let number = reactor.next_timer.get();
        reactor.next_timer.set(number.wrapping_add(1));
        let key = (deadline, number);
        reactor.timers.borrow_mut().insert(key, waker);
        key
    })
}

/// Hands a timer to another waker; false when it has fired already.
pub(crate) fn renew_timer(key: TimerKey, waker: &Waker) -> bool {
    REACTOR.with(|reactor| match reactor.timers.borrow_mut().get_mut(&key) {
        Some(present) => {
            present.clone_from(waker);
            true
        }
        None => false,
    })
}

/// Forgets a timer.
pub(crate) fn clear_timer(key: TimerKey) {
    let _ = REACTOR.try_with(|reactor| reactor.timers.borrow_mut().remove(&key));
}

/// Wakes every task whose pollable or timer is ready, after waiting for the first of them.
pub(crate) fn wait(patience: Patience) -> Result<(), Stalled> {
    REACTOR.with(|reactor| reactor.wait(patience))
}

impl Reactor {
    const fn new() -> Self {
        Self {
            waits: RefCell::new(Vec::new()),
            timers: RefCell::new(BTreeMap::new()),
            next_timer: Cell::new(0),
            alarm: RefCell::new(None),
            now: RefCell::new(None),
        }
    }

    fn wait(&self, patience: Patience) -> Result<(), Stalled> {
        self.set_alarm();
        if patience == Patience::Never || self.alarm.borrow().is_some() {
            self.wait_for_several(patience);
            return Ok(());
        }
        let count = self.waits.borrow().len();
        match count {
            0 => return Err(Stalled),
            1 => self.wait_for_one(),
            _ => self.wait_for_several(patience),
        }
        Ok(())
    }

    /// The common case, a guest that waits for its host alone: it needs no lists.
    fn wait_for_one(&self) {
        if let Some(only) = self.waits.borrow().first() {
            only.pollable.block();
        }
        self.fire(0);
    }

    fn wait_for_several(&self, patience: Patience) {
        let (mut ready, count, alarmed) = {
            let waits = self.waits.borrow();
            let alarm = self.alarm.borrow();
            let mut now = self.now.borrow_mut();
            let mut list: Vec<&Pollable> = waits.iter().map(|wait| &wait.pollable).collect();
            list.extend(alarm.as_ref().map(|(_, pollable)| pollable));
            if patience == Patience::Never {
                list.push(now.get_or_insert_with(|| monotonic_clock::subscribe_duration(0)));
            }
            (poll(&list), waits.len(), alarm.is_some())
        };
        // From the back, because firing one moves the last into its place.
        ready.sort_unstable_by(|a, b| b.cmp(a));
        for index in ready.into_iter().map(|index| index as usize) {
            if index < count {
                self.fire(index);
            } else if index == count && alarmed {
                self.fire_timers();
            }
        }
    }

    /// Makes the alarm that of the nearest timer.
    fn set_alarm(&self) {
        let nearest = self.timers.borrow().keys().next().map(|(when, _)| *when);
        let mut alarm = self.alarm.borrow_mut();
        if nearest != alarm.as_ref().map(|(when, _)| *when) {
            *alarm = nearest.map(|when| (when, monotonic_clock::subscribe_instant(when)));
        }
    }

    fn fire(&self, index: usize) {
        let wait = {
            let mut waits = self.waits.borrow_mut();
            if index >= waits.len() {
                return;
            }
            waits.swap_remove(index)
        };
        wait.fired.set(true);
        if let Some(waker) = wait.waker.take() {
            waker.wake();
        }
    }

    fn fire_timers(&self) {
        let now = monotonic_clock::now();
        loop {
            let waker = {
                let mut timers = self.timers.borrow_mut();
                match timers.first_entry() {
                    Some(entry) if entry.key().0 <= now => entry.remove(),
                    _ => break,
                }
            };
            waker.wake();
        }
    }
}
