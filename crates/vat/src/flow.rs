//! Flow control of streaming calls to a peer.
//!
//! A method that is declared `-> stream` may be called again before it has returned; the caller is held
//! back only when too much is under way. Once one of these calls has failed, all later ones to the same
//! capability fail with its error, because nobody looked at its result.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use capnp::Error;

use crate::outcome::Handle;
use crate::vat;
use crate::waiters::{Place, Waiters};

/// Bytes of streaming calls to one capability that may be under way before the caller has to wait. A
/// peer that answers within a millisecond gets half a gigabyte a second through it.
pub const STREAM_WINDOW_BYTES: usize = 512 << 10;

/// The account of what is streamed to one capability.
#[derive(Clone, Default)]
pub(crate) struct Flow(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    under_way: usize,
    failure: Option<Error>,
    waiters: Waiters,
}

impl Flow {
    /// Why nothing more can be streamed, if it is so.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.0.borrow().failure.clone()
    }

    /// Counts a call until it has settled. What is returned waits until there is room for another.
    pub(crate) fn sent(&self, bytes: usize, call: Handle) -> Room {
        self.0.borrow_mut().under_way += bytes;
        let flow = self.clone();
        vat::spawn(async move {
            let settled = call.wait().await;
            flow.settled(bytes, settled.err());
        });
        Room {
            flow: self.clone(),
            place: Place::default(),
        }
    }

    fn settled(&self, bytes: usize, failure: Option<Error>) {
        let mut state = self.0.borrow_mut();
        state.under_way = state.under_way.saturating_sub(bytes);
        if state.failure.is_none() {
            state.failure = failure;
        }
        let woken = state.waiters.take();
        drop(state);
        woken.wake();
    }
}

/// Waits until there is room for another call.
pub(crate) struct Room {
    flow: Flow,
    place: Place,
}

impl Future for Room {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { flow, place } = &mut *self;
        let mut state = flow.0.borrow_mut();
        if let Some(failure) = &state.failure {
            return Poll::Ready(Err(failure.clone()));
        }
        if state.under_way < STREAM_WINDOW_BYTES {
            return Poll::Ready(Ok(()));
        }
        state.waiters.register(place, context);
        Poll::Pending
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.flow.0.borrow_mut().waiters.forget(&mut self.place);
    }
}
