//! A policy for one direction.

use std::rc::Rc;

use crate::policy::{Call, Decision, Direction, Policy};

/// Asks another policy about calls in one direction, and allows those in the other.
pub struct OneWay {
    direction: Direction,
    policy: Rc<dyn Policy>,
}

impl OneWay {
    /// Asks `policy` about calls in `direction` only.
    pub fn new(direction: Direction, policy: Rc<dyn Policy>) -> Self {
        Self { direction, policy }
    }
}

impl Policy for OneWay {
    fn check(&self, call: Call) -> Decision {
        if call.direction == self.direction {
            self.policy.check(call)
        } else {
            Decision::Allow
        }
    }
}
