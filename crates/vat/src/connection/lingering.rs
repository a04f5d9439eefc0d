//! Calls that the peer has finished with, but that have not ended: other calls wait for their results.
//!
//! They are counted with those that it has not finished with, and end with the connection. Otherwise calls
//! that wait for each other in a circle, which a peer can bring about, would outlive it.

use std::rc::{Rc, Weak};

use capnp::Error;

use crate::outcome::Outcome;

#[derive(Default)]
pub(super) struct Lingering {
    /// With what each keeps in memory, in bytes.
    calls: Vec<(Weak<Outcome>, usize)>,
    /// What they and those that have ended since keep, in bytes.
    bytes: usize,
    /// How many were left when those that have ended were last forgotten.
    left: usize,
}

/// Calls among which those that have ended are not looked for.
const FEW: usize = 64;

impl Lingering {
    /// Adds a call, and forgets those that have ended whenever there are twice as many as there were.
    pub(super) fn add(&mut self, call: Weak<Outcome>, bytes: usize) {
        if self.calls.len() >= self.left.saturating_mul(2).max(FEW) {
            self.forget();
        }
        self.calls.push((call, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn forget(&mut self) {
        self.calls.retain(lingers);
        self.left = self.calls.len();
        self.bytes = self.calls.iter().map(|(_, bytes)| bytes).sum();
    }

    /// Whether there are so many, counted only if there may be.
    pub(super) fn are(&self, many: usize) -> bool {
        self.calls.len() >= many && self.calls.iter().filter(|call| lingers(call)).count() >= many
    }

    /// What they keep in memory, in bytes; counted only if it may be more than there is room for.
    pub(super) fn bytes(&mut self, room: usize) -> usize {
        if self.bytes > room {
            self.forget();
        }
        self.bytes
    }

    /// Ends all of them.
    pub(super) fn end(self, reason: &Error) {
        for (call, _) in self.calls {
            if let Some(call) = call.upgrade() {
                call.abort(reason);
            }
        }
    }
}

fn lingers((call, _): &(Weak<Outcome>, usize)) -> bool {
    call.upgrade()
        .is_some_and(|call: Rc<Outcome>| call.is_wanted())
}
