//! The balanced layout: all chunks of a file at the same depth, nodes filled from the left.
//!
//! Built from the bottom as chunks arrive. A row of links becomes a node only when a further link comes
//! or the file ends, so that a row that is just full does not grow a needless root.

use crate::unixfs::{self, Stored};
use crate::{Block, BlockStore, Codec, ContentError};

/// How a file is cut and how wide its nodes are. Every CID depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) chunk_bytes: usize,
    pub(crate) links: usize,
}

impl Layout {
    /// What Kubo uses unless told otherwise. The 174 comes from fitting the links of a node, at their
    /// size of old, into 8 KiB.
    pub(crate) const KUBO: Self = Self {
        chunk_bytes: 256 * 1024,
        links: 174,
    };
}

/// A file that is being built; holds one row of links a level.
pub(crate) struct Builder<'a> {
    store: &'a dyn BlockStore,
    layout: Layout,
    rows: Vec<Vec<Stored>>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(store: &'a dyn BlockStore, layout: Layout) -> Self {
        Self {
            store,
            layout,
            rows: Vec::new(),
        }
    }

    /// Adds the next chunk.
    pub(crate) fn push(&mut self, chunk: Vec<u8>) -> Result<(), ContentError> {
        let leaf = self.leaf(chunk)?;
        self.link(0, leaf)
    }

    /// Ends the file and returns its root. A file of one chunk is that chunk; an empty one is an empty
    /// chunk.
    pub(crate) fn finish(mut self) -> Result<Stored, ContentError> {
        if self.rows.is_empty() {
            return self.leaf(Vec::new());
        }
        let mut level = 0;
        loop {
            let top = level + 1 == self.rows.len();
            let row = self
                .rows
                .get_mut(level)
                .map(std::mem::take)
                .unwrap_or_default();
            match row.as_slice() {
                [root] if top => return Ok(root.clone()),
                row => {
                    let node = self.node(row)?;
                    self.link(level + 1, node)?;
                }
            }
            level += 1;
        }
    }

    /// Puts `child` into the row at `level`; a full row first becomes a node of the row above, and so on.
    fn link(&mut self, mut level: usize, mut child: Stored) -> Result<(), ContentError> {
        loop {
            let full = match self.rows.get_mut(level) {
                None => {
                    self.rows.push(vec![child]);
                    return Ok(());
                }
                Some(row) if row.len() < self.layout.links => {
                    row.push(child);
                    return Ok(());
                }
                Some(row) => std::mem::replace(row, vec![child]),
            };
            child = self.node(&full)?;
            level += 1;
        }
    }

    fn leaf(&self, chunk: Vec<u8>) -> Result<Stored, ContentError> {
        let block = Block::new(Codec::Raw, chunk)?;
        self.store.put(&block)?;
        let bytes = block.bytes().len() as u64;
        Ok(Stored {
            cid: *block.cid(),
            file_bytes: bytes,
            dag_bytes: bytes,
        })
    }

    fn node(&self, row: &[Stored]) -> Result<Stored, ContentError> {
        let (block, stored) = unixfs::file_block(row)?;
        self.store.put(&block)?;
        Ok(stored)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    /// Bytes of xorshift64, little-endian, from the seed of the known answers.
    fn pattern(bytes: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut out = Vec::new();
        while out.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            out.extend_from_slice(&state.to_le_bytes());
        }
        out.truncate(bytes);
        out
    }

    /// Answers of the Go implementation's balanced layout (boxo 0.39) with chunks of 4 bytes and 3 links
    /// a node: every shape from one leaf to five levels, without gigabytes of input.
    #[test]
    fn every_shape_of_dag_has_the_cid_that_the_go_implementation_gives_it() {
        let known = [
            (
                0,
                "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            ),
            (
                1,
                "bafkreibcvwxqlcrmwzulcxfuyhzq47ghec56hdaumvcbnhntl67wga4jyq",
            ),
            (
                4,
                "bafkreidxskxszsqndfpyrn6u2zidzqinxzki7mypousgge6bdld2k4pfqi",
            ),
            (
                5,
                "bafybeif5gd6or5lurngg4qpuwgswthx2exl5f4wt6qrefuysud6ltlk7cu",
            ),
            (
                12,
                "bafybeif4ox6o5ehbkdsf57bwwklf2bdxxlm77wlg7toev2ebpthy3cmm4i",
            ),
            (
                13,
                "bafybeihdylz2yfsjfx2tv7tl7k6g23kagred2qzcvxjbnt3xwpbdz5emne",
            ),
            (
                36,
                "bafybeiggokc6mxhfpkutr4o6h6cnpioh67hdzkelfzlfgvoy5dd2r3u7s4",
            ),
            (
                37,
                "bafybeibo3j5zjkbihrg6qqkd4wmoropzhclovtf4tr3xhydp4oshitlvji",
            ),
            (
                108,
                "bafybeiglsmtnk4pgex3w5p2tvcnshvaud7r6wp3mvyt33aixmcq4cgx4gu",
            ),
            (
                109,
                "bafybeidwns45gvlwljvw3mssx5tdnyrhgglivfmfediydkr7y4vrea5neu",
            ),
            (
                325,
                "bafybeidqh3q7f2rjdxkagftnogpqqy4fd2lyieleqyklqhubv6ma47ioxy",
            ),
        ];
        let layout = Layout {
            chunk_bytes: 4,
            links: 3,
        };
        for (bytes, cid) in known {
            let store = MemoryStore::default();
            let mut builder = Builder::new(&store, layout);
            for chunk in pattern(bytes).chunks(layout.chunk_bytes) {
                builder.push(chunk.to_vec()).unwrap();
            }
            assert_eq!(
                builder.finish().unwrap().cid.to_string(),
                cid,
                "{bytes} bytes"
            );
        }
    }
}
