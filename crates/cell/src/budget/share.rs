//! A share of the processor: a token bucket, kept as the time at which it will be full again.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may be used at once after a rest: long enough that an answer to a message does not wait, and
/// short beside what anybody notices.
const BURST: Duration = Duration::from_millis(10);

/// A share of the processor.
pub(super) struct Share {
    percent: NonZeroU32,
    made: Instant,
    /// When what was used has been earned, in nanoseconds since `made`.
    earned: AtomicU64,
}

impl Share {
    pub(super) fn new(percent: NonZeroU32) -> Self {
        Self {
            percent,
            made: Instant::now(),
            earned: AtomicU64::new(0),
        }
    }

    pub(super) fn percent(&self) -> NonZeroU32 {
        self.percent
    }

    /// Counts a time on a processor.
    pub(super) fn ran(&self, began: Instant, took: Duration) {
        let began = nanos(began.saturating_duration_since(self.made));
        let costs = u128::from(nanos(took)) * 100 / u128::from(self.percent.get());
        let costs = u64::try_from(costs).unwrap_or(u64::MAX);
        self.earned
            .update(Ordering::Relaxed, Ordering::Relaxed, |earned| {
                earned.max(began).saturating_add(costs)
            });
    }

    /// From when on more may be used.
    pub(super) fn free_at(&self) -> Instant {
        let earned = Duration::from_nanos(self.earned.load(Ordering::Relaxed));
        // Further away than the clock can tell is never: so far away that it makes no difference.
        const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
        self.made
            .checked_add(earned.saturating_sub(BURST))
            .unwrap_or_else(|| Instant::now() + NEVER)
    }
}

/// Five hundred years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_earned_at_the_rate_of_the_share() {
        let share = Share::new(NonZeroU32::MIN.saturating_add(9));
        let began = share.made;
        assert_eq!(share.free_at(), share.made);
        share.ran(began, Duration::from_millis(1));
        assert_eq!(share.free_at(), share.made);
        share.ran(began, Duration::from_millis(1));
        assert_eq!(share.free_at(), share.made + Duration::from_millis(10));
        // After a rest there is the burst, and no more than that.
        let later = began + Duration::from_secs(60);
        share.ran(later, Duration::from_millis(3));
        assert_eq!(share.free_at(), later + Duration::from_millis(20));
    }

    #[test]
    fn a_whole_processor_is_never_made_to_wait_and_a_large_time_does_not_overflow() {
        let share = Share::new(NonZeroU32::MIN.saturating_add(99));
        share.ran(share.made, Duration::from_secs(1));
        assert!(share.free_at() <= share.made + Duration::from_secs(1));
        let least = Share::new(NonZeroU32::MIN);
        least.ran(least.made, Duration::MAX);
        least.ran(least.made, Duration::MAX);
        assert!(least.free_at() > Instant::now());
    }
}
