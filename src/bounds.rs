//! What one cell may use, as whoever spawns it asks for it: a share of what its parent has left.
//!
//! Most of it is a budget, which the cell shares with all that it spawns. Two bounds are the cell's own, because
//! they use nothing up: how large a message may be, and how many calls it may have under way. No child gets more of
//! these either than its parent has.

use cell::{Allotment, Budget, Exhausted, Limits, Setup};

/// Linear memory of the first cell and of all that it spawns, unless the operator says otherwise: 4 GiB. Sixteen cells of the
/// default size, or some thousands of small ones.
const MEMORY_BYTES: u64 = 4 << 30;

/// Byte streams that are open on behalf of the first cell and of all that it spawns: three for each of some
/// thousand cells.
const STREAMS: u64 = 4096;

/// Generations of cells below the first one: supervisors of supervisors make five or six.
const DEPTH: u32 = 16;

/// Calls that a cell may have under way.
const CALLS: u32 = 1024;

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
    /// The largest message in either direction, in bytes with its framing.
    pub message_bytes: usize,
    /// Calls that it may have under way.
    pub calls: u32,
}

impl Bounds {
    /// Those of a node's first cell, of which the operator has said nothing.
    pub fn of_first_cell() -> Self {
        Self {
            allotment: Allotment {
                memory_bytes: Some(MEMORY_BYTES),
                streams: Some(STREAMS),
                depth: Some(DEPTH),
                ..Allotment::default()
            },
            ..Self::default()
        }
    }

    /// What a cell gets that has no parent.
    pub fn root(&self) -> Bounded {
        let node = Limits::default().message_bytes;
        Bounded {
            budget: Budget::root(&self.allotment),
            message_bytes: self
                .message_bytes
                .map_or(node, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            calls: self.calls.unwrap_or(CALLS),
        }
    }
}

impl Bounded {
    /// Holds a cell that is to be started to them.
    pub fn apply(&self, setup: &mut Setup) {
        setup.limits.message_bytes = self.message_bytes;
    }

    /// What a child of this cell gets that asks for these bounds.
    ///
    /// # Errors
    /// When it asks for more than this cell has left.
    pub fn child(&self, asked: &Bounds) -> Result<Self, Exhausted> {
        let message_bytes = asked.message_bytes.map_or(usize::MAX, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        Ok(Self {
            budget: self.budget.child(&asked.allotment)?,
            message_bytes: self.message_bytes.min(message_bytes),
            calls: self.calls.min(asked.calls.unwrap_or(u32::MAX)),
        })
    }
}
