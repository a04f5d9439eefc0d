//! Who is asked before a guest's files grow.

use crate::budget::Charge;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that a [`Writable`](crate::Writable) may take from somebody, and gives back.
///
/// Both methods are called from any thread, some of them executors, with a lock of the directory held:
/// they neither block nor call back into the directory.
pub trait Quota: Send + Sync + 'static {
    /// Takes this many bytes, all or none of them. False is a refusal, which the guest gets as the
    /// error `quota`.
    fn grow(&self, bytes: u64) -> bool;

    /// Gives bytes back that were taken: never more than that in all.
    fn shrink(&self, bytes: u64);
}

/// A cell's files are held to its budget by `budget.open(Resource::Tmp)`, or `Resource::Var`.
impl Quota for Charge {
    fn grow(&self, bytes: u64) -> bool {
        Charge::grow(self, bytes).is_ok()
    }

    fn shrink(&self, bytes: u64) {
        Charge::shrink(self, bytes);
    }
}

/// A quota that is the same number of bytes for ever.
#[derive(Debug)]
pub struct FixedQuota {
    limit: u64,
    used: AtomicU64,
}

impl FixedQuota {
    /// A quota of `limit` bytes, none of them taken.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
        }
    }

    /// What is taken at the moment, in bytes.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Quota for FixedQuota {
    fn grow(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn shrink(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_quota_gives_up_to_its_limit_and_takes_back() {
        let quota = FixedQuota::new(10);
        assert!(quota.grow(7));
        assert!(!quota.grow(4));
        assert!(!quota.grow(u64::MAX));
        assert!(quota.grow(3));
        quota.shrink(5);
        assert_eq!(quota.used(), 5);
        assert!(quota.grow(5));
    }
}
