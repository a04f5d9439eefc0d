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
use crate::nesting::{Level, Recursion};
use crate::payload::WrittenCaps;
use crate::policy::Call;
use crate::release::release;
use crate::spare;
use crate::tail;

/// The box of a request is used again once the request has been sent.
#[derive(Default)]
pub(crate) struct CarriedRequest {
    /// What crosses, until it is sent.
    crossing: Option<Crossing>,
    /// Empty once sent.
    inner: Option<Box<dyn RequestHook>>,
    caps: WrittenCaps,
}

struct Crossing {
    boundary: Rc<Boundary>,
    call: Call,
}

/// A call that may be made, and its request.
struct Begun<T: Yield> {
    flight: Share<T>,
    inner: Box<dyn RequestHook>,
    /// To be kept until it is sent.
    _level: Level,
}

impl CarriedRequest {
    #[inline]
    pub(crate) fn boxed(
        boundary: &Rc<Boundary>,
        call: Call,
        inner: Box<dyn RequestHook>,
    ) -> Box<Self> {
        let mut request = spare::with(|spares| spares.request.take())
            .flatten()
            .unwrap_or_default();
        let boundary = Rc::clone(boundary);
        request.crossing = Some(Crossing { boundary, call });
        request.inner = Some(inner);
        request
    }

    /// Asks whether it may be sent, and makes ready.
    #[inline]
    fn begin<T: Yield>(mut self: Box<Self>) -> Result<Begun<T>, Error> {
        let level = Level::enter(Recursion::Calls)?;
        let Crossing { boundary, call } = self.crossing.take().ok_or_else(sent)?;
        let inner = self.inner.take().ok_or_else(sent)?;
        let (guard, inner) = admit(&boundary, call, inner, &mut self.caps)?;
        // What is let go of here may revoke: it is the last that can, before this is sent.
        self.caps.clear();
        let flight = Share::begin(boundary, call.direction.reverse(), guard)?;
        spare::with(|spares| spares.request.set(Some(self)));
        Ok(Begun {
            flight,
            inner,
            _level: level,
        })
    }
}

/// What a policy gave to a call, and the request that is to be sent.
type Admitted = (Option<Box<dyn Any>>, Box<dyn RequestHook>);

/// Asks the policy and takes the parameters across.
// Always: its results would go through memory, on the path of each call.
#[inline(always)]
fn admit(
    boundary: &Rc<Boundary>,
    call: Call,
    mut inner: Box<dyn RequestHook>,
    caps: &mut WrittenCaps,
) -> Result<Admitted, Error> {
    let Passage { guard, instead } = boundary.admit(call)?;
    if let Some(instead) = instead {
        inner = redirect(call, inner, caps, &*instead)?;
    }
    if !caps.is_settled() {
        caps.finish(inner.get(), boundary, call.direction)?;
        // Looking at the capabilities ran other hooks.
        boundary.open()?;
    }
    Ok((guard, inner))
}

/// The same request to another target. The parameters are copied, because they lie in a buffer of the
/// first.
fn redirect(
    call: Call,
    mut from: Box<dyn RequestHook>,
    written: &mut WrittenCaps,
    target: &dyn ClientHook,
) -> Result<Box<dyn RequestHook>, Error> {
    let size = from.get().target_size()?;
    let Call {
        interface_id,
        method_id,
        ..
    } = call;
    let mut to = target.new_call(interface_id, method_id, Some(size)).hook;
    let mut caps = WrittenCaps::default();
    let parameters = written.imbue(from.get());
    caps.imbue(to.get()).set_as(parameters.into_reader())?;
    release((from, mem::replace(written, caps)));
    Ok(to)
}

fn sent() -> Error {
    Error::failed("a request used after it was sent".into())
}

fn nowhere() -> Box<dyn RequestHook> {
    broken::request(sent(), None).hook
}

impl RequestHook for CarriedRequest {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        // It is there until the request is sent, and then there is nobody who could write to it.
        let inner = self.inner.get_or_insert_with(nowhere);
        self.caps.imbue(inner.get())
    }

    fn get_brand(&self) -> usize {
        let crossing = self.crossing.as_ref();
        crossing.map_or(0, |crossing| crossing.boundary.brand())
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        match self.begin() {
            Ok(Begun {
                flight,
                inner,
                _level,
            }) => tail::launched(flight, inner.send()),
            Err(error) => broken::answer(error),
        }
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), Error> {
        match self.begin() {
            Ok(Begun {
                flight,
                inner,
                _level,
            }) => flight
                .run(inner.send_streaming(), |_, ()| Ok(()))
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
