//! What becomes of a call: results that may not be there yet, and the capabilities in them.
//!
//! One of these stands behind every call, whoever makes it: this vat on an object of its own, a peer on
//! an object of this vat (an *answer*), this vat on an object of a peer (a *question*). It is pending or
//! it is settled, and it is settled once. Whoever still cares holds a [`Handle`]; when the last one goes,
//! the call is cancelled, or the peer is told that it is finished with.

mod pipelined;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use capnp::capability::{self, Promise};
use capnp::private::capability::{ClientHook, PipelineHook, PipelineOp};
use capnp::private::layout::CapTable;
use capnp::{Error, any_pointer};

use crate::call::Start;
use crate::connection::{Notice, QuestionName, Shared};
use crate::error;
use crate::message::Outgoing;
use crate::payload::{Payload, Response};
use crate::reference::{self, Node, Reference};
use crate::vat::{self, TaskId, Turn};
use crate::waiters::{Place, Waiters};
pub use pipelined::MAX_PATHS;
use pipelined::Pipelined;

/// Steps from the root of results to a capability in them: pointer fields of structs.
pub(crate) type Path = Vec<u16>;

/// Results as their writer left them: nothing, if nothing was written.
pub(crate) type Written = Option<(Outgoing, CapTable)>;

/// How a call settles.
pub(crate) type Settled = Result<Rc<Payload>, Error>;

pub(crate) struct Outcome {
    state: RefCell<State>,
    handles: Cell<usize>,
    /// What begins it, until it has begun.
    start: RefCell<Option<Start>>,
    origin: Cell<Origin>,
    /// Whom to send the results to, and what they are, until the call settles.
    observer: RefCell<Option<Observer>>,
    server: RefCell<Server>,
    /// The promise that the call waits to be made on.
    waits_on: RefCell<Weak<Node>>,
}

thread_local! {
    /// The call that is being made.
    static BEING_MADE: RefCell<Weak<Outcome>> = const { RefCell::new(Weak::new()) };
}

/// Runs what makes a call, so that it is known which call waits if it has to wait.
pub(crate) fn making<T>(call: &Weak<Outcome>, make: impl FnOnce() -> T) -> T {
    struct Before(Weak<Outcome>);
    impl Drop for Before {
        fn drop(&mut self) {
            BEING_MADE.replace(std::mem::take(&mut self.0));
        }
    }
    let _before = Before(BEING_MADE.replace(call.clone()));
    make()
}

/// The call that is being made, if it is known.
pub(crate) fn being_made() -> Weak<Outcome> {
    BEING_MADE.with_borrow(Weak::clone)
}

enum State {
    Pending(Pending),
    Settled(Settled),
}

#[derive(Default)]
struct Pending {
    waiters: Waiters,
    /// The promises for capabilities in the results.
    pipelined: Pipelined,
    /// Where those capabilities come from, when that is known before the results are.
    pipeline: Option<Box<dyn PipelineHook>>,
    /// The task that waits for another call to settle, whose results are this one's.
    follower: Option<TaskId>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(follower) = self.follower {
            vat::cancel(follower);
        }
        // Of calls that are passed on and on, each holds the next.
        if let Some(pipeline) = self.pipeline.take() {
            vat::discard(pipeline);
        }
    }
}

/// Where a call is, for whoever ends it.
#[derive(Default)]
enum Origin {
    /// Not begun, or over.
    #[default]
    Nowhere,
    /// It runs on this vat.
    Task(TaskId),
    /// A peer has been asked.
    Question(Weak<Shared>, QuestionName),
}

/// The peer that is to be sent the results.
pub(crate) struct Observer {
    pub(crate) connection: Weak<Shared>,
    pub(crate) answer: u32,
}

/// The server's side of a call on this vat: it has ended once its method has returned and has let go
/// of its results, in either order.
#[derive(Default)]
enum Server {
    #[default]
    Running,
    Returned,
    LetGo(Written),
}

impl Outcome {
    /// A call on this vat that has not begun. `observer` is the peer that asked, if one did.
    pub(crate) fn new(observer: Option<Observer>) -> Rc<Self> {
        Self::with_origin(Origin::Nowhere, observer)
    }

    /// A question to a peer.
    pub(crate) fn question(connection: Weak<Shared>, name: QuestionName) -> Rc<Self> {
        Self::with_origin(Origin::Question(connection, name), None)
    }

    fn with_origin(origin: Origin, observer: Option<Observer>) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State::Pending(Pending::default())),
            handles: Cell::new(0),
            start: RefCell::default(),
            origin: Cell::new(origin),
            observer: RefCell::new(observer),
            server: RefCell::default(),
            waits_on: RefCell::default(),
        })
    }

    /// Lets the call begin in its turn, unless nobody cares by then.
    pub(crate) fn start_in_turn(self: &Rc<Self>, start: Start) {
        self.start.replace(Some(start));
        vat::push(Turn::Start(Rc::clone(self)));
    }

    /// The call's turn.
    pub(crate) fn start(self: Rc<Self>) {
        if let Some(start) = self.start.take() {
            start.run(self);
        }
    }

    fn never_start(&self) {
        let start = self.start.take();
        if let Some(start) = start {
            start.discard();
        }
    }

    /// Whether anybody cares, and does not know yet.
    pub(crate) fn is_wanted(&self) -> bool {
        self.handles.get() > 0 && matches!(&*self.state.borrow(), State::Pending(_))
    }

    /// Says on which promise the call waits to be made; `None` when it does not any more.
    pub(crate) fn wait_on(&self, promise: Option<&Rc<Node>>) {
        *self.waits_on.borrow_mut() = promise.map(Rc::downgrade).unwrap_or_default();
    }

    /// The promise that the call waits to be made on.
    pub(crate) fn waits_on(&self) -> Option<Rc<Node>> {
        self.waits_on.borrow().upgrade()
    }

    /// Says which task runs the call.
    pub(crate) fn runs_as(&self, task: TaskId) {
        self.origin.set(Origin::Task(task));
    }

    /// The method has returned.
    pub(crate) fn returned(self: &Rc<Self>, result: Result<(), Error>) {
        let server = match result {
            Err(error) => return self.finish(Err(error::bounded(error))),
            Ok(()) => std::mem::replace(&mut *self.server.borrow_mut(), Server::Returned),
        };
        if let Server::LetGo(written) = server {
            self.finish(Ok(written));
        }
    }

    /// The method has let go of its results.
    pub(crate) fn let_go(self: &Rc<Self>, written: Written) {
        let server = self.server.take();
        match server {
            Server::Returned => self.finish(Ok(written)),
            Server::Running | Server::LetGo(_) => {
                *self.server.borrow_mut() = Server::LetGo(written);
            }
        }
    }

    fn finish(self: &Rc<Self>, result: Result<Written, Error>) {
        let observer = self.observer.take();
        let asker = observer.and_then(|observer| {
            let connection = observer.connection.upgrade()?;
            Some((connection, observer.answer))
        });
        let result = match asker {
            Some((connection, answer)) => connection.send_return(self, answer, result),
            None => result,
        };
        if self.handles.get() == 0 {
            self.forget_task();
            return vat::discard(result);
        }
        let settled = result.map(|written| {
            let (message, caps) = written.unwrap_or_else(crate::results::empty);
            Rc::new(Payload::built(message, caps))
        });
        self.settle(settled);
    }

    /// Settles the call, unless it is settled already.
    pub(crate) fn settle(self: &Rc<Self>, settled: Settled) {
        self.settle_with(settled, |hook| hook);
    }

    /// As [`settle`](Self::settle); `view` makes of each promised capability what it is seen as here.
    pub(crate) fn settle_with(
        self: &Rc<Self>,
        settled: Settled,
        view: impl Fn(Box<dyn ClientHook>) -> Box<dyn ClientHook>,
    ) {
        self.forget_task();
        let mut settled = settled.map_err(error::bounded);
        let mut state = self.state.borrow_mut();
        let State::Pending(pending) = &mut *state else {
            drop(state);
            vat::discard(settled);
            return;
        };
        let mut pending = std::mem::take(pending);
        drop(state);
        // Promises go first: calls that were made before the results came must be ahead of those that
        // follow from them.
        if pending.pipeline.is_none() {
            let pipelined = std::mem::take(&mut pending.pipelined);
            let road = |path: &Path| self.road(path);
            // One for all paths: there may be many.
            let failed = settled.as_ref().err().cloned().map(reference::broken);
            let held_up = pipelined.resolve(road, |path| match &failed {
                Some(broken) => broken.add_ref(),
                None => view(capability_at(&settled, path)),
            });
            if let Ok(payload) = &mut settled
                && !held_up.is_empty()
                && let Some(payload) = Rc::get_mut(payload)
            {
                payload.hold_up(&held_up);
            }
        }
        let mut state = self.state.borrow_mut();
        // Unless the connection has ended over this.
        if matches!(&*state, State::Pending(_)) {
            *state = State::Settled(settled.clone());
        }
        drop(state);
        pending.waiters.take().wake();
        vat::discard((settled, pending));
    }

    /// Ends the call, because its connection has ended. Whoever holds it, it holds nothing any more: what a
    /// peer has tied into a circle comes apart here.
    pub(crate) fn abort(self: &Rc<Self>, reason: &Error) {
        match self.origin.take() {
            Origin::Task(task) => vat::cancel(task),
            origin => self.origin.set(origin),
        }
        self.never_start();
        self.observer.take();
        self.settle(Err(reason.clone()));
        let before = self.state.replace(State::Settled(Err(reason.clone())));
        let written = self.server.take();
        vat::discard((before, written));
    }

    /// A task has done its work. A question is still to be finished.
    fn forget_task(&self) {
        match self.origin.take() {
            question @ Origin::Question(..) => self.origin.set(question),
            Origin::Task(_) | Origin::Nowhere => {}
        }
    }

    /// The peer needs not be told that the question is finished with.
    pub(crate) fn is_finished(&self) {
        self.origin.take();
    }

    /// Says where the capabilities of the results come from, before the results do.
    pub(crate) fn redirect(&self, pipeline: Box<dyn PipelineHook>) {
        let pipelined = match &mut *self.state.borrow_mut() {
            State::Pending(pending) if pending.pipeline.is_none() => {
                pending.pipeline = Some(pipeline.add_ref());
                std::mem::take(&mut pending.pipelined)
            }
            _ => Pipelined::default(),
        };
        pipelined.resolve(|_| None, |path| pipeline.get_pipelined_cap(&ops(path)));
        vat::discard(pipeline);
    }

    /// Says which task will settle the call with another's results. It ends with the call.
    pub(crate) fn settled_by(&self, task: TaskId) {
        if let State::Pending(pending) = &mut *self.state.borrow_mut() {
            pending.follower = Some(task);
        }
    }

    /// The question, and the connection over which it went, if it is one.
    fn question_id(&self) -> Option<(Weak<Shared>, u32)> {
        let origin = self.origin.take();
        let question = match &origin {
            Origin::Question(connection, name) => Some((connection.clone(), name.id)),
            _ => None,
        };
        self.origin.set(origin);
        question
    }

    /// The way by the peer to a capability in the results, for a last message there.
    fn road(self: &Rc<Self>, path: &Path) -> Option<Rc<Node>> {
        let (connection, id) = self.question_id()?;
        Some(Node::pipelined(
            connection,
            id,
            Handle::new(self),
            path.clone(),
        ))
    }

    /// The results, if they are there.
    pub(crate) fn settled(&self) -> Option<Settled> {
        match &*self.state.borrow() {
            State::Pending(_) => None,
            State::Settled(settled) => Some(settled.clone()),
        }
    }

    fn poll(&self, place: &mut Place, context: &Context<'_>) -> Poll<Settled> {
        match &mut *self.state.borrow_mut() {
            State::Settled(settled) => Poll::Ready(settled.clone()),
            State::Pending(pending) => {
                pending.waiters.register(place, context);
                Poll::Pending
            }
        }
    }

    fn forget(&self, place: &mut Place) {
        if let State::Pending(pending) = &mut *self.state.borrow_mut() {
            pending.waiters.forget(place);
        }
    }
}

/// The capability at a path, or a broken one that says why there is none.
fn capability_at(settled: &Settled, path: &[u16]) -> Box<dyn ClientHook> {
    let found = match settled {
        Ok(payload) => payload
            .content()
            .and_then(|content| content.get_pipelined_cap(&ops(path))),
        Err(error) => Err(error.clone()),
    };
    found.unwrap_or_else(reference::broken)
}

fn ops(path: &[u16]) -> Vec<PipelineOp> {
    path.iter()
        .map(|field| PipelineOp::GetPointerField(*field))
        .collect()
}

/// The steps of a pipelined call, without those that do nothing.
pub(crate) fn path(ops: &[PipelineOp]) -> Path {
    ops.iter()
        .filter_map(|op| match op {
            PipelineOp::Noop => None,
            PipelineOp::GetPointerField(field) => Some(*field),
        })
        .collect()
}

/// Someone who cares what becomes of a call.
pub(crate) struct Handle(Rc<Outcome>);

impl Handle {
    pub(crate) fn new(outcome: &Rc<Outcome>) -> Self {
        outcome.handles.set(outcome.handles.get().saturating_add(1));
        Self(Rc::clone(outcome))
    }

    /// The call.
    pub(crate) fn outcome(&self) -> &Rc<Outcome> {
        &self.0
    }

    /// Its results, when they are there.
    pub(crate) fn wait(self) -> Wait {
        Wait {
            handle: self,
            place: Place::default(),
        }
    }

    /// The capability at a path of the results, whether or not they are there.
    pub(crate) fn capability(&self, path: &[u16]) -> Box<dyn ClientHook> {
        let pipeline = match &mut *self.0.state.borrow_mut() {
            State::Settled(_) => None,
            State::Pending(pending) => match &pending.pipeline {
                Some(pipeline) => Some(pipeline.add_ref()),
                None => {
                    return match pending.pipelined.promise(self, path) {
                        Ok(promise) => Box::new(Reference(promise)),
                        Err(error) => reference::broken(error),
                    };
                }
            },
        };
        match (pipeline, self.0.settled()) {
            (Some(pipeline), _) => pipeline.get_pipelined_cap(&ops(path)),
            (None, Some(settled)) => capability_at(&settled, path),
            (None, None) => reference::broken(Error::failed("a call without an outcome".into())),
        }
    }

    /// The hook from which calls on capabilities in the results are made.
    pub(crate) fn pipeline(&self) -> any_pointer::Pipeline {
        any_pointer::Pipeline::new(Box::new(self.clone()))
    }

    /// The results for a caller who waits for them.
    pub(crate) fn response(self) -> Promise<capability::Response<any_pointer::Owned>, Error> {
        Promise::from_future(async move {
            let payload = self.wait().await?;
            Ok(capability::Response::new(Box::new(Response(payload))))
        })
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let left = self.0.handles.get().saturating_sub(1);
        self.0.handles.set(left);
        if left > 0 {
            return;
        }
        self.0.never_start();
        match self.0.origin.take() {
            Origin::Nowhere => {}
            Origin::Task(task) => vat::cancel(task),
            Origin::Question(connection, name) => {
                // The peer need not be told of most questions, and a turn would keep the next call waiting.
                let forgotten = connection
                    .upgrade()
                    .is_none_or(|connection| connection.forget_if_over(name));
                if !forgotten {
                    vat::push(Turn::Notify(connection, Notice::Finish(name)));
                }
            }
        }
    }
}

impl PipelineHook for Handle {
    fn add_ref(&self) -> Box<dyn PipelineHook> {
        Box::new(self.clone())
    }

    fn get_pipelined_cap(&self, ops: &[PipelineOp]) -> Box<dyn ClientHook> {
        self.capability(&path(ops))
    }
}

/// Waits for a call to settle.
pub(crate) struct Wait {
    handle: Handle,
    place: Place,
}

impl Future for Wait {
    type Output = Settled;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
        let Self { handle, place } = &mut *self;
        handle.0.poll(place, context)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.handle.0.forget(&mut self.place);
    }
}
