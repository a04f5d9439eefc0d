//! Where the target of a call writes its results.
//!
//! The target writes straight into the caller's results. What it puts there is taken across when
//! the target lets go of them, or lets pipelined calls start.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use capnp::capability::{Promise, RemotePromise};
use capnp::private::capability::{PipelineHook, RequestHook, ResultsHook};
use capnp::{Error, any_pointer};

use crate::boundary::Boundary;
use crate::broken;
use crate::flight::Flight;
use crate::payload::WrittenCaps;
use crate::policy::Direction;
use crate::release::release;
use crate::tail::{TailCalls, TailRequest};

pub(crate) struct CarriedResults {
    boundary: Rc<Boundary>,
    travel: Direction,
    /// There until dropped.
    outer: Option<Box<dyn ResultsHook>>,
    caps: WrittenCaps,
    call: Weak<Flight<()>>,
}

impl CarriedResults {
    /// The hook for the target of a call. Why results could not be taken across is told to the `call`.
    pub(crate) fn new(
        boundary: Rc<Boundary>,
        travel: Direction,
        outer: Box<dyn ResultsHook>,
        call: Weak<Flight<()>>,
    ) -> Self {
        Self {
            boundary,
            travel,
            outer: Some(outer),
            caps: WrittenCaps::default(),
            call,
        }
    }

    /// Takes across what was written, `by` one way or the other.
    fn cross(&mut self, by: Cross) -> Result<(), Error> {
        let Some(outer) = &mut self.outer else {
            return Ok(());
        };
        self.boundary.open()?;
        if self.caps.is_settled() {
            return Ok(());
        }
        by(&mut self.caps, outer.get()?, &self.boundary, self.travel)
    }
}

/// [`WrittenCaps::settle`] or [`WrittenCaps::finish`].
type Cross =
    fn(&mut WrittenCaps, any_pointer::Builder<'_>, &Rc<Boundary>, Direction) -> Result<(), Error>;

fn gone() -> Error {
    Error::failed("results used after they were dropped".into())
}

impl ResultsHook for CarriedResults {
    /// Works on after revocation, because callers take it for granted: what is written then goes
    /// nowhere.
    fn get(&mut self) -> Result<any_pointer::Builder<'_>, Error> {
        let outer = self.outer.as_mut().ok_or_else(gone)?;
        Ok(self.caps.imbue(outer.get()?))
    }

    fn set_pipeline(&mut self) -> Result<(), Error> {
        self.cross(WrittenCaps::settle)?;
        self.outer.as_mut().ok_or_else(gone)?.set_pipeline()
    }

    fn allow_cancellation(&self) {
        if let Some(outer) = &self.outer {
            outer.allow_cancellation();
        }
    }

    fn tail_call(self: Box<Self>, request: Box<dyn RequestHook>) -> Promise<(), Error> {
        self.direct_tail_call(request).0
    }

    fn direct_tail_call(
        mut self: Box<Self>,
        request: Box<dyn RequestHook>,
    ) -> (Promise<(), Error>, Box<dyn PipelineHook>) {
        match self.boundary.tail_calls {
            TailCalls::Copy => self.copy(request),
            TailCalls::HandOn => match self.outer.take() {
                Some(outer) => self.hand_on(outer, request),
                None => self.copy(request),
            },
        }
    }
}

impl CarriedResults {
    /// Sends the request and copies its results here.
    fn copy(
        mut self: Box<Self>,
        request: Box<dyn RequestHook>,
    ) -> (Promise<(), Error>, Box<dyn PipelineHook>) {
        let RemotePromise { promise, pipeline } = request.send();
        let copied = Promise::from_future(async move {
            let response = promise.await?;
            self.get()?.set_as(response.get()?)
        });
        (copied, pipeline.hook)
    }

    /// Lets the caller's results take what comes of the request.
    fn hand_on(
        &self,
        outer: Box<dyn ResultsHook>,
        request: Box<dyn RequestHook>,
    ) -> (Promise<(), Error>, Box<dyn PipelineHook>) {
        let own = Rc::new(Cell::new(None));
        let request = TailRequest {
            boundary: Rc::clone(&self.boundary),
            travel: self.travel,
            inner: request,
            pipeline: Rc::clone(&own),
        };
        let (promise, outer_pipeline) = outer.direct_tail_call(Box::new(request));
        release(outer_pipeline);
        let unsent = || broken::answer(Error::failed("a tail call was not made".into()));
        let pipeline = own.take().unwrap_or_else(|| unsent().pipeline.hook);
        (promise, pipeline)
    }
}

impl Drop for CarriedResults {
    fn drop(&mut self) {
        if let Err(error) = self.cross(WrittenCaps::finish)
            && let Some(call) = self.call.upgrade()
        {
            call.set_fault(error);
        }
        release(self.outer.take());
    }
}
