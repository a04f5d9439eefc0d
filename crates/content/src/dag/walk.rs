//! Every block below a root, each once, without recursion.

use std::collections::HashSet;

use cid::Cid;
use cid::Version;

use super::{DagError, links};
use crate::block::{DIGEST_BYTES, digest};
use crate::store::need;
use crate::{Block, BlockStore, Codec, ContentError};

/// The most links that wait to be followed, 50 MB of them. In an honest tree the siblings of the nodes on
/// one path wait: some ten thousand.
const MAX_WAITING: usize = 1 << 19;

/// What a walk, an export or an import may take in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Distinct blocks. Each takes some 60 bytes of memory.
    pub blocks: u64,
    /// Bytes of those blocks.
    pub bytes: u64,
}

impl Default for Limits {
    /// A million blocks, which take some 60 MB of memory and are 256 GiB of files in Kubo's chunks; and
    /// as many bytes, for content in larger blocks.
    fn default() -> Self {
        Self {
            blocks: 1 << 20,
            bytes: 1 << 38,
        }
    }
}

/// What a walk found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Distinct blocks.
    pub blocks: u64,
    /// Bytes of those blocks.
    pub bytes: u64,
}

/// Shows every block below `root`, itself first, to `visit`: depth first, links in the order in which they
/// are written, each block once. This is the order of `ipfs dag export`. The graph may be of any depth.
///
/// Errors: [`ContentError::BlockMissing`] and [`ContentError::BlockCorrupt`] name the block; the refusals
/// of [`links`]; [`DagError`] for what passes `limits`; and whatever `visit` answers, which ends the walk.
pub fn walk(
    store: &dyn BlockStore,
    root: &Cid,
    limits: &Limits,
    visit: &mut dyn FnMut(&Block) -> Result<(), ContentError>,
) -> Result<Walked, ContentError> {
    let mut walk = Walk::new(root, *limits);
    while let Some((_, block)) = walk.next(store)? {
        visit(&block?)?;
    }
    Ok(walk.walked)
}

/// A walk that its owner steps through, and that goes on behind a block that cannot be read.
pub(crate) struct Walk {
    root: Cid,
    limits: Limits,
    waiting: Vec<Cid>,
    seen: HashSet<Key>,
    pub(crate) walked: Walked,
}

/// A CID in a third of its size.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    digest: [u8; DIGEST_BYTES],
    codec: Codec,
    is_v0: bool,
}

impl Key {
    fn of(cid: &Cid) -> Result<Self, ContentError> {
        Ok(Self {
            digest: digest(cid)?,
            codec: Codec::of(cid)?,
            is_v0: cid.version() == Version::V0,
        })
    }
}

impl Walk {
    pub(crate) fn new(root: &Cid, limits: Limits) -> Self {
        Self {
            root: *root,
            limits,
            waiting: vec![*root],
            seen: HashSet::new(),
            walked: Walked::default(),
        }
    }

    /// The next block, or why it cannot be had; `None` at the end. An `Err` around it is a limit, and the
    /// end of the walk.
    #[allow(clippy::type_complexity)]
    pub(crate) fn next(
        &mut self,
        store: &dyn BlockStore,
    ) -> Result<Option<(Cid, Result<Block, ContentError>)>, ContentError> {
        while let Some(cid) = self.waiting.pop() {
            match Key::of(&cid).map(|key| self.seen.insert(key)) {
                Ok(true) => return Ok(Some((cid, self.read(store, &cid)?))),
                Ok(false) => {}
                Err(refused) => return Ok(Some((cid, Err(refused)))),
            }
        }
        Ok(None)
    }

    fn read(
        &mut self,
        store: &dyn BlockStore,
        cid: &Cid,
    ) -> Result<Result<Block, ContentError>, ContentError> {
        let (root, limits) = (self.root, self.limits);
        if self.seen.len() as u64 > limits.blocks {
            let limit = limits.blocks;
            return Err(DagError::TooManyBlocks { root, limit }.into());
        }
        let read = need(store, cid).and_then(|block| Ok((links(&block)?, block)));
        let (links, block) = match read {
            Ok(read) => read,
            Err(refused) => return Ok(Err(refused)),
        };
        self.walked.blocks = self.walked.blocks.saturating_add(1);
        self.walked.bytes = self.walked.bytes.saturating_add(block.bytes().len() as u64);
        if self.walked.bytes > limits.bytes {
            let limit = limits.bytes;
            return Err(DagError::TooManyBytes { root, limit }.into());
        }
        for link in links.into_iter().rev() {
            let known = Key::of(&link).is_ok_and(|key| self.seen.contains(&key));
            if !known {
                self.waiting.push(link);
            }
        }
        if self.waiting.len() > MAX_WAITING {
            let limit = MAX_WAITING;
            return Err(DagError::TooManyLinks { root, limit }.into());
        }
        Ok(Ok(block))
    }
}
