//! How many descriptors of the host's a cell has open: all cells of a node share the process's.
//!
//! One is taken before something is opened and given back when the last of what holds it has gone, a
//! stream as well as the descriptor that it was made from. WASI has no error for this; a guest gets
//! `quota`, as for all else that its budget does not give.

use crate::budget::{Budget, Charge, Resource};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

/// Where one cell takes its descriptors from.
pub(crate) struct Descriptors {
    /// What this cell alone may still open.
    own: Arc<Semaphore>,
    budget: Budget,
}

/// One descriptor. Dropped, it is given back.
pub(super) struct Held {
    _own: OwnedSemaphorePermit,
    _charge: Charge,
}

impl Descriptors {
    /// At most `limit` at a time, and no more than the budget gives.
    pub(crate) fn new(limit: usize, budget: &Budget) -> Self {
        Self {
            own: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            budget: budget.clone(),
        }
    }

    /// Takes one, or refuses with `quota`.
    pub(super) fn hold(&self) -> Result<Held, ErrorCode> {
        let own = self.own.clone().try_acquire_owned();
        let charge = self.budget.charge(Resource::Files, 1);
        Ok(Held {
            _own: own.map_err(|_| ErrorCode::Quota)?,
            _charge: charge.map_err(|_| ErrorCode::Quota)?,
        })
    }
}
