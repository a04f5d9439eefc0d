//! What is under way through a membrane, and what revocation ends.
//!
//! A [`Flight`] is one call, or one wait for a promise: it holds what the other side gave for it, which
//! the boundary can take, whoever holds the future and the pipeline that were made of it. It ends when
//! nobody holds either.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use capnp::Error;
use capnp::capability::Promise;
use capnp::private::capability::{PipelineHook, ResponseHook};

use crate::boundary::{Boundary, Remains, Sever, Severed};
use crate::held::Held;
use crate::nesting::{CALLS, Level};
use crate::policy::Direction;
use crate::release::release;

/// What a policy gave to a call, until the call has ended.
pub(crate) type Guard = Rc<Cell<Option<Box<dyn Any>>>>;

/// Something under way. `T` is what it yields on the other side.
pub(crate) struct Flight<T: 'static> {
    pub(crate) boundary: Rc<Boundary>,
    /// The way in which its result travels.
    pub(crate) travel: Direction,
    /// Its place among the boundary's calls.
    place: Cell<usize>,
    /// Empty while it is being polled, and when it has ended.
    promise: Cell<Option<Promise<T, Error>>>,
    waker: Cell<Option<Waker>>,
    pub(crate) pipeline: Held<dyn PipelineHook>,
    /// How many hooks there are for `pipeline`.
    pub(crate) pipelines: Cell<usize>,
    /// The results, until somebody reads them.
    pub(crate) response: Held<dyn ResponseHook>,
    guard: Option<Guard>,
    /// Why the results could not be taken across, if they could not: their writer cannot return it.
    fault: Cell<Option<Error>>,
}

/// Takes a value across, when it is there.
pub(crate) type Finish<T, U> = fn(&Rc<Flight<T>>, T) -> Result<U, Error>;

impl<T: 'static> Flight<T> {
    /// Fails if the boundary has been revoked.
    #[inline]
    pub(crate) fn begin(
        boundary: &Rc<Boundary>,
        travel: Direction,
        guard: Option<Box<dyn Any>>,
    ) -> Result<Rc<Self>, Error> {
        let flight = Rc::new(Self {
            boundary: Rc::clone(boundary),
            travel,
            place: Cell::new(usize::MAX),
            promise: Cell::new(None),
            waker: Cell::new(None),
            pipeline: Held::empty(),
            pipelines: Cell::new(0),
            response: Held::empty(),
            guard: guard.map(|guard| Rc::new(Cell::new(Some(guard)))),
            fault: Cell::new(None),
        });
        let weak: Weak<Self> = Rc::downgrade(&flight);
        flight.place.set(boundary.note_call(weak)?);
        Ok(flight)
    }

    /// Lets `promise` run until it ends or the boundary is revoked. `finish` takes its value across.
    ///
    /// Fails, and drops the promise, if the boundary has been revoked.
    #[inline]
    pub(crate) fn run<U: 'static>(
        self: Rc<Self>,
        promise: Promise<T, Error>,
        finish: Finish<T, U>,
    ) -> Result<Promise<U, Error>, Error> {
        self.boundary.open()?;
        self.promise.set(Some(promise));
        Ok(Promise::from_future(Awaiting {
            flight: self,
            finish,
        }))
    }

    /// The call's guard, for what keeps the call from being over.
    pub(crate) fn guard(&self) -> Option<Guard> {
        self.guard.clone()
    }

    pub(crate) fn set_fault(&self, fault: Error) {
        self.fault.set(Some(fault));
    }

    pub(crate) fn check_fault(&self) -> Result<(), Error> {
        self.fault.take().map_or(Ok(()), Err)
    }

    fn remember(&self, waker: &Waker) {
        let waker = match self.waker.take() {
            Some(old) if old.will_wake(waker) => old,
            _ => waker.clone(),
        };
        self.waker.set(Some(waker));
    }
}

impl<T: 'static> Sever for Flight<T> {
    fn sever(&self, severed: &mut Severed) {
        severed.wakers.extend(self.waker.take());
        if let Some(promise) = self.promise.take() {
            severed.remains.push(Remains::Other(Box::new(promise)));
        }
        if let Some(pipeline) = self.pipeline.take() {
            severed.remains.push(Remains::Pipeline(pipeline));
        }
        if let Some(response) = self.response.take() {
            severed.remains.push(Remains::Response(response));
        }
        if let Some(guard) = self.guard.as_ref().and_then(|guard| guard.take()) {
            severed.remains.push(Remains::Other(guard));
        }
    }
}

impl<T: 'static> Drop for Flight<T> {
    fn drop(&mut self) {
        self.boundary.forget_call(self.place.get());
        if let Some(pipeline) = self.pipeline.take() {
            release(pipeline);
        }
        if let Some(response) = self.response.take() {
            release(response);
        }
        if let Some(guard) = self.guard.take() {
            release(guard);
        }
    }
}

/// Whoever waits for a flight.
struct Awaiting<T: 'static, U> {
    flight: Rc<Flight<T>>,
    finish: Finish<T, U>,
}

impl<T: 'static, U> Future for Awaiting<T, U> {
    type Output = Result<U, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let flight = &self.flight;
        flight.boundary.open()?;
        let _level = Level::enter(&CALLS)?;
        let Some(mut promise) = flight.promise.take() else {
            return Poll::Ready(Err(Error::failed("polled after it ended".into())));
        };
        let polled = Pin::new(&mut promise).poll(context);
        // The boundary may have been revoked from within: then nothing gets out any more.
        if let Err(reason) = flight.boundary.open() {
            release((promise, polled));
            return Poll::Ready(Err(reason));
        }
        let Poll::Ready(result) = polled else {
            flight.remember(context.waker());
            flight.promise.set(Some(promise));
            return Poll::Pending;
        };
        release(promise);
        flight.waker.take();
        if let Some(guard) = &flight.guard
            && let Some(guard) = guard.take()
        {
            release(guard);
        }
        // What was let go of may have revoked too.
        flight.boundary.open()?;
        Poll::Ready((self.finish)(flight, result?))
    }
}

impl<T: 'static, U> Drop for Awaiting<T, U> {
    fn drop(&mut self) {
        self.flight.waker.take();
        if let Some(promise) = self.flight.promise.take() {
            release(promise);
        }
    }
}
