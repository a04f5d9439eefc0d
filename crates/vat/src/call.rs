//! The beginning of a call on this vat.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use capnp::Error;
use capnp::capability::Promise;
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};

use crate::outcome::{self, Outcome};
use crate::panics::{Caught, caught};
use crate::vat;

/// A call that is to begin. It belongs to its outcome until its turn comes: a call that nobody wants any more
/// keeps nothing, neither its target nor what that keeps going.
pub(crate) struct Start {
    pub(crate) target: Rc<dyn ClientHook>,
    pub(crate) interface_id: u64,
    pub(crate) method_id: u16,
    pub(crate) params: Box<dyn ParamsHook>,
    pub(crate) results: Box<dyn ResultsHook>,
}

impl Start {
    /// Lets go of all that it holds.
    pub(crate) fn discard(self) {
        vat::discard((self.target, self.params, self.results));
    }

    /// Runs the call's first part at once, so that calls begin in the order in which they were made. Most
    /// end there.
    pub(crate) fn run(self, outcome: Rc<Outcome>) {
        let Self {
            target,
            interface_id,
            method_id,
            params,
            results,
        } = self;
        if !outcome.is_wanted() {
            return vat::discard((target, params, results));
        }
        let begun = caught(|| {
            let call = Rc::downgrade(&outcome);
            outcome::making(&call, || {
                let mut promise = target.call(interface_id, method_id, params, results);
                let polled = Pin::new(&mut promise).poll(&mut Context::from_waker(Waker::noop()));
                (promise, polled)
            })
        });
        vat::discard(target);
        match begun {
            Ok((_, Poll::Ready(result))) => outcome.returned(result),
            Ok((promise, Poll::Pending)) => go_on(promise, outcome),
            Err(panicked) => outcome.returned(Err(panicked)),
        }
    }
}

/// Leaves a call to a task, which polls it again with a waker of its own.
fn go_on(promise: Promise<(), Error>, outcome: Rc<Outcome>) {
    if !outcome.is_wanted() {
        return vat::discard(promise);
    }
    let task = vat::go_on(Ongoing {
        promise: Caught(promise),
        outcome: Rc::clone(&outcome),
    });
    if let Some(task) = task {
        outcome.runs_as(task);
    }
}

/// A call that did not end in its first turn.
pub(crate) struct Ongoing {
    promise: Caught<Promise<(), Error>>,
    outcome: Rc<Outcome>,
}

impl Future for Ongoing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let result = ready!(Pin::new(&mut self.promise).poll(context));
        self.outcome.returned(result);
        Poll::Ready(())
    }
}
