//! Work that waits: futures of a vat, run again when they are woken.
//!
//! Like any executor of one thread, with two differences: a task can be taken out at once by its name,
//! because a call that is cancelled lets go of what it holds, and whoever takes a message in may run
//! what is ready.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Wake, Waker};

use futures::task::AtomicWaker;
use slab::Slab;

use super::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use super::{Work, discard};

#[derive(Default)]
pub(super) struct Tasks {
    slots: RefCell<Slab<Task>>,
    next_serial: std::cell::Cell<u64>,
    ready: Arc<Ready>,
}

/// A task's name. Names are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    index: usize,
    serial: u64,
}

struct Task {
    serial: u64,
    /// Empty while it runs.
    work: Option<Work>,
    signal: Arc<Signal>,
}

/// What wakers share with the vat. Wakers go to other threads.
#[derive(Default)]
struct Ready {
    queue: Mutex<VecDeque<TaskId>>,
    driver: AtomicWaker,
}

struct Signal {
    task: TaskId,
    /// So that a task is queued once, however often it is woken.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, VecDeque<TaskId>> {
        // Nothing that could panic happens under this lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.lock().push_back(self.task);
            self.ready.driver.wake();
        }
    }
}

impl Tasks {
    /// Adds a task that is ready to run. The driver need not be woken by a vat that runs.
    pub(super) fn add(&self, work: Work, running: bool) -> TaskId {
        let serial = self.next_serial.get();
        self.next_serial.set(serial.wrapping_add(1));
        let mut slots = self.slots.borrow_mut();
        let slot = slots.vacant_entry();
        let task = TaskId {
            index: slot.key(),
            serial,
        };
        slot.insert(Task {
            serial,
            work: Some(work),
            signal: Arc::new(Signal {
                task,
                queued: AtomicBool::new(true),
                ready: self.ready.clone(),
            }),
        });
        drop(slots);
        self.ready.lock().push_back(task);
        if !running {
            self.wake_driver();
        }
        task
    }

    /// Takes a task out. Its work is given back unless it is what runs now; then it is dropped when
    /// that turn of it ends.
    pub(super) fn remove(&self, task: TaskId) -> Option<Work> {
        let mut slots = self.slots.borrow_mut();
        if slots.get(task.index)?.serial != task.serial {
            return None;
        }
        slots.remove(task.index).work
    }

    /// Runs the task that has been ready for longest. `false` when there is none.
    pub(super) fn run_one(&self) -> bool {
        let Some(task) = self.ready.lock().pop_front() else {
            return false;
        };
        let Some((mut work, signal)) = self.begin(task) else {
            return true;
        };
        signal.queued.store(false, Ordering::Release);
        let waker = Waker::from(signal);
        let polled = Pin::new(&mut work).poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.remove(task);
            discard(work);
        } else {
            self.put_back(task, work);
        }
        true
    }

    fn begin(&self, task: TaskId) -> Option<(Work, Arc<Signal>)> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(task.index)?;
        if slot.serial != task.serial {
            return None;
        }
        Some((slot.work.take()?, slot.signal.clone()))
    }

    fn put_back(&self, task: TaskId, work: Work) {
        let mut slots = self.slots.borrow_mut();
        match slots.get_mut(task.index) {
            Some(slot) if slot.serial == task.serial => slot.work = Some(work),
            // It was cancelled by what it did.
            _ => {
                drop(slots);
                discard(work);
            }
        }
    }

    pub(super) fn is_any_ready(&self) -> bool {
        !self.ready.lock().is_empty()
    }

    pub(super) fn set_driver(&self, context: &Context<'_>) {
        self.ready.driver.register(context.waker());
    }

    pub(super) fn wake_driver(&self) {
        self.ready.driver.wake();
    }
}
