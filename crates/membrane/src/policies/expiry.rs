//! Good until a moment.

use std::time::{Duration, Instant};

use capnp::Error;

use super::Clock;
use crate::policy::{Call, Decision, Policy};

/// How the refusal of a call begins that comes too late.
pub const EXPIRED: &str = "expired";

/// Refuses all calls, either way, from a moment on. Calls that are under way then go on.
pub struct Expiry {
    clock: Clock,
    /// `None` is a moment that does not come.
    end: Option<Instant>,
    lifetime: Duration,
}

impl Expiry {
    /// Allows calls for so long from now. What is longer than the clock can count is for ever.
    pub fn after(lifetime: Duration) -> Self {
        Self::by_clock(lifetime, Clock::default())
    }

    /// [`Expiry::after`], by a clock of one's own.
    pub fn by_clock(lifetime: Duration, clock: Clock) -> Self {
        let end = clock.now().checked_add(lifetime);
        Self {
            clock,
            end,
            lifetime,
        }
    }
}

impl Policy for Expiry {
    fn check(&self, _call: Call) -> Decision {
        if self.end.is_none_or(|end| self.clock.now() < end) {
            return Decision::Allow;
        }
        Decision::Refuse(Error::disconnected(format!(
            "{EXPIRED}: this reference was good for {:?}",
            self.lifetime
        )))
    }
}
