//! A call that is being written, and what becomes of it when it is sent.

use std::rc::{Rc, Weak};

use capnp::capability::{self, Promise, RemotePromise};
use capnp::private::capability::{ClientHook, ParamsHook, PipelineHook, RequestHook, ResultsHook};
use capnp::private::layout::CapTable;
use capnp::{Error, MessageSize, any_pointer};

use crate::call::Start;
use crate::connection::Asked;
use crate::message::{self, Outgoing};
use crate::outcome::{Handle, Outcome};
use crate::payload::{Payload, writable};
use crate::reference::{self, Node};
use crate::results::Results;
use crate::rpc_capnp::message as wire;
use crate::vat;

/// A call on a capability, with its parameters.
struct Request {
    message: Outgoing,
    caps: CapTable,
    target: Box<dyn ClientHook>,
    interface_id: u64,
    method_id: u16,
    /// Whether all calls that were made before have begun.
    in_turn: bool,
    /// Written to when the message cannot be, which cannot be: the hook has no error to return.
    nowhere: Outgoing,
}

/// An empty request for a call on a capability.
pub(crate) fn new(
    target: Box<dyn ClientHook>,
    interface_id: u64,
    method_id: u16,
    size_hint: Option<MessageSize>,
) -> capability::Request<any_pointer::Owned, any_pointer::Owned> {
    capability::Request::new(Box::new(Request::new(
        target,
        interface_id,
        method_id,
        size_hint,
    )))
}

/// Passes a call on to a peer.
pub(crate) fn forward(
    node: &Rc<Node>,
    interface_id: u64,
    method_id: u16,
    params: Box<dyn ParamsHook>,
    results: Box<dyn ResultsHook>,
) -> Promise<(), Error> {
    let target = Box::new(reference::Reference(Rc::clone(node)));
    let copied = params.get().and_then(|params| {
        let size = params.target_size()?;
        // Before it is written out: content that is named many times is larger then.
        if let Some(connection) = node.connection().and_then(Weak::upgrade) {
            connection.fits(size)?;
        }
        let mut request = Request::new(target, interface_id, method_id, Some(size));
        request.writable()?.set_as(params)?;
        // To wait for another turn would be to wait for ever, where two such calls wait for each other.
        request.in_turn = true;
        Ok(request)
    });
    vat::discard(params);
    match copied {
        Ok(request) => results.direct_tail_call(Box::new(request)).0,
        Err(error) => {
            vat::discard(results);
            Promise::err(error)
        }
    }
}

impl Request {
    fn new(
        target: Box<dyn ClientHook>,
        interface_id: u64,
        method_id: u16,
        size_hint: Option<MessageSize>,
    ) -> Self {
        let mut message = message::outgoing(size_hint);
        let mut call = message.init_root::<wire::Builder<'_>>().init_call();
        call.set_interface_id(interface_id);
        call.set_method_id(method_id);
        call.init_params();
        Self {
            message,
            caps: CapTable::new(),
            target,
            interface_id,
            method_id,
            in_turn: false,
            nowhere: message::outgoing(None),
        }
    }

    fn writable(&mut self) -> Result<any_pointer::Builder<'_>, Error> {
        writable(&mut self.message, &mut self.caps)
    }

    /// The peer to which the request can go at once. While other calls wait for their turn it cannot:
    /// they were made before.
    fn wire(&self) -> Option<Rc<Node>> {
        if !self.in_turn && !vat::is_idle() {
            return None;
        }
        reference::wire(&*self.target)
    }

    fn ask(&mut self, node: &Node) -> Result<Asked, Error> {
        let connection = node.connection().and_then(Weak::upgrade);
        let connection = connection.ok_or_else(gone)?;
        let message = std::mem::replace(&mut self.message, message::outgoing(None));
        connection.ask(node, message, std::mem::take(&mut self.caps))
    }

    /// Begins the call on this vat, in its turn.
    fn start(mut self) -> Handle {
        let outcome = Outcome::new(None);
        let handle = Handle::new(&outcome);
        let message = std::mem::replace(&mut self.message, message::outgoing(None));
        let params = Payload::built(message, std::mem::take(&mut self.caps));
        outcome.start_in_turn(Start {
            target: Rc::from(self.target.add_ref()),
            interface_id: self.interface_id,
            method_id: self.method_id,
            params: Box::new(params),
            results: Box::new(Results::new(&outcome)),
        });
        handle
    }

    fn dispatch(mut self) -> Result<Handle, Error> {
        match self.wire() {
            Some(node) => Ok(self.ask(&node)?.handle),
            None => Ok(self.start()),
        }
    }
}

fn gone() -> Error {
    Error::disconnected("the connection is gone".into())
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.caps.is_empty() {
            vat::discard(std::mem::take(&mut self.caps));
        }
    }
}

impl RequestHook for Request {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        match writable(&mut self.message, &mut self.caps) {
            Ok(content) => content,
            Err(_) => self.nowhere.init_root(),
        }
    }

    fn get_brand(&self) -> usize {
        let connection =
            reference::wire(&*self.target).and_then(|node| node.connection().map(Weak::as_ptr));
        connection.map_or(0, <*const _>::addr)
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        match self.dispatch() {
            Ok(handle) => RemotePromise {
                pipeline: handle.pipeline(),
                promise: handle.response(),
            },
            Err(error) => {
                let outcome = Outcome::new(None);
                outcome.settle(Err(error.clone()));
                RemotePromise {
                    pipeline: Handle::new(&outcome).pipeline(),
                    promise: Promise::err(error),
                }
            }
        }
    }

    fn send_streaming(mut self: Box<Self>) -> Promise<(), Error> {
        let Some(node) = self.wire() else {
            let handle = self.start();
            return Promise::from_future(async move { handle.wait().await.map(drop) });
        };
        let Some(flow) = node.flow() else {
            return Promise::err(gone());
        };
        if let Some(failure) = flow.failure() {
            return Promise::err(failure);
        }
        match self.ask(&node) {
            Ok(asked) => Promise::from_future(flow.sent(asked.bytes, asked.handle)),
            Err(error) => Promise::err(error),
        }
    }

    /// The other side is never asked to keep results.
    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        None
    }
}
