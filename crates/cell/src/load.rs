//! From a component's bytes to code that is ready to run.
//!
//! Loading happens on threads of the engine's own, never on the caller's executor: looking up and
//! linking on a few, compiling on fewer, so that a component that compiles for a minute does not hold
//! up one that is in the cache. However many ask for the same component at a time, it is loaded once;
//! callers who give up change nothing about that. When there is more to do than threads to do it,
//! those who asked take turns. What has been loaded stays in memory up to a bound, and on disk up to
//! another. Refused are: what is no component, or too large, or not a command, or wants something that
//! this host does not have, and whatever takes the compiler too long or too much.

mod error;
mod lane;
mod link;
mod turns;

use crate::artifact::Artifact;
use crate::budget::Lineage;
use crate::cache::DiskCache;
use crate::compile::{self, Compiler};
use crate::digest::Digest;
use crate::engine::{Flavor, Flavors};
use crate::host::State;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared;
use lane::Lane;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wasmtime_wasi::p2::bindings::CommandPre;

pub use error::{LoadError, UnknownImport};
pub(crate) use link::{check_header, hint, is_provided};

/// Bounds on loading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadLimits {
    /// The largest component, in bytes. Default 64 MiB: language runtimes compiled to Wasm have some
    /// 30.
    pub max_component_bytes: usize,
    /// Compilations under way at a time. Default 2; each may use several threads.
    pub concurrent_compilations: usize,
    /// How long one compilation may take. Default one minute: a hundred times what is usual.
    pub compile_deadline: Duration,
    /// Address space of one compiler process, in bytes. Default 4 GiB.
    pub compile_memory_bytes: u64,
    /// Machine code kept in memory for components that nobody holds, in bytes. Default 256 MiB.
    pub memory_cache_bytes: u64,
    /// Machine code kept on disk, in bytes. Default 2 GiB.
    pub disk_cache_bytes: u64,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            max_component_bytes: 64 << 20,
            concurrent_compilations: 2,
            compile_deadline: Duration::from_secs(60),
            compile_memory_bytes: 4 << 30,
            memory_cache_bytes: 256 << 20,
            disk_cache_bytes: 2 << 30,
        }
    }
}

/// Look-ups under way at a time. They read, hash and map, which is soon done.
const CONCURRENT_LOOKUPS: usize = 4;

/// Components up to this size, in bytes, are hashed where they are: it takes some tens of
/// microseconds, less than handing them to another thread and back.
const HASH_INLINE_BYTES: usize = 128 << 10;

/// Code that is ready to run, and what it imports.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) pre: CommandPre<State>,
    pub(crate) imports: Arc<[String]>,
    /// What it costs to keep, in bytes.
    bytes: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    digest: Digest,
    metered: bool,
}

type Outcome = Result<Code, LoadError>;
type Flight = Shared<oneshot::Receiver<Outcome>>;

/// Loads components.
pub(crate) struct Loader {
    limits: LoadLimits,
    compiler: Compiler,
    flavors: Arc<Flavors>,
    disk: Option<DiskCache>,
    memory: moka::sync::Cache<Key, Code>,
    /// What is being loaded.
    flights: Mutex<HashMap<Key, Flight>>,
    /// Without a key: a component that is being named.
    lookups: Lane<Option<Key>>,
    compilations: Lane<Key>,
    compiled: AtomicU64,
}

impl Loader {
    pub(crate) fn new(
        limits: LoadLimits,
        compiler: Compiler,
        flavors: Arc<Flavors>,
        disk: Option<DiskCache>,
    ) -> Arc<Self> {
        let memory = moka::sync::Cache::builder()
            .max_capacity(limits.memory_cache_bytes)
            .weigher(|_, code: &Code| code.bytes)
            .build();
        Arc::new(Self {
            lookups: Lane::new("cell-loader", CONCURRENT_LOOKUPS),
            compilations: Lane::new("cell-compile", limits.concurrent_compilations.max(1)),
            limits,
            compiler,
            flavors,
            disk,
            memory,
            flights: Mutex::default(),
            compiled: AtomicU64::new(0),
        })
    }

    /// How many components have been compiled, not counting those that were found in a cache.
    pub(crate) fn compiled(&self) -> u64 {
        self.compiled.load(Ordering::Relaxed)
    }

    /// Checks what can be told at a glance, and names the component.
    pub(crate) async fn digest(&self, whose: &Lineage, wasm: &Bytes) -> Result<Digest, LoadError> {
        link::check_header(wasm)?;
        let limit = self.limits.max_component_bytes;
        if wasm.len() > limit {
            let bytes = wasm.len();
            return Err(LoadError::TooLarge { bytes, limit });
        }
        if wasm.len() <= HASH_INLINE_BYTES {
            return Ok(Digest::of(wasm));
        }
        let (sender, digest) = oneshot::channel();
        let bytes = wasm.clone();
        self.lookups.submit(whose, None, wasm.len(), move || {
            // The caller may have given up.
            let _ = sender.send(Digest::of(&bytes));
        });
        digest.await.map_err(|_| LoadError::Overloaded)
    }

    /// The code of the component `wasm`, whose digest is `digest`, at the turn of `whose`.
    pub(crate) async fn code(
        self: &Arc<Self>,
        whose: &Lineage,
        digest: Digest,
        metered: bool,
        wasm: &Bytes,
    ) -> Outcome {
        let key = Key { digest, metered };
        if let Some(code) = self.memory.get(&key) {
            return Ok(code);
        }
        let (flight, landing) = self.join(key);
        if let Some(landing) = landing {
            let (loader, wasm, by) = (self.clone(), wasm.clone(), whose.clone());
            self.lookups.submit(whose, Some(key), wasm.len(), move || {
                loader.look_up(landing, &by, wasm);
            });
        } else {
            self.lookups.join(&Some(key), whose);
            self.compilations.join(&key, whose);
        }
        flight
            .await
            .unwrap_or_else(|_| Err(LoadError::Compiler("it was given up".to_owned())))
    }

    /// Joins the flight under way for `key`, or starts one, whose landing is then the caller's.
    fn join(self: &Arc<Self>, key: Key) -> (Flight, Option<Landing>) {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key) {
            return (flight.clone(), None);
        }
        let (sender, receiver) = oneshot::channel();
        let flight = receiver.shared();
        flights.insert(key, flight.clone());
        let landing = Landing {
            loader: self.clone(),
            key,
            sender: Some(sender),
        };
        (flight, Some(landing))
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On a thread of its own: from memory or from the disk, or on to the compiler.
    fn look_up(self: &Arc<Self>, landing: Landing, whose: &Lineage, wasm: Bytes) {
        let key = landing.key;
        if let Some(code) = self.memory.get(&key) {
            return landing.land(Ok(code));
        }
        let flavor = match self.flavors.get(key.metered) {
            Ok(flavor) => flavor,
            Err(reason) => return landing.land(Err(LoadError::Compiler(reason))),
        };
        if let Some(disk) = &self.disk
            && let Some(artifact) = disk.get(&key.digest, &flavor.compatibility)
        {
            match link::link(&flavor, &artifact, wasm.len()) {
                // Code of another engine under the name of ours.
                Err(LoadError::Compiler(_)) => disk.remove(&key.digest, &flavor.compatibility),
                outcome => return landing.land(outcome),
            }
        }
        let loader = self.clone();
        self.compilations.submit(whose, key, wasm.len(), move || {
            loader.compile(landing, &flavor, wasm);
        });
    }

    /// On a thread of its own: compiles, keeps and links.
    fn compile(&self, landing: Landing, flavor: &Flavor, wasm: Bytes) {
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let component_bytes = wasm.len();
        compile::compile(
            &self.compiler,
            &flavor.engine,
            flavor.profile,
            wasm,
            &self.limits,
            |artifact: Result<Artifact, LoadError>| {
                let digest = landing.key.digest;
                let outcome = artifact.and_then(|artifact| {
                    let code = link::link(flavor, &artifact, component_bytes)?;
                    if let Some(disk) = &self.disk {
                        disk.put(&digest, &flavor.compatibility, &artifact);
                    }
                    Ok(code)
                });
                landing.land(outcome);
            },
        );
    }
}

/// The duty to say how a flight ended, however it ends.
struct Landing {
    loader: Arc<Loader>,
    key: Key,
    sender: Option<oneshot::Sender<Outcome>>,
}

impl Landing {
    fn land(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    /// In this order: whoever finds no flight finds the code in memory.
    fn finish(&mut self, outcome: Outcome) {
        let Some(sender) = self.sender.take() else {
            return;
        };
        if let Ok(code) = &outcome {
            self.loader.memory.insert(self.key, code.clone());
        }
        self.loader.flights().remove(&self.key);
        // All who asked may have given up.
        let _ = sender.send(outcome);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.finish(Err(if std::thread::panicking() {
            LoadError::Compiler("it panicked".to_owned())
        } else {
            LoadError::Overloaded
        }));
    }
}
