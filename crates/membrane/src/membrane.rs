//! The handle on one membrane.

use std::rc::Rc;

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp::private::capability::ClientHook;

use crate::boundary::Boundary;
use crate::policy::{Direction, Policy};
use crate::tail::TailCalls;

/// One boundary between an inside and an outside. Clones are handles on the same boundary.
///
/// Dropping the handles revokes nothing: what was wrapped stays good for as long as it is held.
/// Like the capabilities that it guards, a membrane stays on the thread it was made on.
#[derive(Clone)]
pub struct Membrane {
    boundary: Rc<Boundary>,
}

impl Membrane {
    /// Makes a boundary that asks `policy` about each call, either way.
    pub fn new(policy: Rc<dyn Policy>) -> Self {
        Self::with_tail_calls(policy, TailCalls::default())
    }

    /// [`Membrane::new`], where methods that end in a call to somebody else are passed on as that.
    pub fn with_tail_calls(policy: Rc<dyn Policy>, tail_calls: TailCalls) -> Self {
        Self {
            boundary: Boundary::new(policy, tail_calls),
        }
    }

    /// An inside capability as the outside sees it.
    ///
    /// The same capability wrapped twice is the same wrapped capability, for as long as somebody
    /// holds it. What is already wrapped by this membrane is returned as it is; the inside's view of
    /// something outside is unwrapped. After revocation the result is a capability on which every
    /// call fails with the reason.
    pub fn wrap<C: FromClientHook>(&self, inside: C) -> C {
        C::new(self.wrap_hook(inside.into_client_hook()))
    }

    /// [`Membrane::wrap`] for a capability without a type.
    pub fn wrap_hook(&self, inside: Box<dyn ClientHook>) -> Box<dyn ClientHook> {
        self.boundary.carry(inside, Direction::Outward)
    }

    /// Ends every reference that crossed this boundary, for good.
    ///
    /// When this returns, no method body will start on behalf of a call that crossed, queued calls
    /// and calls on unresolved promises included; calls in flight have been dropped at the target
    /// and fail with `reason` at the caller; and the targets themselves have been released. One
    /// method body can outlive it: the one that called `revoke`, which runs to its next await.
    /// What has left this vat in a message is only cancelled: its body may run where it is.
    ///
    /// What the inside holds of its own stays good, except what a call promises that crossed and has not
    /// returned: holding that would keep the call going.
    ///
    /// A request that was made but not sent yet keeps its target until it is sent, which fails, or
    /// dropped. Results that have come but were not read are gone. A second call changes nothing: the
    /// first reason stands.
    pub fn revoke(&self, reason: Error) {
        self.boundary.revoke(reason);
    }

    /// Whether [`Membrane::revoke`] was called.
    pub fn is_revoked(&self) -> bool {
        self.boundary.reason().is_some()
    }

    /// How many distinct capabilities are held through this boundary now, both ways.
    pub fn live_references(&self) -> usize {
        self.boundary.live_references()
    }

    /// How many calls are under way through this boundary now: each until its promise has ended or been
    /// dropped, and its pipeline and its results have been dropped. Waiting for a promise is one too.
    pub fn live_calls(&self) -> usize {
        self.boundary.live_calls()
    }
}
