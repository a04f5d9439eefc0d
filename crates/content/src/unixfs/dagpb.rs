//! dag-pb: one message with named links and a byte string. On the wire the links come first.
//!
//! Refused: fields that dag-pb does not have, data or parts of a link given twice, links in two runs
//! with data between them, a link without a CID, and bytes behind the CID.

use cid::Cid;

use super::wire::{self, Field, Malformed, Reader};

/// A node, borrowed from its block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PbNode<'a> {
    pub(crate) links: Vec<PbLink<'a>>,
    pub(crate) data: Option<&'a [u8]>,
}

/// A link. The size that it claims for what is below it is a claim: nobody checks it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PbLink<'a> {
    pub(crate) cid: Cid,
    /// Empty if there is none.
    pub(crate) name: &'a str,
    /// Whether a name was written, be it an empty one.
    pub(crate) is_named: bool,
    pub(crate) dag_bytes: Option<u64>,
}

impl<'a> PbNode<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (mut links, mut data, mut links_over) = (Vec::new(), None, false);
        while let Some(field) = reader.next_field()? {
            match field {
                (1, Field::Bytes(value)) => {
                    wire::once(&mut data, value)?;
                    links_over = !links.is_empty();
                }
                (2, Field::Bytes(_)) if links_over => {
                    return Err(Malformed("its links are in two places"));
                }
                (2, Field::Bytes(value)) => links.push(PbLink::decode(value)?),
                _ => return Err(Malformed("a node has an unknown field")),
            }
        }
        Ok(Self { links, data })
    }
}

impl<'a> PbLink<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (mut cid, mut name, mut size) = (None, None, None);
        while let Some(field) = reader.next_field()? {
            match field {
                (1, Field::Bytes(value)) => wire::once(&mut cid, whole_cid(value)?)?,
                (2, Field::Bytes(value)) => wire::once(&mut name, value)?,
                (3, Field::Varint(value)) => wire::once(&mut size, value)?,
                _ => return Err(Malformed("a link has an unknown field")),
            }
        }
        Ok(Self {
            cid: cid.ok_or(Malformed("a link has no CID"))?,
            is_named: name.is_some(),
            dag_bytes: size,
            name: std::str::from_utf8(name.unwrap_or_default())
                .map_err(|_| Malformed("a name is not UTF-8"))?,
        })
    }
}

/// Appends a link. Links go before the data, in the order of their names.
pub(crate) fn put_link(out: &mut Vec<u8>, cid: &Cid, name: &str, dag_bytes: u64) {
    let mut link = Vec::new();
    wire::put_bytes_field(&mut link, 1, &cid.to_bytes());
    wire::put_bytes_field(&mut link, 2, name.as_bytes());
    wire::put_varint_field(&mut link, 3, dag_bytes);
    wire::put_bytes_field(out, 2, &link);
}

/// Appends the data, after the links.
pub(crate) fn put_data(out: &mut Vec<u8>, data: &[u8]) {
    wire::put_bytes_field(out, 1, data);
}

fn whole_cid(bytes: &[u8]) -> Result<Cid, Malformed> {
    let cid = Cid::try_from(bytes).map_err(|_| Malformed("a link's CID is not valid"))?;
    if cid.encoded_len() == bytes.len() {
        Ok(cid)
    } else {
        Err(Malformed("something follows a link's CID"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Block, Codec};

    fn link(name: &str) -> Vec<u8> {
        let cid = *Block::new(Codec::Raw, &b"x"[..]).unwrap().cid();
        let mut out = Vec::new();
        put_link(&mut out, &cid, name, 1);
        out
    }

    #[test]
    fn data_may_stand_before_or_after_the_links_but_not_between() {
        let data = [0x0a, 1, b'd'];
        let after = [link("a"), link("b"), data.to_vec()].concat();
        let before = [data.to_vec(), link("a"), link("b")].concat();
        assert_eq!(PbNode::decode(&after), PbNode::decode(&before));
        assert_eq!(PbNode::decode(&after).unwrap().links.len(), 2);
        let between = [link("a"), data.to_vec(), link("b")].concat();
        assert!(PbNode::decode(&between).is_err());
        let twice = [link("a"), data.to_vec(), data.to_vec()].concat();
        assert!(PbNode::decode(&twice).is_err());
    }

    #[test]
    fn links_without_or_behind_their_cid_are_refused() {
        assert!(PbNode::decode(&[0x12, 0]).is_err());
        let mut cid = Block::new(Codec::Raw, &b"x"[..]).unwrap().cid().to_bytes();
        cid.push(0);
        let (mut inner, mut out) = (Vec::new(), Vec::new());
        wire::put_bytes_field(&mut inner, 1, &cid);
        wire::put_bytes_field(&mut out, 2, &inner);
        assert_eq!(
            PbNode::decode(&out),
            Err(Malformed("something follows a link's CID"))
        );
    }
}
