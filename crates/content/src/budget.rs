//! What one call may read before the content counts as hostile: a few blocks that point at each other can
//! unfold to more work than anybody has time for, so every walk over blocks counts what it reads.

use cid::Cid;

use crate::store::need;
use crate::unixfs::UnixFs;
use crate::{BlockStore, ContentError};

/// The most blocks that one call reads, a shared one counted each time. The largest tree that is allowed
/// takes about 140,000 in chunks of 256 KiB, and under this even in chunks of 8 KiB.
pub const MAX_BLOCKS: u64 = 1 << 20;

/// The most bytes of directories and of the insides of files that one call reads, everything but the
/// content itself, shared blocks counted each time. The largest tree that is allowed takes some 20 MB.
pub const MAX_STRUCTURE_BYTES: u64 = 256 * 1024 * 1024;

/// Counts what one call reads.
pub(crate) struct Budget {
    root: Cid,
    pub(crate) blocks_left: u64,
    pub(crate) structure_bytes_left: u64,
}

impl Budget {
    /// For a call about `root`, which refusals name.
    pub(crate) fn new(root: Cid) -> Self {
        Self {
            root,
            blocks_left: MAX_BLOCKS,
            structure_bytes_left: MAX_STRUCTURE_BYTES,
        }
    }

    /// Reads and decodes one block. Errors: it is not there, is not UnixFS, or is one too many.
    pub(crate) fn node(
        &mut self,
        store: &dyn BlockStore,
        cid: &Cid,
    ) -> Result<UnixFs, ContentError> {
        self.block()?;
        let block = need(store, cid)?;
        let node = UnixFs::decode(&block)?;
        let content = if let UnixFs::File { inline, .. } = &node {
            inline.len()
        } else {
            0
        };
        let structure = block.bytes().len().saturating_sub(content) as u64;
        self.structure_bytes_left = self.structure_bytes_left.checked_sub(structure).ok_or(
            ContentError::TooMuchStructure {
                cid: self.root,
                limit: MAX_STRUCTURE_BYTES,
            },
        )?;
        Ok(node)
    }

    /// Counts a block of nothing but content. Error: it is one too many.
    pub(crate) fn block(&mut self) -> Result<(), ContentError> {
        self.blocks_left = self
            .blocks_left
            .checked_sub(1)
            .ok_or_else(|| self.too_many())?;
        Ok(())
    }

    /// The refusal of one block too many.
    pub(crate) fn too_many(&self) -> ContentError {
        ContentError::TooManyBlocks {
            cid: self.root,
            limit: MAX_BLOCKS,
        }
    }
}
