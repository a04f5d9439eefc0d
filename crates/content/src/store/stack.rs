//! A store of our own before those of others: the first that has a block gives it, and what came from
//! another is kept.
//!
//! The surprising case first: a source is never trusted, so one that lies, fails or is not there costs
//! time and nothing else. It is named in an [`Event`], and the next one is asked; only when nobody gave
//! the block does what went wrong become the answer. "Nobody has it" (`None`) is said only if every
//! source was asked and said so.
//!
//! A source that is not there at all, or does not answer at all, is left alone for some seconds, so that a
//! daemon that is not running costs one refused connection, and not one for each block.
//!
//! Refused: writing to sources. [`put`](BlockStore::put) keeps a block in our own store alone; giving
//! blocks to others is a deed of its own.

mod fetch;

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cid::Cid;

pub use self::fetch::Hook as FetchHook;
use crate::{Block, BlockStore, ContentError};

/// For how long a source that is out of order is left alone. Long enough that a whole run without a daemon
/// pays for a few connections; short enough that a daemon that is started meanwhile is found.
const REST: Duration = Duration::from_secs(5);

/// Somebody else's store, which a [`Stack`] asks for what it does not have.
pub trait Source: BlockStore {
    /// What to call it in messages: its address.
    fn name(&self) -> &str;

    /// All that is below `root`, as a CAR of at most `limit` bytes, **not verified**; `None` if the
    /// source has no such root, or gives no CARs.
    fn car(&self, root: &Cid, limit: u64) -> Result<Option<Box<dyn Read + Send>>, ContentError> {
        let _ = (root, limit);
        Ok(None)
    }
}

/// What a [`Stack`] went through while it answered.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A source gave other bytes than those of the block. They were thrown away.
    Lied {
        /// The source.
        source: &'a str,
        /// The block that was asked for.
        cid: &'a Cid,
    },
    /// A source failed; the next one is asked.
    Failed {
        /// The source.
        source: &'a str,
        /// Why.
        error: &'a ContentError,
    },
    /// A block came from a source, and is what was asked for.
    Came {
        /// The source.
        source: &'a str,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A block came from a source, and our own store could not keep it.
    NotKept {
        /// The block.
        cid: &'a Cid,
        /// Why.
        error: &'a ContentError,
    },
}

/// One store of our own before any number of others'. The first that has a block gives it, verified, and
/// what came from another is kept; one that lies, fails or is not there is named in an [`Event`], and the
/// next is asked.
///
/// A call lasts as long as the sources take one after the other, each within its own deadlines.
pub struct Stack {
    local: Arc<dyn BlockStore>,
    sources: Arc<[Place]>,
    report: Arc<dyn Fn(Event<'_>) + Send + Sync>,
}

/// A source, and until when it is left alone and why.
struct Place {
    source: Arc<dyn Source>,
    resting: Mutex<Option<(Instant, String)>>,
}

impl Stack {
    /// `local` before `sources`, which are asked in this order. What happens on the way is told to
    /// `report`, from whatever thread it happens on.
    pub fn new(
        local: Arc<dyn BlockStore>,
        sources: Vec<Arc<dyn Source>>,
        report: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> Self {
        let place = |source| Place {
            source,
            resting: Mutex::default(),
        };
        Self {
            local,
            sources: sources.into_iter().map(place).collect(),
            report: Arc::new(report),
        }
    }

    /// The same sources behind another store of our own.
    pub fn with_local(&self, local: Arc<dyn BlockStore>) -> Self {
        Self {
            local,
            sources: self.sources.clone(),
            report: self.report.clone(),
        }
    }

    /// The store of our own.
    pub fn local(&self) -> &Arc<dyn BlockStore> {
        &self.local
    }

    /// What the first source gives that has it, verified.
    fn get_remote(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        let mut failures = Vec::new();
        for place in self.sources.iter() {
            match self.ask(place, |source| source.get(cid)) {
                Ok(Some(block)) => {
                    self.came(place, &block);
                    return Ok(Some(block));
                }
                Ok(None) => {}
                Err(why) => failures.push(why),
            }
        }
        none_or(*cid, failures)
    }

    fn came(&self, place: &Place, block: &Block) {
        (self.report)(Event::Came {
            source: place.source.name(),
            bytes: block.bytes().len() as u64,
        });
    }

    /// Asks one source, unless it rests. Failures are reported, and returned as text.
    fn ask<T>(
        &self,
        place: &Place,
        question: impl FnOnce(&dyn Source) -> Result<T, ContentError>,
    ) -> Result<T, String> {
        if let Some(why) = place.resting() {
            return Err(why);
        }
        question(&*place.source).map_err(|error| {
            let source = place.source.name();
            if let ContentError::BlockCorrupt { cid } = &error {
                (self.report)(Event::Lied { source, cid });
                return format!("{source:?} gave other bytes than those of the block");
            }
            (self.report)(Event::Failed {
                source,
                error: &error,
            });
            let why = error.to_string();
            if matches!(&error, ContentError::Remote(error) if error.is_out_of_order()) {
                place.rest(why.clone());
            }
            why
        })
    }
}

impl Place {
    fn resting(&self) -> Option<String> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        match &*resting {
            Some((until, why)) if Instant::now() < *until => Some(why.clone()),
            _ => {
                *resting = None;
                None
            }
        }
    }

    fn rest(&self, why: String) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        *resting = Some((Instant::now() + REST, why));
    }
}

/// "Nobody has it", unless somebody could not say.
fn none_or<T>(cid: Cid, failures: Vec<String>) -> Result<Option<T>, ContentError> {
    if failures.is_empty() {
        return Ok(None);
    }
    Err(ContentError::NoSource {
        cid,
        reasons: failures.join("; ").into(),
    })
}

impl BlockStore for Stack {
    /// Keeps `block` in our own store alone.
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        self.local.put(block)
    }

    /// Errors: [`ContentError::NoSource`] if nobody gave the block and somebody failed, and those of our
    /// own store. A block that our own store could not keep is given all the same.
    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        // A copy that went bad is repaired, if anybody has a good one.
        let bad = match self.local.get(cid) {
            Err(error @ ContentError::BlockCorrupt { .. }) => Some(error),
            Ok(None) => None,
            other => return other,
        };
        let Some(block) = self.get_remote(cid)? else {
            return bad.map_or(Ok(None), Err);
        };
        if let Err(error) = self.local.put(&block) {
            (self.report)(Event::NotKept { cid, error: &error });
        }
        Ok(Some(block))
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        if self.local.has(cid)? {
            return Ok(true);
        }
        let mut failures = Vec::new();
        for place in self.sources.iter() {
            match self.ask(place, |source| source.has(cid)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(why) => failures.push(why),
            }
        }
        Ok(none_or::<()>(*cid, failures)?.is_some())
    }

    fn has_here(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.local.has_here(cid)
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.sources.iter().map(|place| place.source.name());
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
