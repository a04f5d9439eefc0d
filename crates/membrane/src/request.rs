//! A request to a target on the other side, before it is sent.
//!
//! The caller writes straight into the target's request. Its capabilities go into a table of the
//! caller's side, and are taken across when the request is sent; that is also when the policy is
//! asked, because that is when a call is made.

use std::rc::Rc;

use capnp::capability::{Promise, RemotePromise};
use capnp::private::capability::{PipelineHook, RequestHook};
use capnp::{Error, any_pointer};

use crate::boundary::Boundary;
use crate::broken;
use crate::flight;
use crate::nesting::{CALLS, Level};
use crate::payload::{self, WrittenCaps};
use crate::pipeline::CarriedPipeline;
use crate::policy::Call;

pub(crate) struct CarriedRequest {
    boundary: Rc<Boundary>,
    call: Call,
    inner: Box<dyn RequestHook>,
    caps: WrittenCaps,
}

impl CarriedRequest {
    pub(crate) fn new(boundary: Rc<Boundary>, call: Call, inner: Box<dyn RequestHook>) -> Self {
        Self {
            boundary,
            call,
            inner,
            caps: WrittenCaps::default(),
        }
    }

    /// Asks the policy and takes the parameters across. Returns the request to be sent.
    fn admit(mut self) -> Result<Box<dyn RequestHook>, Error> {
        self.boundary.admit(self.call)?;
        let (boundary, travel) = (&self.boundary, self.call.direction);
        self.caps
            .settle(self.inner.get(), |cap| boundary.carry(cap, travel))?;
        // Looking at the capabilities ran other hooks.
        self.boundary.open()?;
        Ok(self.inner)
    }

    fn try_send(self) -> Result<RemotePromise<any_pointer::Owned>, Error> {
        let _level = Level::enter(&CALLS)?;
        let boundary = Rc::clone(&self.boundary);
        let travel = self.call.direction.reverse();
        let RemotePromise { promise, pipeline } = self.admit()?.send();
        let carrier = Rc::clone(&boundary);
        let promise = flight::guard(&boundary, promise, move |response| {
            payload::response(&carrier, travel, response)
        })?;
        let pipeline = CarriedPipeline::new(boundary, travel, pipeline.hook)?;
        Ok(RemotePromise {
            promise,
            pipeline: any_pointer::Pipeline::new(Box::new(pipeline)),
        })
    }

    fn try_send_streaming(self) -> Result<Promise<(), Error>, Error> {
        let _level = Level::enter(&CALLS)?;
        let boundary = Rc::clone(&self.boundary);
        let promise = self.admit()?.send_streaming();
        flight::guard(&boundary, promise, Ok)
    }
}

impl RequestHook for CarriedRequest {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        self.caps.imbue(self.inner.get())
    }

    fn get_brand(&self) -> usize {
        self.boundary.brand()
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        self.try_send().unwrap_or_else(broken::answer)
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), Error> {
        self.try_send_streaming().unwrap_or_else(Promise::err)
    }

    /// Always refuses: the results of a tail call go past whoever made it, and these have to pass
    /// the membrane.
    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        None
    }
}
