//! What one cell may use, as whoever spawns it asks for it: a share of what its parent has left.
//!
//! Most of it is a budget, which the cell shares with all that it spawns. Two bounds are the cell's own, because
//! they use nothing up: how large a message may be, and how many calls it may have under way. No child gets more of
//! these either than its parent has.

use crate::descriptors;
use cell::{Allotment, Budget, Exhausted, Limits, Setup};

/// Linear memory of the first cell and of all that it spawns, unless the operator says otherwise: 4 GiB. Sixteen cells of the
/// default size, or some thousands of small ones.
const MEMORY_BYTES: u64 = 4 << 30;

/// Byte streams that are open on behalf of the first cell and of all that it spawns: three for each of some
/// thousand cells.
const STREAMS: u64 = 4096;

/// Generations of cells below the first one: supervisors of supervisors make five or six.
const DEPTH: u32 = 16;

/// What the first cell and all that it spawns may keep under /tmp: 256 MiB.
const TMP_BYTES: u64 = 256 << 20;

/// What an environment may keep under /var: 1 GiB.
const VAR_BYTES: u64 = 1 << 30;

/// What the first cell and all that it spawns may add to the node's store, or fetch into it: 1 GiB. It stays there, for
/// all cells, until it is not pinned and somebody collects the garbage.
const CONTENT_BYTES: u64 = 1 << 30;

/// Calls that a cell may have under way.
const CALLS: u32 = 1024;

/// The largest message, in bytes with its framing: 8 MiB. What is larger is a stream's.
const MESSAGE_BYTES: usize = 8 << 20;

/// Messages of the largest size that may wait for a cell.
const QUEUED_MESSAGES: usize = 2;

/// What is asked for. `None` is what the parent has left, up to the node's default for one cell.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// What the cell shares with all that it spawns.
    pub allotment: Allotment,
    /// The largest message in either direction, in bytes with its framing.
    pub message_bytes: Option<u64>,
    /// Calls that it may have under way.
    pub calls: Option<u32>,
}

/// What a running cell may use.
#[derive(Clone)]
pub struct Bounded {
    /// Shared with all that it spawns.
    pub budget: Budget,
    /// Linear memory of the cell alone, in bytes.
    pub own_memory_bytes: u64,
    /// The largest message in either direction, in bytes with its framing.
    pub message_bytes: usize,
    /// Calls that it may have under way.
    pub calls: u32,
}

impl Bounds {
    /// What a cell gets that has no parent: what is said here, and the node's own bounds for the rest.
    pub fn root(&self) -> Bounded {
        let mut allotment = self.allotment.clone();
        allotment.memory_bytes.get_or_insert(MEMORY_BYTES);
        allotment.streams.get_or_insert(STREAMS);
        allotment.files.get_or_insert_with(descriptors::for_cells);
        allotment.depth.get_or_insert(DEPTH);
        allotment.tmp_bytes.get_or_insert(TMP_BYTES);
        allotment.var_bytes.get_or_insert(VAR_BYTES);
        allotment.content_bytes.get_or_insert(CONTENT_BYTES);
        Bounded {
            budget: Budget::root(&allotment),
            own_memory_bytes: self.own_memory_bytes(),
            message_bytes: self.message_bytes.map_or(MESSAGE_BYTES, length),
            calls: self.calls.unwrap_or(CALLS),
        }
    }

    /// A cell may use all that it asked for by itself; one that did not ask, what is usual.
    fn own_memory_bytes(&self) -> u64 {
        let usual = Limits::default().memory_bytes;
        self.allotment.memory_bytes.unwrap_or(usual)
    }
}

impl Bounded {
    /// What a child of this cell gets that asks for these bounds.
    ///
    /// # Errors
    /// When it asks for more than this cell has left.
    pub fn child(&self, asked: &Bounds) -> Result<Self, Exhausted> {
        Ok(Self {
            budget: self.budget.child(&asked.allotment)?,
            own_memory_bytes: asked.own_memory_bytes(),
            message_bytes: self
                .message_bytes
                .min(asked.message_bytes.map_or(usize::MAX, length)),
            calls: self.calls.min(asked.calls.unwrap_or(u32::MAX)),
        })
    }

    /// Holds a cell that is to be started to them.
    pub fn apply(&self, setup: &mut Setup) {
        setup.budget = self.budget.clone();
        setup.limits.memory_bytes = self.own_memory_bytes;
        setup.limits.message_bytes = self.message_bytes;
        setup.limits.queued_bytes = self.message_bytes.saturating_mul(QUEUED_MESSAGES);
    }
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn memory(bytes: u64) -> Bounds {
        Bounds {
            allotment: Allotment {
                memory_bytes: Some(bytes),
                ..Allotment::default()
            },
            ..Bounds::default()
        }
    }

    #[test]
    fn a_child_gets_no_more_than_its_parent_has() {
        let parent = Bounds {
            message_bytes: Some(1000),
            calls: Some(5),
            ..memory(1 << 20)
        };
        let parent = parent.root();
        let asked = Bounds {
            message_bytes: Some(2000),
            calls: Some(2),
            ..Bounds::default()
        };
        let child = parent.child(&asked).unwrap();
        assert_eq!((child.message_bytes, child.calls), (1000, 2));
        let refused = parent.child(&memory(2 << 20)).err().unwrap();
        assert!(
            refused.to_string().starts_with("limit: memory: "),
            "{refused}"
        );
    }

    #[test]
    fn a_first_cell_is_bounded_whatever_is_said() {
        let bounded = Bounds::default().root();
        let mut setup = Setup::default();
        bounded.apply(&mut setup);
        assert_eq!(setup.limits.memory_bytes, Limits::default().memory_bytes);
        assert_eq!(
            bounded.budget.left(cell::Resource::Memory),
            Some(MEMORY_BYTES)
        );
        assert_eq!(bounded.budget.left(cell::Resource::Streams), Some(STREAMS));
        let files = bounded.budget.left(cell::Resource::Files);
        assert_eq!(files, Some(descriptors::for_cells()));
    }
}
