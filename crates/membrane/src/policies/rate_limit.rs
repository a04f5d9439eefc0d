//! How many a second.

use std::cell::Cell;
use std::time::{Duration, Instant};

use capnp::Error;

use super::Clock;
use crate::policy::{Call, Decision, Policy};

/// How the refusal of a call begins that comes too soon.
pub const RATE_LIMITED: &str = "rateLimited";

/// A token bucket: holds at most `burst` tokens, fills by one each `interval`, and each call takes one.
///
/// A call that finds no token is refused; it does not wait, and takes nothing.
pub struct RateLimit {
    clock: Clock,
    burst: u32,
    interval: Duration,
    tokens: Cell<u32>,
    /// When the last token was added, or the bucket was last seen full.
    filled: Cell<Instant>,
}

impl RateLimit {
    /// Lets one call through each `interval`, and up to `burst` at once after a pause. The bucket is full
    /// at first. An interval of zero limits nothing but a burst of 0, which refuses all.
    pub fn new(interval: Duration, burst: u32) -> Self {
        Self::by_clock(interval, burst, Clock::default())
    }

    /// [`RateLimit::new`], by a clock of one's own.
    pub fn by_clock(interval: Duration, burst: u32, clock: Clock) -> Self {
        let filled = Cell::new(clock.now());
        Self {
            clock,
            burst,
            interval,
            tokens: Cell::new(burst),
            filled,
        }
    }

    /// Adds what is due.
    fn fill(&self) {
        let now = self.clock.now();
        let passed = now.saturating_duration_since(self.filled.get());
        let missing = self.burst.saturating_sub(self.tokens.get());
        match passed.as_nanos().checked_div(self.interval.as_nanos()) {
            Some(due) if due < u128::from(missing) => {
                // Less than `missing`, which is a `u32`.
                let due = due as u32;
                self.tokens.set(self.tokens.get().saturating_add(due));
                self.filled
                    .set(self.filled.get() + self.interval.saturating_mul(due));
            }
            _ => {
                self.tokens.set(self.burst);
                self.filled.set(now);
            }
        }
    }
}

impl Policy for RateLimit {
    fn check(&self, _call: Call) -> Decision {
        self.fill();
        match self.tokens.get().checked_sub(1) {
            Some(left) => {
                self.tokens.set(left);
                Decision::Allow
            }
            None => Decision::Refuse(Error::overloaded(format!(
                "{RATE_LIMITED}: one call each {:?} is allowed, and {} at once",
                self.interval, self.burst
            ))),
        }
    }
}
