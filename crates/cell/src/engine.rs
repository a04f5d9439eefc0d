//! The engine: what all cells of a node share.
//!
//! One engine loads components ([`Engine::load`]), keeps their code, allocates their instances and
//! drives the ticks by which guests give way to each other. It has no opinion about what a cell may
//! do: that is [`Setup`](crate::Setup)'s.

mod flavor;
mod ticker;

use crate::budget::{Budget, Lineage};
use crate::cache::{CacheError, DiskCache};
use crate::compile::Compiler;
use crate::load::{LoadError, LoadLimits, Loader};
use crate::program::Program;
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use thiserror::Error;

pub use flavor::Allocation;
pub(crate) use flavor::{CodeProfile, Flavor};
pub(crate) use ticker::Ticker;

/// Settings of an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where machine code is kept between runs: a directory of its own, created with mode 0700 if it
    /// is not there. Default: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Whether backtraces name source files and lines, for components that carry DWARF. Costs time
    /// and memory at each load. Default: no.
    pub wasm_debug: bool,
    /// Cells at a time. Default 4,096.
    pub max_cells: u32,
    /// Where components are compiled. Default: in this process, which is not for strangers' ones.
    pub compiler: Compiler,
    /// Bounds on loading.
    pub load: LoadLimits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            wasm_debug: false,
            max_cells: 4096,
            compiler: Compiler::default(),
            load: LoadLimits::default(),
        }
    }
}

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// This machine cannot run the engine.
    #[error("WebAssembly cannot be run on this machine: {0}")]
    Unsupported(String),
    /// The cache directory is not fit to hold machine code.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The ticker's thread could not be started.
    #[error("could not start a thread: {0}")]
    Thread(std::io::Error),
}

/// What all cells of a node share. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    flavors: Arc<Flavors>,
    loader: Arc<Loader>,
    max_cells: u32,
    live: AtomicU32,
}

impl Engine {
    /// Makes an engine. Where address space is short it allocates differently: see
    /// [`allocation`](Self::allocation).
    ///
    /// # Errors
    /// The machine is not supported, the cache directory is not fit, or no thread can be had.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let max_cells = options.max_cells.max(1);
        let disk = match &options.cache_dir {
            Some(directory) => Some(DiskCache::open(directory, options.load.disk_cache_bytes)?),
            None => None,
        };
        let flavors = Arc::new(Flavors::new(options.wasm_debug, max_cells)?);
        let max_cells = match flavors.allocation {
            Allocation::Pooling { cells } => cells,
            Allocation::OnDemand { .. } => max_cells,
        };
        let loader = Loader::new(options.load, options.compiler, flavors.clone(), disk);
        let inner = Inner {
            flavors,
            loader,
            max_cells,
            live: AtomicU32::new(0),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Loads a component: from memory, from the disk, or by compiling it, once however many ask.
    /// Works on every runtime, and leaves its threads alone. Cancelling it is harmless; a compilation
    /// that has begun goes on and is kept.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(&self, wasm: Bytes) -> Result<Program, LoadError> {
        self.load_at_turn(&Lineage::nobody(), wasm).await
    }

    /// As [`load`](Self::load), on behalf of a cell on this budget. When several want something loaded
    /// they take turns, in the shape of the tree of their budgets: however much one of them, with
    /// all below it, wants loaded, another one waits for one compilation at a time.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load_for(&self, budget: &Budget, wasm: Bytes) -> Result<Program, LoadError> {
        self.load_at_turn(&budget.lineage(), wasm).await
    }

    async fn load_at_turn(&self, whose: &Lineage, wasm: Bytes) -> Result<Program, LoadError> {
        let loader = &self.inner.loader;
        let digest = loader.digest(whose, &wasm).await?;
        let code = loader.code(whose, digest, false, &wasm).await?;
        Ok(Program::new(self.clone(), digest, wasm, code))
    }

    /// How instances are allocated.
    pub fn allocation(&self) -> &Allocation {
        &self.inner.flavors.allocation
    }

    /// Cells that are alive, from their spawning until everything that they held is gone.
    pub fn live_cells(&self) -> u32 {
        self.inner.live.load(Ordering::Relaxed)
    }

    /// How many compilations were begun, which is how often no cache helped.
    pub fn compilations(&self) -> u64 {
        self.inner.loader.compiled()
    }

    pub(crate) fn loader(&self) -> &Arc<Loader> {
        &self.inner.loader
    }

    pub(crate) fn ticker(&self) -> &Arc<Ticker> {
        &self.inner.flavors.ticker
    }

    /// Takes a cell's place, or gives the bound when all are taken.
    pub(crate) fn admit(&self) -> Result<Place, u32> {
        let limit = self.inner.max_cells;
        self.inner
            .live
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |live| {
                (live < limit).then(|| live + 1)
            })
            .map_err(|_| limit)?;
        Ok(Place(self.clone()))
    }
}

/// A live cell's place among [`EngineOptions::max_cells`]; dropping it gives it back.
pub(crate) struct Place(Engine);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inner.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The engines for plain and for metered code; the second one is made when it is first wanted.
pub(crate) struct Flavors {
    plain: Arc<Flavor>,
    metered: OnceLock<Result<Arc<Flavor>, String>>,
    allocation: Allocation,
    ticker: Arc<Ticker>,
}

impl Flavors {
    fn new(wasm_debug: bool, cells: u32) -> Result<Self, EngineError> {
        let ticker = Arc::new(Ticker::start().map_err(EngineError::Thread)?);
        let (plain, allocation) = Flavor::probe(wasm_debug, cells)?;
        ticker.add(plain.engine.clone());
        Ok(Self {
            plain: Arc::new(plain),
            metered: OnceLock::new(),
            allocation,
            ticker,
        })
    }

    /// The flavour for metered code or for plain. May take some milliseconds.
    pub(crate) fn get(&self, metered: bool) -> Result<Arc<Flavor>, String> {
        if !metered {
            return Ok(self.plain.clone());
        }
        self.metered
            .get_or_init(|| {
                let wasm_debug = self.plain.profile.wasm_debug;
                let flavor = Flavor::new(true, wasm_debug, &self.allocation)
                    .map_err(|error| format!("no engine for metered cells: {error:#}"))?;
                self.ticker.add(flavor.engine.clone());
                Ok(Arc::new(flavor))
            })
            .clone()
    }
}
