//! How many at a time.

use std::cell::Cell;
use std::rc::Rc;

use capnp::Error;

use crate::policy::{Call, Decision, Policy};

/// How the refusal begins when too many calls are under way.
pub const TOO_MANY_CALLS: &str = "tooManyCalls";

/// Refuses calls while as many as it allows are under way.
///
/// A call counts from when it is made until it has returned or failed, until whoever made it has let go
/// of it and of all that was promised by it, or until the membrane is revoked. A capability that was
/// taken from the results of a call before they came keeps the call: it counts until that capability is
/// used after it has resolved, or let go of, unless somebody waits for the call itself.
///
/// A limit of one for both directions makes calls back impossible; see [`OneWay`](super::OneWay).
pub struct ConcurrencyLimit {
    at_most: u32,
    under_way: Rc<Cell<u32>>,
}

impl ConcurrencyLimit {
    /// Lets at most so many calls be under way at a time. 0 refuses all.
    pub fn new(at_most: u32) -> Self {
        Self {
            at_most,
            under_way: Rc::default(),
        }
    }

    /// How many calls are under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.get()
    }
}

impl Policy for ConcurrencyLimit {
    fn check(&self, _call: Call) -> Decision {
        if self.under_way.get() >= self.at_most {
            return Decision::Refuse(Error::overloaded(format!(
                "{TOO_MANY_CALLS}: {} calls are under way, and no more are allowed at a time",
                self.at_most
            )));
        }
        self.under_way.set(self.under_way.get().saturating_add(1));
        Decision::AllowWith(Box::new(Permit(Rc::clone(&self.under_way))))
    }
}

/// One call that is under way.
struct Permit(Rc<Cell<u32>>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
