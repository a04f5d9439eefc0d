//! Embargoes: keeping order when a promise of the peer's turns out to be something of ours.
//!
//! Calls that were made on the promise are on their way to the peer and back. Until they have arrived,
//! later calls wait; a `Disembargo` that is sent after them and comes back says when that is.

use std::rc::{Rc, Weak};

use capnp::Error;
use capnp::private::capability::ClientHook;
use slab::Slab;

use super::send::address;
use super::{Notice, Shared};
use crate::error::Violation;
use crate::limits::MAX_HOPS;
use crate::reference::{self, Node};
use crate::rpc_capnp::{disembargo, message_target};
use crate::vat::{self, Turn};

#[derive(Default)]
pub(super) struct Embargoes(Slab<Embargo>);

struct Embargo {
    promise: Weak<Node>,
    target: Box<dyn ClientHook>,
}

impl Embargoes {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Breaks what waits: the calls that it waits for are lost.
    pub(super) fn fail(self, reason: &Error) {
        for (_, embargo) in self.0 {
            if let Some(promise) = embargo.promise.upgrade() {
                reference::resolve(&promise, reference::broken(reason.clone()));
            }
            vat::discard(embargo.target);
        }
    }
}

impl Shared {
    /// A promise for `target` that is kept until all calls that took the road have come back.
    pub(crate) fn embargo(
        self: &Rc<Self>,
        road: &Node,
        target: Box<dyn ClientHook>,
    ) -> Result<Rc<Node>, Error> {
        self.open()?;
        let promise = Node::promise();
        let id = {
            let mut tables = self.tables.borrow_mut();
            let count = tables.embargoes.len();
            let limit = self.limits.embargoes;
            if count >= limit {
                drop(tables);
                let violation = Violation::TooManyEmbargoes { count, limit };
                self.fail(&violation);
                return Err(Error::overloaded(violation.to_string()));
            }
            tables.embargoes.0.insert(Embargo {
                promise: Rc::downgrade(&promise),
                target,
            })
        };
        let Some(to) = road.wire_target() else {
            return Ok(promise);
        };
        self.tell(|message| {
            let mut disembargo = message.init_disembargo();
            address(&to, disembargo.reborrow().init_target());
            let id = u32::try_from(id).unwrap_or(u32::MAX);
            disembargo.init_context().set_sender_loopback(id);
        });
        Ok(promise)
    }

    /// `true` when the message is for a level of the protocol that is not served.
    pub(super) fn on_disembargo(
        self: &Rc<Self>,
        disembargo: disembargo::Reader<'_>,
    ) -> Result<bool, Violation> {
        use disembargo::context::Which;
        match disembargo.get_context().which()? {
            Which::SenderLoopback(id) => {
                let road = self.loop_back(disembargo.get_target()?)?;
                // Behind all calls that came before.
                let notice = Notice::Loopback(road, id);
                vat::push(Turn::Notify(Rc::downgrade(self), notice));
            }
            Which::ReceiverLoopback(id) => {
                let key = usize::try_from(id).unwrap_or(usize::MAX);
                let embargo = self.tables.borrow_mut().embargoes.0.try_remove(key);
                let embargo = embargo.ok_or(Violation::NoSuchEmbargo(id))?;
                match embargo.promise.upgrade() {
                    Some(promise) => reference::resolve(&promise, embargo.target),
                    None => vat::discard(embargo.target),
                }
            }
            Which::Accept(()) | Which::Provide(_) => return Ok(true),
        }
        Ok(false)
    }

    /// Where a peer's promise leads back to the peer.
    fn loop_back(&self, target: message_target::Reader<'_>) -> Result<Rc<Node>, Violation> {
        let mut hook = self.target(target)?.hook.add_ref();
        for _ in 0..MAX_HOPS {
            match hook.get_resolved() {
                Some(next) => vat::discard(std::mem::replace(&mut hook, next)),
                None => break,
            }
        }
        let road = Node::of(&*hook).and_then(|node| node.road());
        let leads_back = |road: &Rc<Node>| {
            road.connection()
                .is_some_and(|connection| std::ptr::eq(connection.as_ptr(), self))
        };
        road.filter(leads_back).ok_or(Violation::NotALoop)
    }

    /// Sends a disembargo back to whoever is behind a node.
    pub(super) fn send_back(self: &Rc<Self>, road: &Node, id: u32) {
        let Some(to) = road.wire_target() else {
            return;
        };
        self.tell(|message| {
            let mut disembargo = message.init_disembargo();
            address(&to, disembargo.reborrow().init_target());
            disembargo.init_context().set_receiver_loopback(id);
        });
    }
}
