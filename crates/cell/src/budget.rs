//! What a cell and everything below it may use together.
//!
//! A cell that may spawn is not bounded by its own [`Limits`](crate::Limits): it would only have to
//! spawn often enough. Its [`Budget`] is: budgets form a tree as the cells do, and what a cell uses is
//! taken from its own budget and from each one above it, all or nothing. A child never gets more than
//! its parent has left, and giving a child little does not give the parent more.
//!
//! How a bound holds depends on what it bounds.
//! - What is given back ([`Resource`]: memory, cells, streams, open files, bytes of files) is counted in
//!   every budget up the chain while a [`Charge`] lives. A child's bound sets nothing aside for it: two
//!   children may each be allowed what only one of them will get.
//! - Fuel is used up for good, so a child's is set aside: it leaves the parent's ledger when the
//!   child's budget is made, and what is left of it returns when that budget is dropped.
//! - A share of the processor holds for all below together, and makes them wait.
//! - A deadline is the earliest of those above.
//!
//! Refused is, with an [`Exhausted`] that tells how much was left: to make a budget with more than
//! there is, and to use more.

mod counter;
mod fuel;
mod share;

use counter::{Counters, UNBOUNDED};
use share::Share;
use std::fmt;
use std::iter;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

pub(crate) use fuel::Ledger;

/// Generations of budgets below the first one, at most. Each growth of a memory walks up the chain,
/// so its length is bounded; supervisors of supervisors make five or six.
pub const MAX_GENERATIONS: u32 = 64;

/// What a cell and everything below it may use together. Clones are the same budget; it lives as long
/// as any of them, a cell that runs on it, a child of it, or a charge to it.
#[derive(Clone)]
pub struct Budget {
    node: Arc<Node>,
}

/// The bounds of a [`Budget`]. `Default` sets none of its own: what the parent has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allotment {
    /// Linear memories together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Instructions, in Wasmtime's units of fuel (about one each). Set aside from the parent's. Below
    /// a budget that has fuel every budget has; one that does not ask gets half of what is left.
    pub fuel: Option<u64>,
    /// Time on processors, in percent of one of them, on all threads together.
    pub cpu_share: Option<NonZeroU32>,
    /// How long from now, waiting included. What exceeds the parent's is cut to it.
    pub wall_time: Option<Duration>,
    /// Open streams at a time.
    pub streams: Option<u64>,
    /// Files and directories of the host's that are open at a time.
    pub files: Option<u64>,
    /// Cells below that are alive at a time.
    pub cells: Option<u64>,
    /// Generations of cells below. At most [`MAX_GENERATIONS`] for the first budget.
    pub depth: Option<u32>,
    /// What is kept in temporary files, in bytes.
    pub tmp_bytes: Option<u64>,
    /// What is kept in persistent files, in bytes.
    pub var_bytes: Option<u64>,
    /// Content added to the host's store, in bytes.
    pub content_bytes: Option<u64>,
}

/// What is counted while it is held, and given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// [`Allotment::memory_bytes`].
    Memory,
    /// [`Allotment::streams`].
    Streams,
    /// [`Allotment::files`].
    Files,
    /// [`Allotment::cells`].
    Cells,
    /// [`Allotment::tmp_bytes`].
    Tmp,
    /// [`Allotment::var_bytes`].
    Var,
    /// [`Allotment::content_bytes`].
    Content,
}

impl Resource {
    const ALL: [Resource; 7] = [
        Resource::Memory,
        Resource::Streams,
        Resource::Files,
        Resource::Cells,
        Resource::Tmp,
        Resource::Var,
        Resource::Content,
    ];
}

/// Which bound was too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// On something that is counted.
    Held(Resource),
    /// [`Allotment::fuel`].
    Fuel,
    /// [`Allotment::cpu_share`].
    CpuShare,
    /// [`Allotment::depth`].
    Depth,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Held(Resource::Memory) => "memory",
            Bound::Held(Resource::Streams) => "streams",
            Bound::Held(Resource::Files) => "open files",
            Bound::Held(Resource::Cells) => "cells",
            Bound::Held(Resource::Tmp) => "temporary files",
            Bound::Held(Resource::Var) => "persistent files",
            Bound::Held(Resource::Content) => "content",
            Bound::Fuel => "fuel",
            Bound::CpuShare => "CPU share",
            Bound::Depth => "depth",
        })
    }
}

impl Bound {
    fn unit(self) -> &'static str {
        match self {
            Bound::Held(Resource::Memory | Resource::Tmp | Resource::Var | Resource::Content) => {
                "bytes"
            }
            Bound::Held(Resource::Streams) => "streams",
            Bound::Held(Resource::Files) => "files",
            Bound::Held(Resource::Cells) => "cells",
            Bound::Fuel => "units",
            Bound::CpuShare => "percent",
            Bound::Depth => "generations",
        }
    }
}

/// How the text of every [`Exhausted`] begins, for those who see nothing but the text.
pub const LIMIT_PREFIX: &str = "limit: ";

/// More was asked for than is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{LIMIT_PREFIX}{bound}: {asked} {} were asked for, {left} are left to this cell",
    bound.unit()
)]
pub struct Exhausted {
    /// Of what.
    pub bound: Bound,
    /// What was asked for.
    pub asked: u64,
    /// What was left.
    pub left: u64,
    /// The bound that was met, which may be one of a budget further up.
    pub limit: u64,
}

/// What is used of a budget, by all cells on it and below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Linear memories together, in bytes.
    pub memory_bytes: u64,
    /// The most that `memory_bytes` has been.
    pub peak_memory_bytes: u64,
    /// Cells below that are alive.
    pub cells: u64,
    /// Open streams.
    pub streams: u64,
    /// Open files and directories of the host's.
    pub files: u64,
    /// Bytes in temporary files.
    pub tmp_bytes: u64,
    /// Bytes in persistent files.
    pub var_bytes: u64,
    /// Bytes of content that were added.
    pub content_bytes: u64,
    /// Fuel that is left, without what was set aside for budgets below. `None`: it is not counted.
    pub fuel_left: Option<u64>,
}

/// When a cell is out of time, and which bound says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}

impl Deadline {
    /// From now on. `None` when it is further away than the clock can tell.
    pub(crate) fn after(limit: Duration) -> Option<Self> {
        let at = Instant::now().checked_add(limit)?;
        Some(Self { at, limit })
    }
}

/// Where a budget is in its tree: the first one, then each one down to it, then itself, so that no
/// lineage is the beginning of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage(Arc<[u64]>);

impl Lineage {
    /// Of those who have no budget.
    pub(crate) fn nobody() -> Self {
        Self(Arc::new([0]))
    }

    pub(crate) fn ids(&self) -> &[u64] {
        &self.0
    }
}

/// A number that no other budget has, and neither has nobody. Even, so that the one after it is free.
fn new_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(2);
    NEXT.fetch_add(2, Ordering::Relaxed)
}

struct Node {
    id: u64,
    parent: Option<Budget>,
    /// Held by whoever charges anything in the whole tree, so that a charge that will be refused
    /// further up never shows, and never makes another one fail. Giving back goes without.
    charging: Arc<Mutex<()>>,
    held: Counters,
    ledger: Option<Ledger>,
    share: Option<Share>,
    /// Whether there is a share here or further up.
    throttled: bool,
    deadline: Option<Deadline>,
    /// Generations that may follow.
    depth: u32,
}

impl Drop for Node {
    fn drop(&mut self) {
        let above = self.parent.as_ref().and_then(|parent| parent.ledger());
        if let (Some(ledger), Some(above)) = (&self.ledger, above) {
            above.put(ledger.left());
        }
    }
}

/// `Default` is a budget without bounds, under no other.
impl Default for Budget {
    fn default() -> Self {
        Self::root(&Allotment::default())
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Budget").field(&self.used()).finish()
    }
}

impl Budget {
    /// The first budget of a tree.
    pub fn root(allotment: &Allotment) -> Self {
        let node = Node {
            id: new_id(),
            parent: None,
            charging: Arc::default(),
            held: Counters::new(allotment),
            ledger: allotment.fuel.map(Ledger::new),
            share: allotment.cpu_share.map(Share::new),
            throttled: allotment.cpu_share.is_some(),
            deadline: allotment.wall_time.and_then(Deadline::after),
            depth: allotment
                .depth
                .map_or(MAX_GENERATIONS, |depth| depth.min(MAX_GENERATIONS)),
        };
        Self {
            node: Arc::new(node),
        }
    }

    /// A budget for a child cell, within this one.
    ///
    /// # Errors
    /// More is asked for than is left here, there is no fuel left to set aside, or no further
    /// generation is allowed. The parent keeps what it has.
    pub fn child(&self, asked: &Allotment) -> Result<Budget, Exhausted> {
        let node = &*self.node;
        let depth = self.depth_of_child(asked)?;
        for resource in Resource::ALL {
            if let Some(asked) = asked.held(resource) {
                self.check(resource, asked)?;
            }
        }
        if let (Some(asked), Some(share)) = (asked.cpu_share, self.least_share())
            && asked > share
        {
            return Err(Exhausted {
                bound: Bound::CpuShare,
                asked: asked.get().into(),
                left: share.get().into(),
                limit: share.get().into(),
            });
        }
        // The last one, because it takes something away.
        let ledger = match (self.ledger(), asked.fuel) {
            (Some(above), fuel) => Some(above.set_aside(fuel)?),
            (None, Some(fuel)) => Some(Ledger::new(fuel)),
            (None, None) => None,
        };
        let own = asked.wall_time.and_then(Deadline::after);
        let node = Node {
            id: new_id(),
            parent: Some(self.clone()),
            charging: node.charging.clone(),
            held: Counters::new(asked),
            ledger,
            share: asked.cpu_share.map(Share::new),
            throttled: node.throttled || asked.cpu_share.is_some(),
            deadline: own.into_iter().chain(node.deadline).min_by_key(|d| d.at),
            depth,
        };
        Ok(Self {
            node: Arc::new(node),
        })
    }

    /// Takes `amount` of this budget and of each one above it, until the result is dropped.
    ///
    /// # Errors
    /// It is more than one of them has left. Nothing is taken then.
    pub fn charge(&self, resource: Resource, amount: u64) -> Result<Charge, Exhausted> {
        let charge = self.open(resource);
        charge.grow(amount)?;
        Ok(charge)
    }

    /// A charge of nothing yet, to be grown.
    pub fn open(&self, resource: Resource) -> Charge {
        Charge {
            budget: self.clone(),
            resource,
            amount: AtomicU64::new(0),
        }
    }

    /// What could be charged now: `None` when nothing bounds it.
    pub fn left(&self, resource: Resource) -> Option<u64> {
        let (left, limit) = self.tightest(resource);
        (limit != UNBOUNDED).then_some(left)
    }

    /// What is used of it.
    pub fn used(&self) -> Used {
        let held = &self.node.held;
        Used {
            memory_bytes: held.of(Resource::Memory).used(),
            peak_memory_bytes: held.of(Resource::Memory).peak(),
            cells: held.of(Resource::Cells).used(),
            streams: held.of(Resource::Streams).used(),
            files: held.of(Resource::Files).used(),
            tmp_bytes: held.of(Resource::Tmp).used(),
            var_bytes: held.of(Resource::Var).used(),
            content_bytes: held.of(Resource::Content).used(),
            fuel_left: self.ledger().map(Ledger::left),
        }
    }

    pub(crate) fn parent(&self) -> Option<&Budget> {
        self.node.parent.as_ref()
    }

    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.node.ledger.as_ref()
    }

    pub(crate) fn lineage(&self) -> Lineage {
        let mut ids: Vec<_> = self.chain().map(|node| node.id).collect();
        ids.reverse();
        ids.push(self.node.id + 1);
        Lineage(ids.into())
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.node.deadline
    }

    /// Until when the cells on this budget have to wait, because they or others used the processor.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        if !self.node.throttled {
            return None;
        }
        let latest = self.shares().map(Share::free_at).max()?;
        (latest > Instant::now()).then_some(latest)
    }

    /// Counts a time on a processor that began at `began`.
    pub(crate) fn ran(&self, began: Instant, took: Duration) {
        if self.node.throttled {
            for share in self.shares() {
                share.ran(began, took);
            }
        }
    }

    fn shares(&self) -> impl Iterator<Item = &Share> {
        self.chain().filter_map(|node| node.share.as_ref())
    }

    fn least_share(&self) -> Option<NonZeroU32> {
        self.shares().map(Share::percent).min()
    }

    /// This budget and those above it.
    fn chain(&self) -> impl Iterator<Item = &Node> {
        iter::successors(Some(&*self.node), |node| {
            node.parent.as_ref().map(|parent| &*parent.node)
        })
    }

    fn depth_of_child(&self, asked: &Allotment) -> Result<u32, Exhausted> {
        let refused = |asked: u32, left: u32| Exhausted {
            bound: Bound::Depth,
            asked: asked.into(),
            left: left.into(),
            limit: self.node.depth.into(),
        };
        let left = self
            .node
            .depth
            .checked_sub(1)
            .ok_or_else(|| refused(1, 0))?;
        match asked.depth {
            Some(depth) if depth > left => Err(refused(depth, left)),
            Some(depth) => Ok(depth),
            None => Ok(left),
        }
    }

    /// What the budget with the least left has left, and its bound.
    fn tightest(&self, resource: Resource) -> (u64, u64) {
        self.chain()
            .map(|node| node.held.of(resource).left())
            .min_by_key(|(left, _)| *left)
            .unwrap_or((UNBOUNDED, UNBOUNDED))
    }

    fn check(&self, resource: Resource, asked: u64) -> Result<(), Exhausted> {
        let (left, limit) = self.tightest(resource);
        if asked <= left {
            return Ok(());
        }
        Err(Exhausted {
            bound: Bound::Held(resource),
            asked,
            left,
            limit,
        })
    }

    fn take(&self, resource: Resource, amount: u64) -> Result<(), Exhausted> {
        let _charging = self
            .node
            .charging
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.check(resource, amount)?;
        for node in self.chain() {
            node.held.of(resource).add(amount);
        }
        Ok(())
    }

    fn give_back(&self, resource: Resource, amount: u64) {
        for node in self.chain() {
            node.held.of(resource).subtract(amount);
        }
    }
}

/// Something that was taken of a budget and of those above it; dropping it gives it back.
pub struct Charge {
    budget: Budget,
    resource: Resource,
    amount: AtomicU64,
}

impl Charge {
    /// How much is taken.
    pub fn amount(&self) -> u64 {
        self.amount.load(Ordering::Relaxed)
    }

    /// Takes `more`.
    ///
    /// # Errors
    /// As with [`Budget::charge`]; what was taken before stays taken.
    pub fn grow(&self, more: u64) -> Result<(), Exhausted> {
        self.budget.take(self.resource, more)?;
        self.amount.fetch_add(more, Ordering::Relaxed);
        Ok(())
    }

    /// What is taken stays taken of every budget that it was taken of, for as long as that budget lives: it was used up.
    pub fn spend(&self) {
        self.amount.store(0, Ordering::Relaxed);
    }

    /// Gives back `less`, or all if that is less.
    pub fn shrink(&self, less: u64) {
        let mut given = 0;
        self.amount
            .update(Ordering::Relaxed, Ordering::Relaxed, |amount| {
                given = less.min(amount);
                amount - given
            });
        self.budget.give_back(self.resource, given);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.resource, self.amount());
    }
}

impl Allotment {
    fn held(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Memory => self.memory_bytes,
            Resource::Streams => self.streams,
            Resource::Files => self.files,
            Resource::Cells => self.cells,
            Resource::Tmp => self.tmp_bytes,
            Resource::Var => self.var_bytes,
            Resource::Content => self.content_bytes,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
