//! Writing CAR version 1.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use ipld_core::ipld::Ipld;

use super::{CarError, MAX_ROOTS};
use crate::dag::{self, Limits, Walk, Walked};
use crate::unixfs::wire;
use crate::{Block, BlockStore, ContentError};

/// Writes `root` and everything below it, each block once, depth first: the very file that `ipfs dag
/// export` gives. What was written before an error is no whole graph.
///
/// Errors: those of [`dag::walk`], and [`ContentError::Write`].
pub fn export(
    store: &dyn BlockStore,
    root: &Cid,
    limits: &Limits,
    writer: &mut dyn Write,
) -> Result<Walked, ContentError> {
    let mut writer = Writer::new(writer, &[*root])?;
    let walked = dag::walk(store, root, limits, &mut |block| writer.put(block))?;
    writer.finish()?;
    Ok(walked)
}

/// A CAR file that is made as it is read: what [`export`] writes, for somebody who takes it piece by piece. It holds one
/// block, and some forty bytes for each that it has given.
pub struct Export {
    store: Arc<dyn BlockStore>,
    walk: Walk,
    ready: Bytes,
}

impl Export {
    /// Of `root` and everything below it. Errors: as [`Writer::new`].
    pub fn new(
        store: Arc<dyn BlockStore>,
        root: &Cid,
        limits: &Limits,
    ) -> Result<Self, ContentError> {
        Ok(Self {
            store,
            walk: Walk::new(root, *limits),
            ready: Writer::new(Vec::new(), &[*root])?.finish()?.into(),
        })
    }

    /// The next bytes, at most so many; empty at the end. Errors: those of [`dag::walk`]; the file is no whole graph then.
    pub fn read(&mut self, max_bytes: usize) -> Result<Bytes, ContentError> {
        while self.ready.is_empty() {
            let Some((_, block)) = self.walk.next(&*self.store)? else {
                break;
            };
            let mut section = Writer { writer: Vec::new() };
            section.put(&block?)?;
            self.ready = section.finish()?.into();
        }
        Ok(self.ready.split_to(max_bytes.min(self.ready.len())))
    }
}

/// A CAR file that is being written. It is not buffered; give it a writer that is.
#[derive(Debug)]
pub struct Writer<W> {
    writer: W,
}

impl<W: Write> Writer<W> {
    /// Writes the header. Refuses no roots at all, and more than [`MAX_ROOTS`].
    pub fn new(writer: W, roots: &[Cid]) -> Result<Self, ContentError> {
        if roots.is_empty() {
            return Err(CarError::NoRoots.into());
        }
        if roots.len() > MAX_ROOTS {
            return Err(CarError::too_many_roots(roots.len()).into());
        }
        let roots = roots.iter().copied().map(Ipld::Link).collect();
        let header = Ipld::Map(BTreeMap::from([
            ("roots".to_owned(), Ipld::List(roots)),
            ("version".to_owned(), Ipld::Integer(1)),
        ]));
        let why = "its header cannot be written";
        let header = serde_ipld_dagcbor::to_vec(&header).map_err(|_| CarError::Header { why })?;
        let mut writer = Self { writer };
        writer.section(&[&header])?;
        Ok(writer)
    }

    /// Writes a block behind the others.
    pub fn put(&mut self, block: &Block) -> Result<(), ContentError> {
        self.section(&[&block.cid().to_bytes(), block.bytes()])
    }

    /// Flushes, and gives back what was written to.
    pub fn finish(mut self) -> Result<W, ContentError> {
        self.writer.flush().map_err(ContentError::Write)?;
        Ok(self.writer)
    }

    fn section(&mut self, parts: &[&[u8]]) -> Result<(), ContentError> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut length = Vec::new();
        wire::put_varint(&mut length, bytes as u64);
        std::iter::once(length.as_slice())
            .chain(parts.iter().copied())
            .try_for_each(|part| self.writer.write_all(part))
            .map_err(ContentError::Write)
    }
}
