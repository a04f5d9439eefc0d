//! A store that counts what is added to it.
//!
//! The store is everybody's, and nothing bounds it but the disk. So what one holder adds, or lets be fetched, is used up
//! of its budget and of those above, for as long as these live: the blocks stay when the holder has gone, and whoever
//! could start holders one after the other could fill the disk. What was there already costs nothing.

use std::sync::Arc;

use cell::{Budget, Charge, Resource};
use content::{Block, BlockStore, Cid, ContentError};

/// What a block takes beside its bytes: the inode and its name, and the rest of its last sector.
const OVERHEAD_BYTES: u64 = 4096;

/// What one holder has added. Dropping it gives nothing back.
pub struct Added(Charge);

impl Added {
    /// Nothing yet, to be taken of this budget.
    pub fn new(budget: &Budget) -> Self {
        Self(budget.open(Resource::Content))
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        self.0.spend();
    }
}

/// A store whose new blocks are charged to somebody.
pub struct Metered {
    inner: Arc<dyn BlockStore>,
    added: Arc<Added>,
}

impl Metered {
    /// Charges what is new in `inner`.
    pub fn new(inner: Arc<dyn BlockStore>, added: Arc<Added>) -> Self {
        Self { inner, added }
    }
}

impl BlockStore for Metered {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        if !self.inner.has(block.cid())? {
            let bytes = (block.bytes().len() as u64).saturating_add(OVERHEAD_BYTES);
            let grown = self.added.0.grow(bytes);
            grown.map_err(|exhausted| ContentError::Full {
                why: exhausted.to_string(),
            })?;
        }
        self.inner.put(block)
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        self.inner.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.inner.has(cid)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cell::Allotment;
    use content::{Codec, MemoryStore};

    use super::*;

    fn block(fill: u8, bytes: usize) -> Block {
        Block::new(Codec::Raw, vec![fill; bytes]).unwrap()
    }

    #[test]
    fn what_is_new_counts_until_there_is_no_more_room_and_what_was_there_is_free() {
        let budget = Budget::root(&Allotment {
            content_bytes: Some(3 * OVERHEAD_BYTES),
            ..Allotment::default()
        });
        let inner = Arc::new(MemoryStore::default());
        let there = block(0, 1000);
        inner.put(&there).unwrap();
        let added = Arc::new(Added::new(&budget));
        let store = Metered::new(inner.clone(), added.clone());
        store.put(&there).unwrap();
        assert_eq!(budget.used().content_bytes, 0);
        store.put(&block(1, 1000)).unwrap();
        store.put(&block(1, 1000)).unwrap();
        assert_eq!(budget.used().content_bytes, 1000 + OVERHEAD_BYTES);
        let large = block(2, 4 * OVERHEAD_BYTES as usize);
        let refused = store.put(&large).unwrap_err().to_string();
        assert!(refused.starts_with("limit: content: "), "{refused}");
        assert!(!inner.has(large.cid()).unwrap());
        assert_eq!(budget.used().content_bytes, 1000 + OVERHEAD_BYTES);
        drop((store, added));
        let stays = 1000 + OVERHEAD_BYTES;
        assert_eq!(budget.used().content_bytes, stays);
    }
}
