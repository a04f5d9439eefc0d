//! The blocks of a Kubo daemon, and of the network that it is part of.

use std::io::Read;

use cid::Cid;

use super::Source;
use crate::kubo::{Kubo, Reach};
use crate::{Block, BlockStore, ContentError};

/// A [`BlockStore`] that is a Kubo daemon. What it gives is verified, and what it takes it must keep
/// under the right name; it pins nothing, so what is put is the daemon's to collect until it is pinned.
///
/// Errors of all calls: [`ContentError::Remote`], and for bytes that are not the block's
/// [`ContentError::BlockCorrupt`].
#[derive(Clone, Debug)]
pub struct KuboStore {
    kubo: Kubo,
}

impl KuboStore {
    /// The store of the daemon that `kubo` talks to.
    pub fn new(kubo: Kubo) -> Self {
        Self { kubo }
    }

    /// The daemon, for what is not about blocks.
    pub fn kubo(&self) -> &Kubo {
        &self.kubo
    }
}

impl BlockStore for KuboStore {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        Ok(self.kubo.block_put(block)?)
    }

    /// Asks the daemon's peers too, if it has no such block.
    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        super::check_name(cid)?;
        let bytes = self.kubo.block_get(cid, Reach::Network)?;
        bytes.map(|bytes| Block::verified(*cid, bytes)).transpose()
    }

    /// Whether the daemon itself has it.
    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        super::check_name(cid)?;
        Ok(self.kubo.block_stat(cid)?.is_some())
    }
}

impl Source for KuboStore {
    fn name(&self) -> &str {
        self.kubo.url()
    }

    fn car(&self, root: &Cid, limit: u64) -> Result<Option<Box<dyn Read + Send>>, ContentError> {
        Ok(Some(Box::new(self.kubo.dag_export(root, limit)?)))
    }
}
