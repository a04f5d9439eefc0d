//! Good for one epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use capnp::Error;

use crate::policy::{Call, Decision, Policy};

/// How the refusal of a call begins that comes too late for its epoch.
pub const STALE_EPOCH: &str = "staleEpoch";

/// The current epoch, shared by those who move it on and those who look at it, on any thread.
#[derive(Clone, Debug, Default)]
pub struct CurrentEpoch(Arc<AtomicU64>);

impl CurrentEpoch {
    /// An epoch to begin with.
    pub fn new(epoch: u64) -> Self {
        Self(Arc::new(AtomicU64::new(epoch)))
    }

    /// The epoch now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Moves on to `epoch`. Epochs never go back: an earlier one changes nothing.
    pub fn advance_to(&self, epoch: u64) {
        self.0.fetch_max(epoch, Ordering::AcqRel);
    }
}

/// Refuses all calls, either way, once the current epoch is not its own.
///
/// What is under way goes on: revoke the membrane to end it. This is for the time until somebody has got
/// round to that, and for threads that nobody tells.
pub struct EpochGuard {
    epoch: u64,
    current: CurrentEpoch,
}

impl EpochGuard {
    /// Allows calls as long as `current` is the epoch that it is now.
    pub fn new(current: &CurrentEpoch) -> Self {
        Self::of(current.get(), current)
    }

    /// Allows calls as long as `current` is not past `epoch`, in which something was granted.
    pub fn of(epoch: u64, current: &CurrentEpoch) -> Self {
        Self {
            epoch,
            current: current.clone(),
        }
    }

    /// The epoch that it is for.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Policy for EpochGuard {
    fn check(&self, _call: Call) -> Decision {
        let current = self.current.get();
        if current <= self.epoch {
            return Decision::Allow;
        }
        Decision::Refuse(Error::disconnected(format!(
            "{STALE_EPOCH}: this reference was granted in epoch {}, and it is epoch {current}",
            self.epoch
        )))
    }
}
