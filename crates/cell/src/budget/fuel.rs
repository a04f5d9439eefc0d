//! The ledger: what fuel is left to a budget.
//!
//! A unit of fuel is in one place: in a ledger, or in the tank of a cell that runs. Setting some aside
//! for a child and drawing some for a tank take it out of the ledger first.

use super::{Bound, Exhausted};
use std::sync::atomic::{AtomicU64, Ordering};

/// What fuel is left to a budget.
pub(crate) struct Ledger {
    granted: u64,
    left: AtomicU64,
}

impl Ledger {
    pub(super) fn new(granted: u64) -> Self {
        Self {
            granted,
            left: AtomicU64::new(granted),
        }
    }

    /// What it began with.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// What is in it.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes out up to `wanted`, and says how much that was.
    pub(crate) fn draw(&self, wanted: u64) -> u64 {
        let mut drawn = 0;
        self.left
            .update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                drawn = wanted.min(left);
                left - drawn
            });
        drawn
    }

    /// Puts back what was taken out.
    pub(crate) fn put(&self, amount: u64) {
        self.left.fetch_add(amount, Ordering::Relaxed);
    }

    /// The ledger of a child: what it asked for, or half of what is left.
    pub(super) fn set_aside(&self, asked: Option<u64>) -> Result<Ledger, Exhausted> {
        let amount = |left: u64| asked.unwrap_or(left / 2);
        self.left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                let rest = left.checked_sub(amount(left))?;
                (asked.is_some() || amount(left) > 0).then_some(rest)
            })
            .map(|left| Ledger::new(amount(left)))
            .map_err(|left| Exhausted {
                bound: Bound::Fuel,
                asked: asked.unwrap_or(1),
                left,
                limit: self.granted,
            })
    }
}
