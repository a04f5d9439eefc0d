//! The two flavours of machine code, and how instances are allocated.
//!
//! Code that counts fuel is different code, so cells with a budget run on an engine of their own.
//! The compiler process must generate code exactly as the engines here load it: everything that
//! bears on that is in [`CodeProfile`], and nothing that does not.

use super::EngineError;
use crate::host::{self, State};
use std::hash::{Hash, Hasher};
use wasmtime::component::Linker;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// Stack of a guest with what it calls in the host, in bytes of address space. Wasm itself may use
/// Wasmtime's default of 512 KiB of it; the rest is the host's, and what a
/// [`Recipient`](crate::Recipient) does has to fit into it.
const STACK_BYTES: usize = 2 << 20;

/// Memory that a slot keeps between two cells instead of giving it back, in bytes. Enough for what a
/// small cell touches; 1 MiB was measured to be slower on every axis, and held 0.9 GB.
const KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// The same for a slot's stack and for a table.
const KEEP_RESIDENT_STACK_BYTES: usize = 16 << 10;
const KEEP_RESIDENT_TABLE_BYTES: usize = 4 << 10;

/// The largest table in a slot, in elements. Address space only; large programs have some 20,000.
const SLOT_TABLE_ELEMENTS: usize = 100_000;

/// Slots for each cell. Toolchains make three to five core instances, one memory and two or three
/// tables; cells that have more of one are made up for by those that have fewer.
const INSTANCES_PER_CELL: u32 = 8;
const TABLES_PER_CELL: u32 = 4;

/// Where address space is short, a memory is allocated as it grows, with this much room ahead.
const SMALL_GROWTH_BYTES: u64 = 1 << 20;
const SMALL_GUARD_BYTES: u64 = 64 << 10;

/// Everything that bears on what machine code is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CodeProfile {
    /// Whether it counts fuel.
    pub(crate) metered: bool,
    /// Whether it keeps DWARF, for source lines in backtraces.
    pub(crate) wasm_debug: bool,
    /// Whether memories may rely on 4 GiB of reserved address space each.
    pub(crate) reserved_memory: bool,
}

impl CodeProfile {
    pub(crate) fn config(self) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .consume_fuel(self.metered)
            .concurrency_support(false)
            // For native debuggers only; registering it costs time at each load.
            .native_unwind_info(false)
            .async_stack_size(STACK_BYTES)
            .async_stack_zeroing(true)
            .memory_init_cow(true)
            .wasm_backtrace_details(if self.wasm_debug {
                WasmBacktraceDetails::Enable
            } else {
                WasmBacktraceDetails::Disable
            });
        if !self.reserved_memory {
            config
                .memory_reservation(0)
                .memory_reservation_for_growth(SMALL_GROWTH_BYTES)
                .memory_guard_size(SMALL_GUARD_BYTES);
        }
        config
    }
}

/// How instances are allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// From slots reserved beforehand, for this many cells at a time.
    Pooling {
        /// How many.
        cells: u32,
    },
    /// One by one, which is slower, because address space is short.
    OnDemand {
        /// What the system said when slots were asked for.
        reason: String,
    },
}

/// An engine with its linker.
pub(crate) struct Flavor {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) linker: Linker<State>,
    pub(crate) profile: CodeProfile,
    /// Tells code for this engine from code for any other.
    pub(crate) compatibility: [u8; blake3::OUT_LEN],
}

impl Flavor {
    /// The flavour for plain or metered code, allocating as `allocation` says.
    pub(crate) fn new(
        metered: bool,
        wasm_debug: bool,
        allocation: &Allocation,
    ) -> wasmtime::Result<Self> {
        let profile = CodeProfile {
            metered,
            wasm_debug,
            reserved_memory: matches!(allocation, Allocation::Pooling { .. }),
        };
        let mut config = profile.config();
        if let Allocation::Pooling { cells } = allocation {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(slots(*cells)));
        }
        let engine = wasmtime::Engine::new(&config)?;
        Ok(Self {
            linker: host::linker(&engine)?,
            compatibility: compatibility(&engine),
            engine,
            profile,
        })
    }

    /// The plain flavour, with as many slots as the system has address space for: all of them, or a
    /// quarter, or none.
    pub(crate) fn probe(wasm_debug: bool, cells: u32) -> Result<(Self, Allocation), EngineError> {
        let mut reason = None;
        for cells in [cells, (cells / 4).max(1)] {
            let pooling = Allocation::Pooling { cells };
            match Flavor::new(false, wasm_debug, &pooling) {
                Ok(flavor) => return Ok((flavor, pooling)),
                Err(error) => reason = Some(format!("{error:#}")),
            }
        }
        let on_demand = Allocation::OnDemand {
            reason: reason.unwrap_or_default(),
        };
        let flavor = Flavor::new(false, wasm_debug, &on_demand)
            .map_err(|error| EngineError::Unsupported(format!("{error:#}")))?;
        Ok((flavor, on_demand))
    }
}

fn slots(cells: u32) -> PoolingAllocationConfig {
    let mut slots = PoolingAllocationConfig::new();
    slots
        .total_component_instances(cells)
        .total_core_instances(cells.saturating_mul(INSTANCES_PER_CELL))
        .total_memories(cells.saturating_add(cells / 4))
        .total_tables(cells.saturating_mul(TABLES_PER_CELL))
        .total_stacks(cells)
        .table_elements(SLOT_TABLE_ELEMENTS)
        .max_tables_per_module(16)
        .max_memories_per_module(4)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_TABLE_BYTES)
        .async_stack_keep_resident(KEEP_RESIDENT_STACK_BYTES);
    slots
}

fn compatibility(engine: &wasmtime::Engine) -> [u8; blake3::OUT_LEN] {
    let mut hasher = Blake3::default();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    *hasher.0.finalize().as_bytes()
}

/// Hashes to the same value in every process, which the standard library does not promise.
#[derive(Default)]
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(hash.as_bytes().split_at(8).0);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_engine_makes_code_for_the_nodes_engine() {
        for wasm_debug in [false, true] {
            for metered in [false, true] {
                let on_demand = Allocation::OnDemand {
                    reason: String::new(),
                };
                for allocation in [Allocation::Pooling { cells: 4 }, on_demand] {
                    let flavor = Flavor::new(metered, wasm_debug, &allocation).unwrap();
                    let compiler = wasmtime::Engine::new(&flavor.profile.config()).unwrap();
                    assert_eq!(compatibility(&compiler), flavor.compatibility);
                }
            }
        }
    }

    #[test]
    fn each_flavour_has_a_code_of_its_own() {
        let flavor = |metered, wasm_debug| {
            Flavor::new(metered, wasm_debug, &Allocation::Pooling { cells: 1 })
                .unwrap()
                .compatibility
        };
        assert_ne!(flavor(false, false), flavor(true, false));
        assert_ne!(flavor(false, false), flavor(false, true));
    }
}
