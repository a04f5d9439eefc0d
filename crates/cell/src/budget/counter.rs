//! What one budget counts: how much of each resource is held, and how much may be.

use super::{Allotment, Resource};
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter for each [`Resource`].
pub(super) struct Counters {
    memory: Counter,
    streams: Counter,
    files: Counter,
    cells: Counter,
    tmp: Counter,
    var: Counter,
    content: Counter,
}

impl Counters {
    pub(super) fn new(allotment: &Allotment) -> Self {
        let counter = |resource| Counter::new(allotment.held(resource));
        Self {
            memory: counter(Resource::Memory),
            streams: counter(Resource::Streams),
            files: counter(Resource::Files),
            cells: counter(Resource::Cells),
            tmp: counter(Resource::Tmp),
            var: counter(Resource::Var),
            content: counter(Resource::Content),
        }
    }

    pub(super) fn of(&self, resource: Resource) -> &Counter {
        match resource {
            Resource::Memory => &self.memory,
            Resource::Streams => &self.streams,
            Resource::Files => &self.files,
            Resource::Cells => &self.cells,
            Resource::Tmp => &self.tmp,
            Resource::Var => &self.var,
            Resource::Content => &self.content,
        }
    }
}

/// Stands for no bound. Being one, it keeps a count from wrapping.
pub(super) const UNBOUNDED: u64 = u64::MAX;

/// How much is held. Only grows under the tree's lock.
pub(super) struct Counter {
    used: AtomicU64,
    peak: AtomicU64,
    limit: u64,
}

impl Counter {
    fn new(limit: Option<u64>) -> Self {
        Self {
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            limit: limit.unwrap_or(UNBOUNDED),
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most that was ever held at a time.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// What is left, and the bound.
    pub(super) fn left(&self) -> (u64, u64) {
        (self.limit.saturating_sub(self.used()), self.limit)
    }

    pub(super) fn add(&self, amount: u64) {
        let used = self.used.fetch_add(amount, Ordering::Relaxed) + amount;
        self.peak.fetch_max(used, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}
