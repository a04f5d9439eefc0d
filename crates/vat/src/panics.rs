//! Panics in other people's code: in a method, or in the destructor of an object.
//!
//! They end the call that they happen in, and nothing else. That the code around them may go on
//! afterwards needs no more than this: no table is borrowed while somebody else's code runs, and what
//! the call itself had is dropped. An object that panicked is left as it left itself, as it would be
//! after an error.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use capnp::Error;

/// Runs somebody else's code.
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|_| panicked())
}

/// The panic's own words are for the log, which has them; they are not for a peer.
fn panicked() -> Error {
    Error::failed("the object failed in a way that it did not foresee (it panicked)".into())
}

/// Somebody else's future, which fails if it panics. It is not polled again after that.
pub(crate) struct Caught<F>(pub(crate) F);

impl<T, F: Future<Output = Result<T, Error>> + Unpin> Future for Caught<F> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = Pin::new(&mut self.0);
        caught(|| future.poll(context)).unwrap_or_else(|error| Poll::Ready(Err(error)))
    }
}
