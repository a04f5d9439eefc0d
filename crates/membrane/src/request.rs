//! A request to a target on the other side, before it is sent.
//!
//! The caller writes straight into the target's request. Its capabilities go into a table of the
//! caller's side, and are taken across when the request is sent; that is also when the policy is
//! asked, because that is when a call is made.

use std::any::Any;
use std::mem;
use std::rc::Rc;

use capnp::capability::{Promise, RemotePromise};
use capnp::private::capability::{ClientHook, PipelineHook, RequestHook};
use capnp::{Error, any_pointer};

use crate::boundary::{Boundary, Passage};
use crate::broken;
use crate::flight::{Share, Yield};
use crate::nesting::{CALLS, Level};
use crate::payload::WrittenCaps;
use crate::policy::Call;
use crate::release::release;
use crate::tail;

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

    /// Asks the policy and takes the parameters across. Returns the call's guard.
    fn admit(&mut self) -> Result<Option<Box<dyn Any>>, Error> {
        let Passage { guard, instead } = self.boundary.admit(self.call)?;
        if let Some(instead) = instead {
            self.redirect(&*instead)?;
        }
        if !self.caps.is_settled() {
            let (boundary, travel) = (&self.boundary, self.call.direction);
            self.caps.finish(self.inner.get(), boundary, travel)?;
            // Looking at the capabilities ran other hooks.
            self.boundary.open()?;
        }
        Ok(guard)
    }

    /// Makes this a request to another target. The parameters are copied, because they lie in a
    /// buffer of the first.
    fn redirect(&mut self, target: &dyn ClientHook) -> Result<(), Error> {
        let size = self.inner.get().target_size()?;
        let Call {
            interface_id,
            method_id,
            ..
        } = self.call;
        let mut inner = target.new_call(interface_id, method_id, Some(size)).hook;
        let mut caps = WrittenCaps::default();
        let written = self.caps.imbue(self.inner.get());
        caps.imbue(inner.get()).set_as(written.into_reader())?;
        release((
            mem::replace(&mut self.inner, inner),
            mem::replace(&mut self.caps, caps),
        ));
        Ok(())
    }

    /// Makes ready to send. The level is to be kept until that is done.
    fn begin<T: Yield>(&mut self) -> Result<(Level, Share<T>), Error> {
        let level = Level::enter(&CALLS)?;
        let guard = self.admit()?;
        let flight = Share::begin(&self.boundary, self.call.direction.reverse(), guard)?;
        Ok((level, flight))
    }
}

impl RequestHook for CarriedRequest {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        self.caps.imbue(self.inner.get())
    }

    fn get_brand(&self) -> usize {
        self.boundary.brand()
    }

    fn send(mut self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        match self.begin() {
            Ok((_level, flight)) => tail::launched(flight, self.inner.send()),
            Err(error) => broken::answer(error),
        }
    }

    fn send_streaming(mut self: Box<Self>) -> Promise<(), Error> {
        match self.begin() {
            Ok((_level, flight)) => flight
                .run(self.inner.send_streaming(), |_, ()| Ok(()))
                .unwrap_or_else(Promise::err),
            Err(error) => Promise::err(error),
        }
    }

    /// Always refuses: the results of a tail call go past whoever made it, and these have to pass
    /// the membrane.
    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        None
    }
}
