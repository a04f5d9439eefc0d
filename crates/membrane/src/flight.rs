//! What is under way through a membrane, and what revocation ends.
//!
//! A [`Flight`] is one call, or one wait for a promise: it holds what the other side gave for it, which
//! the boundary can take, whoever holds the future and the pipeline that were made of it. It ends when
//! nobody holds either.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use capnp::capability::{Promise, Response};
use capnp::private::capability::{ClientHook, PipelineHook, ResponseHook};
use capnp::{Error, any_pointer};

use crate::boundary::{Boundary, Remains, Sever, Severed};
use crate::held::Held;
use crate::nesting::{Level, Recursion};
use crate::policy::Direction;
use crate::release::release;
use crate::spare::{self, Spares};

/// The place of a flight that its boundary does not know.
const NOWHERE: usize = usize::MAX;

/// What a policy gave to a call, until the call has ended.
pub(crate) type Guard = Rc<Cell<Option<Box<dyn Any>>>>;

/// Something under way. `T` is what it yields on the other side.
pub(crate) struct Flight<T: 'static> {
    /// The way in which its result travels.
    travel: Cell<Direction>,
    /// Its place among the boundary's calls.
    place: Cell<usize>,
    /// Borrowed while it is being polled; empty when it has ended.
    promise: RefCell<Option<Promise<T, Error>>>,
    waker: Cell<Option<Waker>>,
    pub(crate) pipeline: Held<dyn PipelineHook>,
    /// How many hooks there are for `pipeline`.
    pub(crate) pipelines: Cell<usize>,
    /// The results, until somebody reads them.
    pub(crate) response: Held<dyn ResponseHook>,
    guard: Cell<Option<Guard>>,
    /// Why the results could not be taken across, if they could not: their writer cannot return it.
    fault: Cell<Option<Error>>,
}

/// A share in a [`Flight`]. It ends when the last is dropped.
pub(crate) struct Share<T: Yield> {
    pub(crate) boundary: Rc<Boundary>,
    flight: Rc<Flight<T>>,
}

/// What a flight may yield.
pub(crate) trait Yield: Sized + 'static {
    /// Where a flight is kept to be used again, if flights for this are so frequent.
    fn spare(spares: &Spares) -> Option<&Cell<Option<Rc<Flight<Self>>>>>;
}

impl Yield for Response<any_pointer::Owned> {
    #[inline]
    fn spare(spares: &Spares) -> Option<&Cell<Option<Rc<Flight<Self>>>>> {
        Some(&spares.call)
    }
}

impl Yield for () {
    #[inline]
    fn spare(spares: &Spares) -> Option<&Cell<Option<Rc<Flight<Self>>>>> {
        Some(&spares.arrived)
    }
}

impl Yield for Box<dyn ClientHook> {
    fn spare(_: &Spares) -> Option<&Cell<Option<Rc<Flight<Self>>>>> {
        None
    }
}

impl<T: Yield> Share<T> {
    /// Fails if the boundary has been revoked.
    #[inline]
    pub(crate) fn begin(
        boundary: Rc<Boundary>,
        travel: Direction,
        guard: Option<Box<dyn Any>>,
    ) -> Result<Self, Error> {
        let share = Self {
            boundary,
            flight: spare::with(|spares| T::spare(spares)?.take())
                .flatten()
                .unwrap_or_default(),
        };
        share.travel.set(travel);
        if let Some(guard) = guard {
            share.guard.set(Some(Rc::new(Cell::new(Some(guard)))));
        }
        share
            .place
            .set(share.boundary.note_call(share.downgrade())?);
        Ok(share)
    }

    /// Lets `promise` run until it ends or the boundary is revoked. `finish` takes its value across.
    ///
    /// Fails, and drops the promise, if the boundary has been revoked.
    #[inline]
    pub(crate) fn run<U: 'static>(
        self,
        promise: Promise<T, Error>,
        finish: impl Fn(Self, T) -> Result<U, Error> + Unpin + 'static,
    ) -> Result<Promise<U, Error>, Error> {
        self.boundary.open()?;
        self.promise.replace(Some(promise));
        Ok(Promise::from_future(Awaiting {
            flight: Some(self),
            finish,
        }))
    }

    /// For who wants to say something about the flight if it has not ended.
    pub(crate) fn downgrade(&self) -> Weak<Flight<T>> {
        Rc::downgrade(&self.flight)
    }

    fn end(&self) {
        self.boundary.forget_call(self.place.replace(NOWHERE));
        if let Some(pipeline) = self.pipeline.take() {
            release(pipeline);
        }
        if let Some(response) = self.response.take() {
            release(response);
        }
        if let Some(guard) = self.guard.take() {
            release(guard);
        }
        self.fault.take();
    }
}

impl<T: Yield> Clone for Share<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            boundary: Rc::clone(&self.boundary),
            flight: Rc::clone(&self.flight),
        }
    }
}

impl<T: Yield> Deref for Share<T> {
    type Target = Flight<T>;

    #[inline]
    fn deref(&self) -> &Flight<T> {
        &self.flight
    }
}

impl<T: Yield> Drop for Share<T> {
    #[inline]
    fn drop(&mut self) {
        if Rc::strong_count(&self.flight) > 1 {
            return;
        }
        self.end();
        // Who still knows of it could tell the next call a fault of this one.
        if Rc::weak_count(&self.flight) == 0 {
            spare::with(|spares| {
                T::spare(spares)?.set(Some(Rc::clone(&self.flight)));
                Some(())
            });
        }
    }
}

impl<T: 'static> Default for Flight<T> {
    fn default() -> Self {
        Self {
            travel: Cell::new(Direction::Inward),
            place: Cell::new(NOWHERE),
            promise: RefCell::new(None),
            waker: Cell::new(None),
            pipeline: Held::empty(),
            pipelines: Cell::new(0),
            response: Held::empty(),
            guard: Cell::new(None),
            fault: Cell::new(None),
        }
    }
}

impl<T: 'static> Flight<T> {
    /// The way in which its result travels.
    #[inline]
    pub(crate) fn travel(&self) -> Direction {
        self.travel.get()
    }

    /// The call's guard, for what keeps the call from being over.
    pub(crate) fn guard(&self) -> Option<Guard> {
        let guard = self.guard.take();
        self.guard.set(guard.clone());
        guard
    }

    /// Lets go of what the policy gave.
    #[inline]
    fn release_guard(&self) {
        if let Some(guard) = self.guard.take() {
            let given = guard.take();
            self.guard.set(Some(guard));
            release(given);
        }
    }

    /// Takes the promise, unless it is being polled.
    #[inline]
    fn take_promise(&self) -> Option<Promise<T, Error>> {
        self.promise.try_borrow_mut().ok()?.take()
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
        if let Some(promise) = self.take_promise() {
            severed.remains.push(Remains::Other(Box::new(promise)));
        }
        if let Some(pipeline) = self.pipeline.take() {
            severed.remains.push(Remains::Pipeline(pipeline));
        }
        if let Some(response) = self.response.take() {
            severed.remains.push(Remains::Response(response));
        }
        if let Some(guard) = self.guard().and_then(|guard| guard.take()) {
            severed.remains.push(Remains::Other(guard));
        }
    }
}

/// Whoever waits for a flight.
struct Awaiting<T: Yield, F> {
    /// Handed on with what it has yielded.
    flight: Option<Share<T>>,
    finish: F,
}

impl<T: Yield, U, F: Fn(Share<T>, T) -> Result<U, Error> + Unpin> Future for Awaiting<T, F> {
    type Output = Result<U, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(flight) = &self.flight else {
            return Poll::Ready(Err(ended()));
        };
        flight.boundary.open()?;
        let _level = Level::enter(Recursion::Calls)?;
        let polled = match flight.promise.try_borrow_mut().as_deref_mut() {
            Ok(Some(promise)) => Pin::new(promise).poll(context),
            _ => return Poll::Ready(Err(ended())),
        };
        // The boundary may have been revoked from within: then nothing gets out any more.
        if let Err(reason) = flight.boundary.open() {
            release((flight.take_promise(), polled));
            return Poll::Ready(Err(reason));
        }
        let Poll::Ready(result) = polled else {
            flight.remember(context.waker());
            return Poll::Pending;
        };
        if let Some(promise) = flight.take_promise() {
            release(promise);
        }
        flight.waker.take();
        flight.release_guard();
        // What was let go of may have revoked too.
        flight.boundary.open()?;
        let value = result?;
        let flight = self.flight.take().ok_or_else(ended)?;
        Poll::Ready((self.finish)(flight, value))
    }
}

#[cold]
fn ended() -> Error {
    Error::failed("polled after it ended".into())
}

impl<T: Yield, F> Drop for Awaiting<T, F> {
    fn drop(&mut self) {
        let Some(flight) = &self.flight else { return };
        flight.waker.take();
        if let Some(promise) = flight.take_promise() {
            release(promise);
        }
    }
}
