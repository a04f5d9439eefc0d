//! Methods that end in a call to somebody else.
//!
//! Such a method makes a request and has its caller take the results from it. They must not go past the
//! membrane: so the caller is given the request behind a [`TailRequest`], which takes what comes of it
//! across. That works only if the caller's own results can do their part; if they cannot, the results
//! are copied as they pass.

use std::cell::Cell;
use std::rc::Rc;

use capnp::capability::{Promise, RemotePromise, Response};
use capnp::private::capability::{PipelineHook, RequestHook};
use capnp::{Error, any_pointer};

use crate::boundary::Boundary;
use crate::broken;
use crate::flight::Share;
use crate::nesting::{Level, Recursion};
use crate::payload;
use crate::pipeline::CarriedPipeline;
use crate::policy::Direction;

/// What becomes of a method that ends in a call to somebody else ([`ResultsHook::direct_tail_call`]).
///
/// Engines pass calls on in this way: one that arrives for an object of another peer ends, here, in a
/// call to that peer.
///
/// [`ResultsHook::direct_tail_call`]: capnp::private::capability::ResultsHook::direct_tail_call
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TailCalls {
    /// The membrane waits for the results and copies them. Calls that are pipelined on them wait too.
    /// Works with every engine.
    #[default]
    Copy,
    /// The caller's results are told where they come from, so calls that are pipelined on them go there
    /// at once. The engine of the caller has to implement tail calls: `capnp-rpc` 0.27 panics instead.
    HandOn,
}

/// A request whose results go to the other side.
pub(crate) struct TailRequest {
    pub(crate) boundary: Rc<Boundary>,
    /// The way in which the results travel.
    pub(crate) travel: Direction,
    pub(crate) inner: Box<dyn RequestHook>,
    /// Where the pipeline is left, as the maker of the request sees it.
    pub(crate) pipeline: Rc<Cell<Option<Box<dyn PipelineHook>>>>,
}

impl TailRequest {
    fn try_send(self) -> Result<RemotePromise<any_pointer::Owned>, Error> {
        let _level = Level::enter(Recursion::Calls)?;
        let flight = Share::begin(self.boundary, self.travel, None)?;
        let sent = self.inner.send();
        self.pipeline.set(Some(sent.pipeline.hook.add_ref()));
        Ok(launched(flight, sent))
    }
}

/// The answer to a call, as the other side sees it.
#[inline]
pub(crate) fn launched(
    flight: Share<Response<any_pointer::Owned>>,
    sent: RemotePromise<any_pointer::Owned>,
) -> RemotePromise<any_pointer::Owned> {
    flight.pipeline.fill(sent.pipeline.hook);
    let pipeline = Box::new(CarriedPipeline::new(flight.clone()));
    match flight.run(sent.promise, payload::response) {
        Ok(promise) => RemotePromise {
            promise,
            pipeline: any_pointer::Pipeline::new(pipeline),
        },
        Err(error) => broken::answer(error),
    }
}

impl RequestHook for TailRequest {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        self.inner.get()
    }

    fn get_brand(&self) -> usize {
        self.boundary.brand()
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        self.try_send().unwrap_or_else(broken::answer)
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), Error> {
        let sent = self.send();
        Promise::from_future(async move { sent.promise.await.map(drop) })
    }

    /// Refuses: the results would go past the membrane.
    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        None
    }
}
