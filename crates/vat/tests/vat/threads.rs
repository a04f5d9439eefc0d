//! Where threads meet: tasks that are woken from other threads, in many of the orders that there are.
//!
//! This is the vat's own list of tasks, over locks and atomics whose every step a scheduler decides. A
//! wake-up that is lost shows as a deadlock.

#[allow(dead_code)]
#[path = "../../src/vat/tasks.rs"]
mod tasks;

mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicBool, Ordering};
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
}

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use tasks::Tasks;

type Work = Pin<Box<dyn Future<Output = ()>>>;

fn discard<T>(value: T) {
    drop(value);
}

/// Orders that are tried by each test.
const ORDERS: usize = 5_000;

/// Wakes the thread that drives the tasks.
#[derive(Default)]
struct Driver {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// Runs tasks as `drive` does, until something is done; sleeps in between.
fn drive(tasks: &Tasks, done: impl Fn() -> bool) {
    let driver = Arc::new(Driver::default());
    let waker = Waker::from(driver.clone());
    loop {
        tasks.set_driver(&Context::from_waker(&waker));
        while tasks.run_one() {}
        if done() {
            return;
        }
        let mut woken = driver.woken.lock().unwrap();
        while !*woken {
            woken = driver.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// A number that another thread counts up, and whoever waits for it.
#[derive(Default)]
struct Counter {
    state: Mutex<(u32, Option<Waker>)>,
}

impl Counter {
    /// Ready when it has reached a number.
    fn poll(&self, number: u32, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.0 >= number {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }

    fn count(&self) {
        let waker = {
            let mut state = self.state.lock().unwrap();
            state.0 += 1;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[test]
fn no_wake_up_is_lost_between_threads() {
    shuttle::check_random(
        || {
            let tasks = Tasks::default();
            let counters: [Arc<Counter>; 2] = Default::default();
            let left = Rc::new(Cell::new(counters.len()));
            for counter in &counters {
                let (counter, left) = (counter.clone(), left.clone());
                let work = async move {
                    poll_fn(|context| counter.poll(3, context)).await;
                    left.set(left.get() - 1);
                };
                tasks.add(Box::pin(work), false);
            }
            let threads = counters.map(|counter| {
                thread::spawn(move || {
                    for _ in 0..3 {
                        counter.count();
                    }
                })
            });
            drive(&tasks, || left.get() == 0);
            for thread in threads {
                thread.join().unwrap();
            }
        },
        ORDERS,
    );
}

#[test]
fn a_task_that_is_woken_while_it_runs_runs_again() {
    shuttle::check_random(
        || {
            let tasks = Tasks::default();
            let done = Rc::new(Cell::new(false));
            let other = Arc::new(Counter::default());
            let (ends, count) = (done.clone(), other.clone());
            let mut started = false;
            let work = poll_fn(move |context| {
                if !started {
                    started = true;
                    let (count, waker) = (count.clone(), context.waker().clone());
                    // It may wake this task before, while and after it returns from here.
                    thread::spawn(move || {
                        count.count();
                        waker.wake();
                    });
                }
                // Asks without leaving a waker.
                if count.state.lock().unwrap().0 == 0 {
                    return Poll::Pending;
                }
                ends.set(true);
                Poll::Ready(())
            });
            tasks.add(Box::pin(work), false);
            drive(&tasks, || done.get());
        },
        ORDERS,
    );
}

#[test]
fn a_task_that_is_taken_out_while_it_is_woken_does_not_run_nor_disturb_its_successor() {
    shuttle::check_random(
        || {
            let tasks = Tasks::default();
            let early = Arc::new(Counter::default());
            let runs = Rc::new(Cell::new(0));
            let (counter, counted) = (early.clone(), runs.clone());
            let first = tasks.add(
                Box::pin(poll_fn(move |context| {
                    counted.set(counted.get() + 1);
                    counter.poll(2, context)
                })),
                false,
            );
            while tasks.run_one() {}
            let thread = {
                let early = early.clone();
                thread::spawn(move || {
                    early.count();
                    early.count();
                })
            };
            drop(tasks.remove(first));
            let before = runs.get();
            // It takes the place of the first.
            let late = Arc::new(Counter::default());
            let done = Rc::new(Cell::new(false));
            let (counter, ends) = (late.clone(), done.clone());
            tasks.add(
                Box::pin(async move {
                    poll_fn(|context| counter.poll(1, context)).await;
                    ends.set(true);
                }),
                false,
            );
            let other = thread::spawn(move || late.count());
            drive(&tasks, || done.get());
            assert_eq!(runs.get(), before);
            thread.join().unwrap();
            other.join().unwrap();
        },
        ORDERS,
    );
}
