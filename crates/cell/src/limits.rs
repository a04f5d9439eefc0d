//! What one cell may use, and the accounting that holds it to that.
//!
//! Every bound is for the whole cell, not for each of its memories or tables. A refused growth is
//! the guest's to handle (`memory.grow` gives −1); only if it dies of it is that how it ended.

use crate::budget::Charge;
use crate::control::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// What one cell may use, whatever its [`Budget`](crate::Budget) has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All linear memories together, in bytes. Default 256 MiB: room for a language runtime, and
    /// sixteen such cells on a small machine.
    pub memory_bytes: u64,
    /// Elements of all tables together. Default 100,000: compiled programs have some thousands.
    pub table_elements: usize,
    /// Core instances in the component. Default 64: toolchains make three to five.
    pub instances: usize,
    /// Linear memories in the component. Default 4: toolchains make one.
    pub memories: usize,
    /// Tables in the component. Default 16: toolchains make two or three.
    pub tables: usize,
    /// Resources that the guest may hold at a time (streams, pollables, files). Default 4,096.
    pub handles: usize,
    /// Files and directories that the guest may have open at a time, those of its image too; one more is
    /// the error `quota`. Default 256: what some systems give a program, and few enough that two such
    /// cells leave half of the 1,024 that a process commonly may have.
    pub files: usize,
    /// Instructions that the cell may execute in its life, in Wasmtime's units of fuel (about one an
    /// instruction). Never refilled. Default: not counted, which is a little faster.
    pub fuel: Option<u64>,
    /// How long the cell may run, waiting included. Default: as long as it likes.
    pub wall_time: Option<Duration>,
    /// The largest message in either direction, in bytes with its framing. Default 8 MiB.
    pub message_bytes: usize,
    /// Messages to the guest that it has not received yet, in bytes. Default 16 MiB. What it sends is
    /// bounded by its [`Recipient`](crate::Recipient), which gets it at once.
    pub queued_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            instances: 64,
            memories: 4,
            tables: 16,
            handles: 4096,
            files: 256,
            fuel: None,
            wall_time: None,
            message_bytes: 8 << 20,
            queued_bytes: 16 << 20,
        }
    }
}

/// Holds one store to its limits and keeps the cell's usage up to date.
pub(crate) struct Limiter {
    memory_bytes: u64,
    table_elements: usize,
    instances: usize,
    memories: usize,
    tables: usize,
    used_memory: u64,
    used_elements: usize,
    /// What the growth under way added, to be taken back should it fail after all.
    last_memory: u64,
    last_elements: usize,
    /// What is used, taken from the cell's budget. Shared with whoever sees to it that it is given back
    /// only after the store has gone.
    charge: Arc<Charge>,
    shared: Arc<Shared>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, charge: Arc<Charge>, shared: Arc<Shared>) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            instances: limits.instances,
            memories: limits.memories,
            tables: limits.tables,
            used_memory: 0,
            used_elements: 0,
            last_memory: 0,
            last_elements: 0,
            charge,
            shared,
        }
    }

    fn refuse(&self, limit: u64) {
        self.shared.growth_limit.store(limit, Ordering::Relaxed);
        self.shared.growth_refused.store(true, Ordering::Relaxed);
    }

    fn publish(&self) {
        self.shared
            .memory_bytes
            .store(self.used_memory, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.last_memory = 0;
        // The guest's own bound: refusing is what it asked for, not a lack of memory.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        if self.used_memory.saturating_add(more) > self.memory_bytes {
            self.refuse(self.memory_bytes);
            return Ok(false);
        }
        if let Err(exhausted) = self.charge.grow(more) {
            self.refuse(exhausted.limit);
            return Ok(false);
        }
        self.shared.growth_refused.store(false, Ordering::Relaxed);
        self.used_memory += more;
        self.last_memory = more;
        self.publish();
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        let less = std::mem::take(&mut self.last_memory);
        self.used_memory -= less;
        self.charge.shrink(less);
        self.publish();
        self.refuse(self.memory_bytes);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.last_elements = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        if self.used_elements.saturating_add(more) > self.table_elements {
            return Ok(false);
        }
        self.used_elements += more;
        self.last_elements = more;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.used_elements -= std::mem::take(&mut self.last_elements);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
