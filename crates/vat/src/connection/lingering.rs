//! Calls that the peer has finished with, but that have not ended: other calls wait for their results.
//!
//! They are counted with those that it has not finished with, and end with the connection. Otherwise calls
//! that wait for each other in a circle, which a peer can bring about, would outlive it.

use std::rc::{Rc, Weak};

use capnp::Error;

use crate::outcome::Outcome;

#[derive(Default)]
pub(super) struct Lingering(Vec<Weak<Outcome>>);

impl Lingering {
    /// Adds a call, and forgets those that have ended.
    pub(super) fn add(&mut self, call: Weak<Outcome>) {
        self.0.retain(lingers);
        self.0.push(call);
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().filter(|call| lingers(call)).count()
    }

    /// Ends all of them.
    pub(super) fn end(self, reason: &Error) {
        for call in self.0 {
            if let Some(call) = call.upgrade() {
                call.abort(reason);
            }
        }
    }
}

fn lingers(call: &Weak<Outcome>) -> bool {
    call.upgrade()
        .is_some_and(|call: Rc<Outcome>| call.is_wanted())
}
