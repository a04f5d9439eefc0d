//! An object of this vat, behind a capability.
//!
//! Calls are delivered in the order in which they were made. While a streaming method runs, later calls
//! wait: that is how its caller is held back. Once a streaming method has failed, every later call fails
//! with its error, because nobody looked at its result.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use capnp::capability::{Params, Promise, Request, Results, Server};
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::{Error, MessageSize, any_pointer};

use crate::panics::Caught;
use crate::slot::{Backlog, Call, Resume, Target};
use crate::vat::{self, Turn};

/// An object and what waits for it.
pub(crate) struct Local {
    server: RefCell<Option<Rc<dyn Dispatch>>>,
    /// Whether a streaming method runs.
    busy: Cell<bool>,
    waiting: Backlog,
    failure: RefCell<Option<Error>>,
}

/// A server, whatever its type.
trait Dispatch {
    fn dispatch(&self, call: Call) -> (Promise<(), Error>, bool);
}

impl<S: Server + Clone> Dispatch for S {
    fn dispatch(&self, call: Call) -> (Promise<(), Error>, bool) {
        let dispatched = self.clone().dispatch_call(
            call.interface_id,
            call.method_id,
            Params::new(call.params),
            Results::new(call.results),
        );
        (dispatched.promise, dispatched.is_streaming)
    }
}

/// A capability for a server.
pub(crate) fn hook(server: impl Server + Clone + 'static) -> Box<dyn ClientHook> {
    Box::new(LocalHook(Rc::new(Local {
        server: RefCell::new(Some(Rc::new(server))),
        busy: Cell::new(false),
        waiting: Backlog::default(),
        failure: RefCell::new(None),
    })))
}

impl Local {
    /// Begins a call now.
    pub(crate) fn dispatch(self: &Rc<Self>, call: Call) -> Promise<(), Error> {
        let refused = self.failure.borrow().clone();
        let server = self.server.borrow().clone();
        let server = match (refused, server) {
            (None, Some(server)) => server,
            (failure, _) => {
                vat::discard((call.params, call.results));
                let gone = || Error::disconnected("the object is gone".into());
                return Promise::err(failure.unwrap_or_else(gone));
            }
        };
        let (promise, streaming) = server.dispatch(call);
        if !streaming {
            return promise;
        }
        self.busy.set(true);
        Promise::from_future(Streaming {
            promise: Caught(promise),
            local: Rc::clone(self),
        })
    }

    /// Lets the next call begin, in its turn, if the object is free.
    pub(crate) fn resume_next(self: &Rc<Self>) {
        if self.busy.get() {
            return;
        }
        if let Some(entry) = self.waiting.pop() {
            // Busy until it has begun, so that nothing gets in between.
            self.busy.set(true);
            vat::push(Turn::Resume(Resume {
                entry,
                target: Target::Freed(Rc::clone(self)),
            }));
        }
    }

    /// The call that waited for the object is about to begin.
    pub(crate) fn take(&self) {
        self.busy.set(false);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        vat::discard(self.server.take());
    }
}

/// A streaming method that runs.
struct Streaming {
    promise: Caught<Promise<(), Error>>,
    local: Rc<Local>,
}

impl Future for Streaming {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.promise).poll(context);
        if let Poll::Ready(Err(error)) = &polled {
            *self.local.failure.borrow_mut() = Some(error.clone());
        }
        polled
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.local.busy.set(false);
        self.local.resume_next();
    }
}

struct LocalHook(Rc<Local>);

impl ClientHook for LocalHook {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    fn new_call(
        &self,
        interface_id: u64,
        method_id: u16,
        size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        crate::request::new(self.add_ref(), interface_id, method_id, size_hint)
    }

    fn call(
        &self,
        interface_id: u64,
        method_id: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        let call = Call {
            interface_id,
            method_id,
            params,
            results,
        };
        if self.0.busy.get() {
            return self.0.waiting.park(call, Rc::clone(&self.0) as Rc<dyn Any>);
        }
        self.0.dispatch(call)
    }

    fn get_brand(&self) -> usize {
        0
    }

    fn get_ptr(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        None
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        None
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        Promise::ok(())
    }
}
