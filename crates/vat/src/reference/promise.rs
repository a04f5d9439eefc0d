//! Promises: references to what is not known yet.
//!
//! A promise either has a *road*, a peer that will pass calls on until it says what the promise is, or
//! keeps calls itself until then. When it resolves to something that the calls on the road will reach by
//! another way, later calls wait until the earlier ones have come back (an *embargo*), so that calls on
//! one reference are delivered in the order in which they were made.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use capnp::Error;
use capnp::capability;
use capnp::private::capability::ClientHook;

use super::{Node, Reference, broken, innermost, is_broken, resolution};
use crate::limits::MAX_HOPS;
use crate::outcome::{self, Handle, Outcome};
use crate::slot::{Backlog, Call, Entry, Resume, Target};
use crate::vat::{self, TaskId, Turn};
use crate::waiters::{Place, Waiters};

/// How many calls that wait for each other's results are looked through for a circle. Twice as many as may be
/// in a row by default; a longer circle is only found out by whoever loses patience.
const MAX_WAITS: usize = 256;

pub(crate) struct Promised {
    state: RefCell<State>,
    /// Whether it has resolved to what the peer on its road calls ours, although that leads to the peer.
    reflected: Cell<bool>,
}

enum State {
    Waiting(Waiting),
    Resolved(Box<dyn ClientHook>),
}

struct Waiting {
    road: Option<Rc<Node>>,
    /// Whether calls have taken the road.
    travelled: Rc<Cell<bool>>,
    backlog: Backlog,
    waiters: Waiters,
    /// The call whose results this promise is for.
    call: Option<Handle>,
    /// The task that will resolve it.
    task: Option<TaskId>,
}

impl Promised {
    pub(super) fn new(
        road: Option<Rc<Node>>,
        call: Option<Handle>,
        travelled: Rc<Cell<bool>>,
    ) -> Self {
        Self {
            state: RefCell::new(State::Waiting(Waiting {
                road,
                travelled,
                backlog: Backlog::default(),
                waiters: Waiters::default(),
                call,
                task: None,
            })),
            reflected: Cell::new(false),
        }
    }

    /// What a peer calls ours, although it leads to that peer.
    pub(super) fn reflected(hook: Box<dyn ClientHook>) -> Self {
        Self {
            state: RefCell::new(State::Resolved(hook)),
            reflected: Cell::new(true),
        }
    }

    /// What it has resolved to.
    pub(super) fn resolution(&self) -> Option<Box<dyn ClientHook>> {
        match &*self.state.borrow() {
            State::Waiting(_) => None,
            State::Resolved(hook) => Some(hook.add_ref()),
        }
    }

    /// Leads straight to where it leads by several others.
    pub(super) fn shorten(&self, end: &dyn ClientHook) {
        if self.reflected.get() {
            return;
        }
        let before = match &mut *self.state.borrow_mut() {
            State::Waiting(_) => None,
            State::Resolved(hook) => Some(std::mem::replace(hook, end.add_ref())),
        };
        vat::discard(before);
    }

    /// The call whose results it is for.
    fn call(&self) -> Option<Rc<Outcome>> {
        match &*self.state.borrow() {
            State::Waiting(waiting) => Some(Rc::clone(waiting.call.as_ref()?.outcome())),
            State::Resolved(_) => None,
        }
    }

    /// The road, for a call that takes it.
    pub(super) fn take_road(&self) -> Option<Rc<Node>> {
        match &*self.state.borrow() {
            State::Waiting(waiting) => {
                let road = waiting.road.clone()?;
                waiting.travelled.set(true);
                Some(road)
            }
            State::Resolved(_) => None,
        }
    }

    /// The road, for a look.
    pub(super) fn road(&self) -> Option<Rc<Node>> {
        match &*self.state.borrow() {
            State::Waiting(waiting) => waiting.road.clone(),
            State::Resolved(_) => None,
        }
    }

    /// Says which task will resolve it. The task ends with the promise.
    pub(crate) fn resolved_by(&self, task: TaskId) {
        match &mut *self.state.borrow_mut() {
            State::Waiting(waiting) => waiting.task = Some(task),
            State::Resolved(_) => {}
        }
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        match self.state.replace(State::Resolved(broken(unresolved()))) {
            State::Waiting(waiting) => {
                if let Some(task) = waiting.task {
                    vat::cancel(task);
                }
                vat::discard((waiting.road, waiting.call));
            }
            State::Resolved(hook) => vat::discard(hook),
        }
    }
}

fn unresolved() -> Error {
    Error::failed("a promise that nobody will resolve".into())
}

/// Resolves a promise, once; what comes later is ignored.
pub(crate) fn resolve(node: &Rc<Node>, to: Box<dyn ClientHook>) {
    let Some(promise) = node.as_promise() else {
        return vat::discard(to);
    };
    if promise.resolution().is_some() {
        return vat::discard(to);
    }
    let reflected = is_reflected(&*to);
    promise.reflected.set(reflected);
    let to = acyclic(node, to);
    let to = match embargoed_road(promise) {
        Some(road) => embargo(&road, to, reflected),
        None => to,
    };
    let mut state = promise.state.borrow_mut();
    let State::Waiting(waiting) = &mut *state else {
        drop(state);
        return vat::discard(to);
    };
    let mut waiters = std::mem::take(&mut waiting.waiters);
    let before = std::mem::replace(&mut *state, State::Resolved(to.add_ref()));
    drop(state);
    if let State::Waiting(waiting) = before {
        // Calls that waited begin before any that follow from the resolution, and before those that have
        // been made but not begun: these were made later.
        let waited: Vec<Turn> = std::iter::from_fn(|| waiting.backlog.pop())
            .map(|entry| {
                let target = Target::Resolved(to.add_ref());
                Turn::Resume(Resume { entry, target })
            })
            .collect();
        vat::push_first(waited);
        vat::discard((waiting.road, waiting.call));
    }
    waiters.take().wake();
    vat::discard(to);
}

/// Where a promise leads if it is resolved like this: to an end, or round in a circle.
fn acyclic(node: &Rc<Node>, to: Box<dyn ClientHook>) -> Box<dyn ClientHook> {
    let mut hook = to;
    for _ in 0..MAX_HOPS {
        if Node::of(&*hook).is_some_and(|other| Rc::ptr_eq(&other, node)) {
            return broken(Error::failed("a promise that resolves to itself".into()));
        }
        match resolution(&*hook) {
            Some(next) => vat::discard(std::mem::replace(&mut hook, next)),
            None => return hook,
        }
    }
    innermost(hook)
}

fn embargoed_road(promise: &Promised) -> Option<Rc<Node>> {
    match &*promise.state.borrow() {
        State::Waiting(waiting) if waiting.travelled.get() => waiting.road.clone(),
        _ => None,
    }
}

/// What a promise has resolved to, if calls must not go there yet.
pub(crate) fn held_up(node: &Rc<Node>) -> Option<Box<dyn ClientHook>> {
    let end = innermost(node.as_promise()?.resolution()?);
    let waits = Node::of(&*end).is_some_and(|end| backlog(&end).is_some());
    waits.then_some(end)
}

fn is_reflected(hook: &dyn ClientHook) -> bool {
    Node::of(hook).is_some_and(|node| match node.as_promise() {
        Some(promise) => promise.reflected.get(),
        None => false,
    })
}

/// Keeps calls from overtaking those on the road, if where they go is reached by another way. What is
/// reflected comes back here from the road, and then takes it again.
fn embargo(road: &Node, to: Box<dyn ClientHook>, reflected: bool) -> Box<dyn ClientHook> {
    let Some(connection) = road.connection().and_then(std::rc::Weak::upgrade) else {
        return to;
    };
    let same_way = Node::of(&*to)
        .and_then(|node| node.road())
        .and_then(|end| end.connection()?.upgrade())
        .is_some_and(|other| Rc::ptr_eq(&other, &connection));
    if is_broken(&*to) {
        return to;
    }
    if same_way && !reflected {
        // Calls are still under way there when the peer says more.
        if let Some(next) = Node::of(&*to) {
            next.as_promise().map(Promised::take_road);
        }
        return to;
    }
    match connection.embargo(road, to) {
        Ok(embargoed) => Box::new(Reference(embargoed)),
        Err(error) => broken(error),
    }
}

/// Lets a call wait for a promise to resolve.
pub(super) fn park(node: &Rc<Node>, call: Call) -> capability::Promise<(), Error> {
    if let Some(outcome) = outcome::being_made().upgrade() {
        if waits_for(node, &outcome) {
            vat::discard((call.params, call.results));
            return capability::Promise::err(circular());
        }
        outcome.wait_on(Some(node));
    }
    match backlog(node) {
        Some(backlog) => backlog.park(call, Rc::clone(node) as Rc<dyn Any>),
        None => capability::Promise::err(unresolved()),
    }
}

/// Lets a parked call wait for another promise, or gives it back if that has resolved or has a road.
pub(super) fn adopt(node: &Rc<Node>, entry: Entry) -> Option<Entry> {
    let mut target = Rc::clone(node);
    if let Some(resolution) = node.as_promise().and_then(Promised::resolution) {
        let end = innermost(resolution);
        match Node::of(&*end) {
            Some(node) => target = node,
            None => return Some(entry),
        }
    }
    match backlog(&target) {
        Some(backlog) => {
            if let Some(outcome) = entry.outcome() {
                if waits_for(&target, &outcome) {
                    entry.fail(circular());
                    return None;
                }
                outcome.wait_on(Some(&target));
            }
            backlog.adopt(entry, target as Rc<dyn Any>);
            None
        }
        None => Some(entry),
    }
}

fn circular() -> Error {
    Error::failed("a call that waits for its own results".into())
}

/// Whether what a promise is for waits, through some other calls perhaps, for a call to settle.
fn waits_for(node: &Rc<Node>, outcome: &Rc<Outcome>) -> bool {
    let mut node = Rc::clone(node);
    for _ in 0..MAX_WAITS {
        if let Some(resolution) = node.as_promise().and_then(Promised::resolution) {
            match Node::of(&*innermost(resolution)) {
                Some(end) => node = end,
                None => return false,
            }
        }
        let Some(call) = node.as_promise().and_then(Promised::call) else {
            return false;
        };
        if Rc::ptr_eq(&call, outcome) {
            return true;
        }
        match call.waits_on() {
            Some(next) => node = next,
            None => return false,
        }
    }
    false
}

/// Where calls wait, if they have to.
fn backlog(node: &Node) -> Option<Backlog> {
    match &*node.as_promise()?.state.borrow() {
        State::Waiting(waiting) if waiting.road.is_none() => Some(waiting.backlog.clone()),
        _ => None,
    }
}

/// Waits for a promise to resolve.
pub(super) struct Resolution {
    node: Rc<Node>,
    place: Place,
}

impl Resolution {
    pub(super) fn new(node: &Rc<Node>) -> Self {
        Self {
            node: Rc::clone(node),
            place: Place::default(),
        }
    }
}

impl Future for Resolution {
    type Output = Result<Box<dyn ClientHook>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { node, place } = &mut *self;
        let Some(promise) = node.as_promise() else {
            return Poll::Ready(Ok(Box::new(Reference(Rc::clone(node)))));
        };
        match &mut *promise.state.borrow_mut() {
            State::Resolved(hook) => Poll::Ready(Ok(hook.add_ref())),
            State::Waiting(waiting) => {
                waiting.waiters.register(place, context);
                Poll::Pending
            }
        }
    }
}

impl Drop for Resolution {
    fn drop(&mut self) {
        if let Some(promise) = self.node.as_promise()
            && let State::Waiting(waiting) = &mut *promise.state.borrow_mut()
        {
            waiting.waiters.forget(&mut self.place);
        }
    }
}
