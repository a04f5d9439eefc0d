//! A pin as a file: what it is called, and what stands in it.

use std::collections::BTreeMap;

use cid::Cid;
use ipld_core::ipld::Ipld;
use multihash_codetable::{Code, MultihashDigest};

use super::{Depth, Pin, PinError};
use crate::{Codec, ContentError, dag};

/// The longest file of a pin, in bytes: the longest name, the longest CID, and what is around them.
pub(super) const MAX_BYTES: u64 = 512;

/// The name of the file: the same for the same name and CID, 64 letters for any. No name has a NUL in
/// it, so no two pairs are hashed alike.
pub(super) fn file_name(name: &str, cid: &Cid) -> String {
    let hashed = [name.as_bytes(), &[0], &cid.to_bytes()].concat();
    Code::Sha2_256
        .digest(&hashed)
        .digest()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

pub(super) fn is_file_name(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn encode(pin: &Pin) -> Result<Vec<u8>, ContentError> {
    let recursive = pin.depth == Depth::Recursive;
    let record = Ipld::Map(BTreeMap::from([
        ("cid".to_owned(), Ipld::Link(pin.cid)),
        ("name".to_owned(), Ipld::String(pin.name.clone())),
        ("recursive".to_owned(), Ipld::Bool(recursive)),
    ]));
    serde_ipld_dagcbor::to_vec(&record).map_err(|_| {
        let (name, why) = (pin.name.as_str().into(), "it cannot be written down");
        PinError::NameInvalid { name, why }.into()
    })
}

pub(super) fn decode(bytes: &[u8]) -> Option<Pin> {
    if bytes.len() as u64 > MAX_BYTES {
        return None;
    }
    let Ok(Ipld::Map(mut record)) = dag::decode(Codec::DagCbor, bytes) else {
        return None;
    };
    let mut take = |field| record.remove(field);
    match (take("name"), take("cid"), take("recursive")) {
        (Some(Ipld::String(name)), Some(Ipld::Link(cid)), Some(Ipld::Bool(recursive))) => {
            let depth = match recursive {
                true => Depth::Recursive,
                false => Depth::Direct,
            };
            Some(Pin { name, cid, depth })
        }
        _ => None,
    }
}
