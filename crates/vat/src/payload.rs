//! Parameters and results: what a `Call` or a `Return` carries, with its capabilities.
//!
//! Every call of this vat is a `Call` message, and every answer a `Return`, whether or not it is sent
//! anywhere: what turns out to go to a peer needs no second copy.

use capnp::message::ReaderSegments;
use capnp::private::capability::{ClientHook, ParamsHook, ResponseHook};
use capnp::private::layout::CapTable;
use capnp::traits::{Imbue as _, ImbueMut as _};
use capnp::{Error, any_pointer};
use std::rc::Rc;

use crate::message::{Incoming, Outgoing};
use crate::rpc_capnp::{message, return_};
use crate::vat;

/// A payload in the message that carries it.
pub(crate) struct Payload {
    message: Carrier,
    caps: CapTable,
}

/// A capability that is not to be used yet, and the promise that stands for it until then.
pub(crate) struct HeldUp {
    pub(crate) hook: Box<dyn ClientHook>,
    pub(crate) instead: Box<dyn ClientHook>,
}

enum Carrier {
    Built(Outgoing),
    Received(Incoming),
}

impl Payload {
    /// What was written here.
    pub(crate) fn built(message: Outgoing, caps: CapTable) -> Self {
        Self {
            message: Carrier::Built(message),
            caps,
        }
    }

    /// What came from a peer.
    pub(crate) fn received(message: Incoming, caps: CapTable) -> Self {
        Self {
            message: Carrier::Received(message),
            caps,
        }
    }

    /// Puts others in the place of some capabilities.
    pub(crate) fn hold_up(&mut self, pairs: &[HeldUp]) {
        for place in self.caps.iter_mut().flatten() {
            let is_this = |hook: &dyn ClientHook| {
                (hook.get_brand(), hook.get_ptr()) == (place.get_brand(), place.get_ptr())
            };
            if let Some(pair) = pairs.iter().find(|pair| is_this(&*pair.hook)) {
                vat::discard(std::mem::replace(place, pair.instead.add_ref()));
            }
        }
    }

    /// The content, with its capabilities.
    pub(crate) fn content(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let mut content = match &self.message {
            Carrier::Built(message) => content(message.get_root_as_reader()?)?,
            Carrier::Received(message) => received(message)?,
        };
        content.imbue(&self.caps);
        Ok(content)
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if !self.caps.is_empty() {
            vat::discard(std::mem::take(&mut self.caps));
        }
    }
}

impl ParamsHook for Payload {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        self.content()
    }
}

/// Results, in the hands of the caller.
pub(crate) struct Response(pub(crate) Rc<Payload>);

impl ResponseHook for Response {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        self.0.content()
    }
}

fn received<S: ReaderSegments>(
    message: &capnp::message::Reader<S>,
) -> Result<any_pointer::Reader<'_>, Error> {
    content(message.get_root()?)
}

fn content(root: message::Reader<'_>) -> Result<any_pointer::Reader<'_>, Error> {
    let payload = match root.which()? {
        message::Call(call) => call?.get_params()?,
        message::Return(returned) => match returned?.which()? {
            return_::Results(results) => results?,
            _ => return Err(no_payload()),
        },
        _ => return Err(no_payload()),
    };
    Ok(payload.get_content())
}

/// Where the content of a message that is being written goes.
pub(crate) fn writable<'a>(
    message: &'a mut Outgoing,
    caps: &'a mut CapTable,
) -> Result<any_pointer::Builder<'a>, Error> {
    let root: message::Builder<'a> = message.get_root()?;
    let payload = match root.which()? {
        message::Call(call) => call?.get_params()?,
        message::Return(returned) => match returned?.which()? {
            return_::Results(results) => results?,
            _ => return Err(no_payload()),
        },
        _ => return Err(no_payload()),
    };
    let mut content = payload.get_content();
    content.imbue_mut(caps);
    Ok(content)
}

fn no_payload() -> Error {
    Error::failed("a message without parameters or results".into())
}
