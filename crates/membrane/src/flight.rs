//! What is under way through a membrane: a promise that revocation can end.
//!
//! The promise of the other side lies in a [`Flight`] that both the waiting future and the
//! boundary know, so that `revoke` can take it and drop it at once, whoever holds the future.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use capnp::Error;
use capnp::capability::Promise;

use crate::boundary::{Boundary, Sever, Severed};
use crate::nesting::{CALLS, Level};
use crate::release::release;

/// Lets `promise` run until it ends or the boundary is revoked. `finish` takes its value across.
/// The call's guard, if its policy gave it one, is dropped then.
///
/// Fails, and drops the promise, if the boundary has been revoked.
pub(crate) fn guard<T, U, F>(
    boundary: &Rc<Boundary>,
    promise: Promise<T, Error>,
    guard: Option<Box<dyn Any>>,
    finish: F,
) -> Result<Promise<U, Error>, Error>
where
    T: 'static,
    U: 'static,
    F: FnOnce(T) -> Result<U, Error> + 'static,
{
    let flight = Rc::new(Flight {
        promise: Cell::new(Some(promise)),
        waker: Cell::new(None),
        guard: Cell::new(guard),
    });
    let number = boundary.note_call(Rc::downgrade(&flight) as _)?;
    Ok(Promise::from_future(Guarded {
        boundary: Rc::clone(boundary),
        number,
        flight,
        finish: Some(finish),
    }))
}

struct Flight<T> {
    /// Empty while it is being polled, and when it has ended.
    promise: Cell<Option<Promise<T, Error>>>,
    waker: Cell<Option<Waker>>,
    /// Gone when the call has ended.
    guard: Cell<Option<Box<dyn Any>>>,
}

impl<T: 'static> Sever for Flight<T> {
    fn sever(&self, severed: &mut Severed) {
        severed.wakers.extend(self.waker.take());
        if let Some(promise) = self.promise.take() {
            severed.remains.push(Box::new(promise));
        }
        severed.remains.extend(self.guard.take());
    }
}

struct Guarded<T: 'static, F> {
    boundary: Rc<Boundary>,
    number: u64,
    flight: Rc<Flight<T>>,
    finish: Option<F>,
}

// Nothing in it is ever pinned: promises are `Unpin`, and `finish` is moved out to be called.
impl<T: 'static, F> Unpin for Guarded<T, F> {}

impl<T, U, F> Future for Guarded<T, F>
where
    T: 'static,
    F: FnOnce(T) -> Result<U, Error>,
{
    type Output = Result<U, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.boundary.open()?;
        let _level = Level::enter(&CALLS)?;
        let Some(mut promise) = this.flight.promise.take() else {
            return Poll::Ready(Err(Error::failed("polled after it ended".into())));
        };
        let old = this.flight.waker.take();
        let waker = match old {
            Some(old) if old.will_wake(context.waker()) => old,
            _ => context.waker().clone(),
        };
        this.flight.waker.set(Some(waker));

        let polled = Pin::new(&mut promise).poll(context);

        // The boundary may have been revoked from within: then nothing gets out any more.
        if let Err(reason) = this.boundary.open() {
            release((promise, polled));
            return Poll::Ready(Err(reason));
        }
        match polled {
            Poll::Pending => {
                this.flight.promise.set(Some(promise));
                Poll::Pending
            }
            Poll::Ready(result) => {
                release(promise);
                release(this.flight.guard.take());
                let value = result?;
                match this.finish.take() {
                    Some(finish) => Poll::Ready(finish(value)),
                    None => Poll::Ready(Err(Error::failed("polled after it ended".into()))),
                }
            }
        }
    }
}

impl<T: 'static, F> Drop for Guarded<T, F> {
    fn drop(&mut self) {
        self.boundary.forget_call(self.number);
        release((self.flight.promise.take(), self.flight.guard.take()));
    }
}
