//! The loop that runs everything in a guest: the program, its tasks, and the conversation with the host.
//!
//! Tasks have wakers of their own, so that a wake-up polls one task and not all. When none can go
//! on, the guest sleeps in [`reactor::wait`]. A task that keeps waking itself does not keep the others
//! from the outside world: after [`PASSES_BEFORE_A_LOOK`] the loop looks at what is ready, without
//! waiting.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::FutureExt;
use futures::future::{LocalBoxFuture, RemoteHandle};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::error::{Error, Result};
use crate::reactor::{self, Patience};

/// How often the tasks may be polled in a row before the loop asks what has become ready outside: often
/// enough that asking, some microseconds, is a small part of the work.
const PASSES_BEFORE_A_LOOK: u32 = 64;

thread_local! {
    /// Tasks that were spawned since the loop last looked.
    static SPAWNED: RefCell<Vec<LocalBoxFuture<'static, ()>>> = const { RefCell::new(Vec::new()) };
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a future on a loop of its own, without a conversation with the host.
///
/// For programs that need nothing but WASI: a component made with it is an ordinary command, and runs
/// under any WASI host. Tasks that are still running when the future ends are dropped.
///
/// # Errors
/// What the future returns; [`Error::Stalled`] when it waits for something that cannot happen;
/// [`Error::Nested`] when called from inside itself.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    drive(future, &Cell::new(false))
}

/// Runs a future beside the others. Dropping the handle cancels it, at the latest at its next step;
/// the end of the program's main future cancels all that are left.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let (task, handle) = future.remote_handle();
    SPAWNED.with_borrow_mut(|spawned| spawned.push(task.boxed_local()));
    JoinHandle(handle)
}

/// A spawned task: await it for its output, or drop it to cancel the task.
#[must_use = "dropping the handle cancels the task"]
pub struct JoinHandle<T: 'static>(RemoteHandle<T>);

impl<T: 'static> Future for JoinHandle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.poll_unpin(cx)
    }
}

/// Runs `main`, and the tasks with it, until it is done. Once `ended` is set, it may go on for as long
/// as it need not wait.
pub(crate) fn drive<T>(main: impl Future<Output = Result<T>>, ended: &Cell<bool>) -> Result<T> {
    if RUNNING.replace(true) {
        return Err(Error::Nested);
    }
    let outcome = turn(main, ended);
    RUNNING.set(false);
    // Dropping a task may spawn another.
    while !SPAWNED.take().is_empty() {}
    outcome
}

fn turn<T>(main: impl Future<Output = Result<T>>, ended: &Cell<bool>) -> Result<T> {
    let mut main = pin!(main);
    let main_woken = Woken::new();
    let main_waker = Waker::from(main_woken.clone());
    let mut tasks = FuturesUnordered::new();
    let tasks_woken = Woken::new();
    let tasks_waker = Waker::from(tasks_woken.clone());
    loop {
        let mut passes = 0;
        loop {
            let mut idle = true;
            if main_woken.take() {
                idle = false;
                let polled = main.as_mut().poll(&mut Context::from_waker(&main_waker));
                if let Poll::Ready(outcome) = polled {
                    return outcome;
                }
            }
            let spawned = SPAWNED.take();
            let newcomers = !spawned.is_empty();
            tasks.extend(spawned);
            if tasks_woken.take() || newcomers {
                idle = false;
                let mut cx = Context::from_waker(&tasks_waker);
                while let Poll::Ready(Some(())) = tasks.poll_next_unpin(&mut cx) {}
            }
            if idle {
                break;
            }
            passes += 1;
            if passes == PASSES_BEFORE_A_LOOK {
                passes = 0;
                let _ = reactor::wait(Patience::Never);
            }
        }
        if ended.get() {
            return Err(Error::Disconnected);
        }
        reactor::wait(Patience::Forever).map_err(|_| Error::Stalled)?;
    }
}

/// Whether somebody was woken since the last look.
struct Woken(AtomicBool);

impl Woken {
    /// Woken to begin with: the first poll is due.
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
