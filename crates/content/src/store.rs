//! Where blocks are kept: on this machine, and with others.
//!
//! A store knows a block by its sha2-256 digest alone, so CIDv0 and CIDv1 of the same bytes find the same
//! block. It takes only a [`Block`], which hashes to its name by construction, and gives only a `Block`,
//! which means that it hashed what it read. A block that is not there is an answer (`None`), not an error,
//! so that stores can be asked one after the other.
//!
//! [`EmbeddedStore`] and [`MemoryStore`] are here; [`KuboStore`] and [`GatewayStore`] are a server's, which
//! is as little believed as a disk; [`Stack`] asks one of ours first and then those of others.
//!
//! Not here: throwing anything away.

mod embedded;
mod gateway;
mod kubo;
mod memory;
mod stack;

use cid::Cid;

pub use embedded::{EmbeddedStore, Writing};
pub(crate) use embedded::{Lock, exclusive};
pub use gateway::GatewayStore;
pub use kubo::KuboStore;
pub use memory::MemoryStore;
pub use stack::{Event, FetchHook, Source, Stack};

use crate::{Block, Codec, ContentError};

/// Keeps blocks. Calls may block on the disk or on the network; any number of threads may call at once.
pub trait BlockStore: Send + Sync {
    /// Keeps `block`. Putting one again is no error, and repairs a copy that had gone bad.
    fn put(&self, block: &Block) -> Result<(), ContentError>;

    /// The block named `cid`, verified, or `None`. Errors: [`ContentError::BlockCorrupt`] if what is
    /// kept under the name no longer hashes to it, and refusals of hash and codec.
    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError>;

    /// Whether something is kept under `cid`'s hash; it is not read, so it may turn out corrupt.
    fn has(&self, cid: &Cid) -> Result<bool, ContentError>;

    /// As [`BlockStore::has`], where no other place is asked that blocks could be got from. Default: there is
    /// no other place.
    fn has_here(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.has(cid)
    }
}

/// Refuses names that what comes under them could not be checked against, before anybody is asked.
fn check_name(cid: &Cid) -> Result<(), ContentError> {
    crate::block::digest(cid)?;
    Codec::of(cid)?;
    Ok(())
}

/// As [`BlockStore::get`], for callers that cannot go on without: `None` is
/// [`ContentError::BlockMissing`].
pub(crate) fn need(store: &dyn BlockStore, cid: &Cid) -> Result<Block, ContentError> {
    store
        .get(cid)?
        .ok_or(ContentError::BlockMissing { cid: *cid })
}
