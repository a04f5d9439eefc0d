//! What may pass: a policy decides on each call, by interface id and method ordinal.
//!
//! A policy sees neither parameters nor targets. It cannot be got round by a cast, because the
//! numbers it sees are those that the call is made with.

use capnp::Error;

/// Decides which calls cross a membrane.
///
/// `check` is asked once for each call, when the call is made, and again for no reason. It runs
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
#[derive(Clone, Debug)]
pub enum Decision {
    /// The call fails with this error. No method body runs, and nothing reaches the target.
    Refuse(Error),
    /// The call goes through.
    Allow,
}

/// The policy of a membrane that only revokes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn check(&self, _call: Call) -> Decision {
        Decision::Allow
    }
}
