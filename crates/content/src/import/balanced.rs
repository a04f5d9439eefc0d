//! The balanced layout: all chunks of a file at the same depth, nodes filled from the left.
//!
//! Built from the bottom as chunks arrive. A row of links becomes a node only when a further link comes
//! or the file ends, so that a row that is just full does not grow a needless root.

use crate::unixfs::{self, Stored};
use crate::{BlockStore, CidVersion, ContentError};

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
    version: CidVersion,
    layout: Layout,
    rows: Vec<Vec<Stored>>,
}

impl<'a> Builder<'a> {
    /// A file that begins with the chunk `first`.
    pub(crate) fn new(
        store: &'a dyn BlockStore,
        version: CidVersion,
        layout: Layout,
        first: Stored,
    ) -> Self {
        Self {
            store,
            version,
            layout,
            rows: vec![vec![first]],
        }
    }

    /// Adds the next chunk.
    pub(crate) fn push(&mut self, leaf: Stored) -> Result<(), ContentError> {
        self.link(0, leaf)
    }

    /// Ends the file and returns its root. A file of one chunk is that chunk.
    pub(crate) fn finish(mut self) -> Result<Stored, ContentError> {
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

    fn node(&self, row: &[Stored]) -> Result<Stored, ContentError> {
        super::put(self.store, self.version, unixfs::file_block(row)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ops::ControlFlow;

    use super::super::file_of;
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
    /// a node: every shape from one leaf to five levels, without gigabytes of input. In both versions of
    /// CIDs, with raw leaves and without.
    #[test]
    fn every_shape_of_dag_has_the_cid_that_the_go_implementation_gives_it() {
        let known = [
            (
                0,
                "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
                "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
            ),
            (
                1,
                "bafkreibcvwxqlcrmwzulcxfuyhzq47ghec56hdaumvcbnhntl67wga4jyq",
                "QmYgeDNcNoWGunNmxb2do8E5oMALcrxnzxCWLpzrWeBjZ4",
            ),
            (
                4,
                "bafkreidxskxszsqndfpyrn6u2zidzqinxzki7mypousgge6bdld2k4pfqi",
                "QmYWkcGp7VXenw3kwXt1NswvNmKsj9r1X2hYnPcPRyb1bm",
            ),
            (
                5,
                "bafybeif5gd6or5lurngg4qpuwgswthx2exl5f4wt6qrefuysud6ltlk7cu",
                "QmVEgvJrLV8RLSWBVDHtoi8bunh3Annbvgp63evXVPQnku",
            ),
            (
                12,
                "bafybeif4ox6o5ehbkdsf57bwwklf2bdxxlm77wlg7toev2ebpthy3cmm4i",
                "QmamEaZvJC8FzhDKb4dvcUXjY5ktcSejTjjcpYgEhmeksf",
            ),
            (
                13,
                "bafybeihdylz2yfsjfx2tv7tl7k6g23kagred2qzcvxjbnt3xwpbdz5emne",
                "QmegsZqmeSUT13zznbjWuWvDzHYnNRwtetUsm1zqTk7xvG",
            ),
            (
                36,
                "bafybeiggokc6mxhfpkutr4o6h6cnpioh67hdzkelfzlfgvoy5dd2r3u7s4",
                "QmNq2L94DWiHLmhTbEndyvkTZ79xTPMELQrMsc1uAU4ywb",
            ),
            (
                37,
                "bafybeibo3j5zjkbihrg6qqkd4wmoropzhclovtf4tr3xhydp4oshitlvji",
                "QmRneh8wrzKSHtTn4SDSDd2KayEXyyYbzPqsHzaBzQwRro",
            ),
            (
                108,
                "bafybeiglsmtnk4pgex3w5p2tvcnshvaud7r6wp3mvyt33aixmcq4cgx4gu",
                "QmS5wMeSxNtrpvirq6ziV2fNfHDLRzQWPyuT8nmrw2a5uy",
            ),
            (
                109,
                "bafybeidwns45gvlwljvw3mssx5tdnyrhgglivfmfediydkr7y4vrea5neu",
                "QmfWxkrLGy9QCYQNgacovXJE3XwyWUKqk6gsZhX1KKoPNF",
            ),
            (
                325,
                "bafybeidqh3q7f2rjdxkagftnogpqqy4fd2lyieleqyklqhubv6ma47ioxy",
                "Qmdj5i8SVMb9rnPbSccX4jQTTt7g1GWg5acA5jsoSwGDx3",
            ),
        ];
        let layout = Layout {
            chunk_bytes: 4,
            links: 3,
        };
        for (bytes, v1, v0) in known {
            for (version, cid) in [(CidVersion::V1, v1), (CidVersion::V0, v0)] {
                let content = pattern(bytes);
                let mut quiet = |_: super::super::Progress<'_>| ControlFlow::Continue(());
                let store = MemoryStore::default();
                let stored =
                    file_of(&store, version, layout, &mut &content[..], &mut quiet).unwrap();
                assert_eq!(stored.cid.to_string(), cid, "{bytes} bytes");
                let mut back = Vec::new();
                crate::export::file(&store, &stored.cid, &mut back).unwrap();
                assert_eq!(back, content);
            }
        }
    }
}
