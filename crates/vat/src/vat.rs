//! The vat of a thread: what it has to do, and the order in which it does it.
//!
//! Whatever would otherwise be a call within a call is a *turn* here: beginning a call, telling a peer,
//! lifting an embargo. Turns wait in one queue and run one after the other, so that the order of calls
//! is the order of the queue, and the depth of the stack does not depend on what a peer sends. Calls
//! that do not end in their first turn become *tasks*, which run again when they are woken.
//!
//! A connection runs its vat while it takes a message in ([`run`]); for the rest the thread needs one
//! [`drive`] future that somebody polls.

mod discard;
mod sync;
mod tasks;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

pub(crate) use discard::discard;
pub(crate) use tasks::TaskId;
use tasks::Tasks;

use crate::call::Ongoing;
use crate::connection::{Notice, Shared};
use crate::outcome::Outcome;
use crate::reference::Node;
use crate::slot::Resume;

/// Turns and tasks that run before others on the thread get theirs. Some tens of microseconds.
const TURNS_IN_A_ROW: usize = 128;

thread_local! {
    static VAT: Vat = Vat::default();
}

#[derive(Default)]
struct Vat {
    turns: RefCell<VecDeque<Turn>>,
    tasks: Tasks,
    running: Cell<bool>,
    nodes: RefCell<HashMap<usize, Weak<Node>>>,
}

/// Something to do.
pub(crate) enum Turn {
    /// Begins a call, if it is still wanted.
    Start(Rc<Outcome>),
    /// Begins a call that waited for its target.
    Resume(Resume),
    /// Tells a peer something that follows from what was said before.
    Notify(Weak<Shared>, Notice),
}

impl Turn {
    fn take(self) {
        match self {
            Self::Start(outcome) => outcome.start(),
            Self::Resume(resume) => resume.run(),
            Self::Notify(connection, notice) => {
                if let Some(connection) = connection.upgrade() {
                    connection.notify(notice);
                }
            }
        }
    }
}

/// Adds a turn. It runs before the thread's [`drive`] or the message that is being taken in is done.
pub(crate) fn push(turn: Turn) {
    with(|vat| {
        vat.turns.borrow_mut().push_back(turn);
        if !vat.running.get() {
            vat.tasks.wake_driver();
        }
    });
}

/// Adds turns that run before all others, in their order.
pub(crate) fn push_first(first: Vec<Turn>) {
    if first.is_empty() {
        return;
    }
    with(|vat| {
        let mut turns = vat.turns.borrow_mut();
        for turn in first.into_iter().rev() {
            turns.push_front(turn);
        }
        drop(turns);
        if !vat.running.get() {
            vat.tasks.wake_driver();
        }
    });
}

/// Whether nothing waits that was begun before.
pub(crate) fn is_idle() -> bool {
    with(|vat| vat.turns.borrow().is_empty()).unwrap_or(true)
}

/// Runs what there is to run, up to a bound; the rest is left to the driver.
pub(crate) fn run() {
    with(Vat::run);
}

/// Adds a task. It runs when the vat next does.
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) -> Option<TaskId> {
    with(|vat| {
        vat.tasks
            .add(Work::Other(Box::pin(future)), vat.running.get())
    })
}

/// Adds a task for a call that did not end in its first turn.
pub(crate) fn go_on(call: Ongoing) -> Option<TaskId> {
    with(|vat| vat.tasks.add(Work::Call(call), vat.running.get()))
}

/// Ends a task. What it holds is dropped.
pub(crate) fn cancel(task: TaskId) {
    if let Some(Some(future)) = with(|vat| vat.tasks.remove(task)) {
        discard(future);
    }
}

/// Remembers a node, so that it can be known again behind a hook.
pub(crate) fn register(node: &Rc<Node>) {
    with(|vat| {
        let address = Rc::as_ptr(node).addr();
        vat.nodes.borrow_mut().insert(address, Rc::downgrade(node))
    });
}

/// Forgets a node.
pub(crate) fn unregister(address: usize) {
    with(|vat| vat.nodes.borrow_mut().remove(&address));
}

/// All nodes of the thread.
pub(crate) fn nodes() -> Vec<Rc<Node>> {
    let all = with(|vat| {
        let nodes = vat.nodes.borrow();
        nodes.values().filter_map(Weak::upgrade).collect()
    });
    all.unwrap_or_default()
}

/// The node at an address, if it is one.
pub(crate) fn registered(address: usize) -> Option<Rc<Node>> {
    with(|vat| vat.nodes.borrow().get(&address)?.upgrade()).flatten()
}

/// Drives the calling thread's vat: runs what is to be done, and waits for more. Every thread that uses
/// this crate polls one of these. Never ends.
///
/// It gives its thread back after some tens of microseconds, however much there is to do.
pub async fn drive() -> Infallible {
    poll_fn(|context| {
        with(|vat| {
            vat.tasks.set_driver(context);
            vat.run();
        });
        Poll::Pending
    })
    .await
}

/// Drives the calling thread's vat until a future ends.
pub async fn run_until<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut driver = pin!(drive());
    poll_fn(|context: &mut Context<'_>| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            let _: Poll<Infallible> = driver.as_mut().poll(context);
        }
        polled
    })
    .await
}

/// A task's work.
enum Work {
    /// A call that goes on, which needs no box of its own.
    Call(Ongoing),
    Other(Pin<Box<dyn Future<Output = ()>>>),
}

impl Future for Work {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Self::Call(call) => Pin::new(call).poll(context),
            Self::Other(future) => future.as_mut().poll(context),
        }
    }
}

/// `None` on a thread that is ending: nothing is left to be done there.
fn with<T>(action: impl FnOnce(&Vat) -> T) -> Option<T> {
    VAT.try_with(action).ok()
}

impl Vat {
    fn run(&self) {
        if self.running.replace(true) {
            return;
        }
        let _running = Running(self);
        for _ in 0..TURNS_IN_A_ROW {
            let turn = self.turns.borrow_mut().pop_front();
            match turn {
                Some(turn) => turn.take(),
                None if self.tasks.run_one() => {}
                None => break,
            }
        }
    }
}

/// Unset also when a server panics: the thread's other calls go on.
struct Running<'a>(&'a Vat);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
        if !self.0.turns.borrow().is_empty() || self.0.tasks.is_any_ready() {
            self.0.tasks.wake_driver();
        }
    }
}
