//! Blocks in memory, for tests: it grows with what it is given and forgets everything when dropped.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cid::Cid;

use crate::block::{DIGEST_BYTES, digest};
use crate::{Block, BlockStore, ContentError};

type Blocks = HashMap<[u8; DIGEST_BYTES], Bytes>;

/// A [`BlockStore`] without a disk, and without a bound.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Blocks>);

impl MemoryStore {
    // Every change is one insertion, so a thread that panicked cannot have left half of one.
    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockStore for MemoryStore {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        let digest = digest(block.cid())?;
        self.blocks().insert(digest, block.bytes().clone());
        Ok(())
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        let bytes = self.blocks().get(&digest(cid)?).cloned();
        bytes.map(|bytes| Block::verified(*cid, bytes)).transpose()
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        Ok(self.blocks().contains_key(&digest(cid)?))
    }
}
