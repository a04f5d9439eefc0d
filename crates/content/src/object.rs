//! Nodes of dag-pb as they are: bytes, and named links. UnixFS is one thing that they can mean.
//!
//! A node is read, changed and made into a block again; nothing changes under its name. Links are kept in the
//! order of their names, as the format has it. What comes from outside is decoded as strictly as for UnixFS,
//! except that names need not be names of files.

use bytes::Bytes;
use cid::Cid;

use crate::unixfs::dagpb::{self, PbNode};
use crate::{Block, Codec, ContentError};

/// A node of dag-pb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its bytes. A node without any and one with none of them are not the same block.
    pub data: Option<Bytes>,
    /// Its links.
    pub links: Vec<Link>,
}

/// A link of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name, which may be empty and need not be the only one.
    pub name: String,
    /// The size of everything below, as whoever made the link tells it.
    pub bytes: u64,
    /// Where it leads.
    pub cid: Cid,
}

impl Object {
    /// Reads a block. Errors: [`ContentError::UnsupportedCodec`] for other codecs than dag-pb, and
    /// [`ContentError::Malformed`].
    pub fn decode(block: &Block) -> Result<Self, ContentError> {
        let cid = *block.cid();
        if Codec::of(&cid)? != Codec::DagPb {
            let codec = cid.codec();
            return Err(ContentError::UnsupportedCodec { cid, codec });
        }
        let node = PbNode::decode(block.bytes()).map_err(|malformed| ContentError::Malformed {
            cid,
            why: malformed.0,
        })?;
        let links = node.links.iter().map(|link| Link {
            name: link.name.to_owned(),
            bytes: link.dag_bytes.unwrap_or_default(),
            cid: link.cid,
        });
        Ok(Self {
            data: node.data.map(|data| block.bytes().slice_ref(data)),
            links: links.collect(),
        })
    }

    /// The block of this node. Refuses what is too big for one with [`ContentError::BlockTooBig`].
    pub fn encode(&self) -> Result<Block, ContentError> {
        let mut links: Vec<&Link> = self.links.iter().collect();
        links.sort_by(|a, b| a.name.cmp(&b.name));
        let mut encoded = Vec::new();
        for link in links {
            dagpb::put_link(&mut encoded, &link.cid, &link.name, link.bytes);
        }
        if let Some(data) = &self.data {
            dagpb::put_data(&mut encoded, data);
        }
        Block::new(Codec::DagPb, encoded)
    }

    /// The size of everything below and of this node itself, in bytes, as far as its links tell it.
    pub fn dag_bytes(&self, block: &Block) -> u64 {
        let links = self.links.iter().map(|link| link.bytes);
        links.fold(block.bytes().len() as u64, u64::saturating_add)
    }

    /// Adds a link in place of those that have its name.
    pub fn add_link(&mut self, link: Link) {
        self.links.retain(|other| other.name != link.name);
        self.links.push(link);
    }

    /// Removes the links of this name. Returns whether there was one.
    pub fn remove_link(&mut self, name: &str) -> bool {
        let before = self.links.len();
        self.links.retain(|link| link.name != name);
        self.links.len() < before
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(name: &str, to: &[u8]) -> Link {
        Link {
            name: name.into(),
            bytes: to.len() as u64,
            cid: *Block::new(Codec::Raw, to.to_vec()).unwrap().cid(),
        }
    }

    #[test]
    fn a_node_without_bytes_and_one_with_none_are_two() {
        let without = Object::default();
        let none = Object {
            data: Some(Bytes::new()),
            ..Object::default()
        };
        for object in [&without, &none] {
            assert_eq!(Object::decode(&object.encode().unwrap()).unwrap(), *object);
        }
        assert_ne!(without.encode().unwrap(), none.encode().unwrap());
        // The node of no bytes at all has a name that is well known.
        assert_eq!(
            without.encode().unwrap().cid().hash(),
            crate::parse_cid("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n")
                .unwrap()
                .hash()
        );
    }

    #[test]
    fn links_are_kept_in_order_and_replaced_by_name() {
        let mut object = Object::default();
        for name in ["b", "a", "b"] {
            object.add_link(link(name, name.as_bytes()));
        }
        let block = object.encode().unwrap();
        let names: Vec<_> = Object::decode(&block)
            .unwrap()
            .links
            .into_iter()
            .map(|link| link.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(object.dag_bytes(&block), 2 + block.bytes().len() as u64);
        assert!(object.remove_link("a"));
        assert!(!object.remove_link("a"));
    }

    #[test]
    fn what_is_no_dag_pb_is_refused_by_name() {
        let raw = Block::new(Codec::Raw, &b""[..]).unwrap();
        assert!(matches!(
            Object::decode(&raw),
            Err(ContentError::UnsupportedCodec { codec: 0x55, .. })
        ));
        let garbage = Block::new(Codec::DagPb, &b"\xff"[..]).unwrap();
        assert!(matches!(
            Object::decode(&garbage),
            Err(ContentError::Malformed { .. })
        ));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(
            data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)),
            mut names in proptest::collection::vec("[a-c/.]{0,3}", 0..6),
        ) {
            names.sort();
            let object = Object {
                data: data.map(Bytes::from),
                links: names.iter().map(|name| link(name, name.as_bytes())).collect(),
            };
            prop_assert_eq!(Object::decode(&object.encode().unwrap()).unwrap(), object);
        }
    }
}
