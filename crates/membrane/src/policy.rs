//! What may pass: a policy decides on each call, by interface id and method ordinal.
//!
//! A policy sees neither parameters nor targets. It cannot be got round by a cast, because the
//! numbers it sees are those that the call is made with.

use std::any::Any;
use std::fmt;
use std::rc::Rc;

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp::private::capability::ClientHook;

/// Decides which calls cross a membrane.
///
/// `check` is asked once each time that a call crosses, when the call is made, and again for no reason. It runs
/// on the caller's stack: it should be quick, and must not wait. It may use the membrane,
/// [`revoke`](crate::Membrane::revoke) included.
pub trait Policy {
    /// Decides on one call.
    fn check(&self, call: Call) -> Decision;
}

/// A call that is about to cross a membrane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The type id of the interface that the caller used.
    pub interface_id: u64,
    /// The method's ordinal in that interface.
    pub method_id: u16,
    /// Which way the call goes.
    pub direction: Direction,
}

/// Which way something crosses a membrane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the outside to the inside.
    Inward,
    /// From the inside to the outside.
    Outward,
}

impl Direction {
    pub(crate) fn reverse(self) -> Self {
        match self {
            Self::Inward => Self::Outward,
            Self::Outward => Self::Inward,
        }
    }
}

/// A policy's answer.
///
/// The [`Any`] of an answer that lets a call through lives as long as the call does: it is dropped
/// when the call has returned or failed, when its caller has let go of it, or when the membrane is
/// revoked, and always before the caller sees the results. Its `Drop` is how a policy learns that a
/// call has ended; answers without one allocate nothing.
pub enum Decision {
    /// The call fails with this error. No method body runs, and nothing reaches the target.
    Refuse(Error),
    /// The call goes through.
    Allow,
    /// The call goes through, and keeps this until it has ended.
    AllowWith(Box<dyn Any>),
    /// The call goes to this capability and not to its target.
    ///
    /// The stand-in stands where the target stood: what is passed to it and what it returns crosses
    /// the membrane, and revocation ends calls to it. If it is a reference that this membrane wrapped
    /// for the caller's side, the capability behind it is called. Policies are not asked again.
    Replace(Box<dyn ClientHook>),
    /// Both: the call goes to this capability, and keeps the guard until it has ended.
    ReplaceWith(Box<dyn ClientHook>, Box<dyn Any>),
}

impl Decision {
    /// [`Decision::Replace`] by a client of any type. Nothing checks that it serves the interface that
    /// the call names.
    pub fn replace<C: FromClientHook>(target: C) -> Self {
        Self::Replace(target.into_client_hook())
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(error) => formatter.debug_tuple("Refuse").field(error).finish(),
            Self::Allow => formatter.write_str("Allow"),
            Self::AllowWith(_) => formatter.write_str("AllowWith(..)"),
            Self::Replace(_) => formatter.write_str("Replace(..)"),
            Self::ReplaceWith(..) => formatter.write_str("ReplaceWith(..)"),
        }
    }
}

/// The policy of a membrane that only revokes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn check(&self, _call: Call) -> Decision {
        Decision::Allow
    }
}

impl<P: Policy + ?Sized> Policy for Rc<P> {
    fn check(&self, call: Call) -> Decision {
        (**self).check(call)
    }
}
