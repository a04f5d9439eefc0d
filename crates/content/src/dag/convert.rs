//! Data from one codec into another: what `ipfs dag get` shows and `ipfs dag put` stores.

use ipld_core::ipld::Ipld;
use serde::Deserialize;

use super::links::{RESERVED, Scan, shown};
use super::{DagError, pb};
use crate::unixfs::wire::Malformed;
use crate::{Block, Codec, ContentError, MAX_BLOCK_BYTES};

/// The most values, those inside others included, that one node is taken apart into. The smallest takes
/// one byte in a block and the worst, a map of one key, 1.5 KiB in memory, so this bounds a node to some
/// 50 MB. Links are found in larger nodes too.
pub const MAX_VALUES: usize = 1 << 16;

/// The longest input to [`convert`], in bytes. JSON writes a byte in six at worst and in two or three
/// usually, so this is more than any block's worth.
pub const MAX_INPUT_BYTES: usize = 4 * MAX_BLOCK_BYTES;

/// How much of a decoder's complaint is repeated, in characters.
pub(super) const MAX_SHOWN_CHARS: usize = 200;

/// `block` as DAG-JSON, keys sorted: a raw block as `{"/":{"bytes":…}}`, a dag-pb one as
/// `{"Data":…,"Links":[…]}`. Up to six times the size of the block.
///
/// Errors: [`DagError::Malformed`], and [`DagError::NotExpressible`] for a map with the key `/`.
pub fn to_json(block: &Block) -> Result<String, ContentError> {
    json(&node(block)?)
}

/// A block of codec `output` from `bytes` in the codec `input`. The same node gives the same CID whatever
/// it was written in: dag-cbor and dag-pb come out in their one canonical form.
///
/// Errors: [`DagError::InputInvalid`], [`DagError::InputTooBig`], [`DagError::NotExpressible`] when the
/// output has no such form (raw holds bytes and nothing else, dag-pb its one map), and
/// [`ContentError::BlockTooBig`].
pub fn convert(input: Codec, bytes: &[u8], output: Codec) -> Result<Block, ContentError> {
    if bytes.len() > MAX_INPUT_BYTES {
        let limit = MAX_INPUT_BYTES;
        return Err(DagError::InputTooBig { limit }.into());
    }
    let node = decode(input, bytes).map_err(|why| DagError::InputInvalid { codec: input, why })?;
    Block::new(output, encode(output, &node)?)
}

/// What `block` says.
pub(super) fn node(block: &Block) -> Result<Ipld, ContentError> {
    let codec = Codec::of(block.cid())?;
    decode(codec, block.bytes()).map_err(|why| {
        let cid = *block.cid();
        DagError::Malformed { cid, codec, why }.into()
    })
}

pub(super) fn json(node: &Ipld) -> Result<String, ContentError> {
    let codec = Codec::DagJson;
    String::from_utf8(encode(codec, node)?).map_err(|error| {
        let why = shown(error);
        DagError::NotExpressible { codec, why }.into()
    })
}

pub(crate) fn decode(codec: Codec, bytes: &[u8]) -> Result<Ipld, Box<str>> {
    // The scan is also what finds bytes behind a CID, which the decoders drop.
    if Scan::of(codec, bytes)?.values > MAX_VALUES {
        return Err(format!("it has more than {MAX_VALUES} values").into());
    }
    match codec {
        Codec::Raw => Ok(Ipld::Bytes(bytes.to_vec())),
        Codec::DagPb => pb::decode(bytes).map_err(|Malformed(why)| why.into()),
        Codec::DagCbor => {
            let mut cbor = serde_ipld_dagcbor::de::Deserializer::from_slice(bytes);
            Ipld::deserialize(&mut cbor).map_err(shown)
        }
        Codec::DagJson => serde_ipld_dagjson::from_slice(bytes).map_err(shown),
    }
}

fn encode(codec: Codec, node: &Ipld) -> Result<Vec<u8>, DagError> {
    let refused = |why: Box<str>| DagError::NotExpressible { codec, why };
    match codec {
        Codec::Raw => match node {
            Ipld::Bytes(bytes) => Ok(bytes.clone()),
            _ => Err(refused("a raw block holds bytes and nothing else".into())),
        },
        Codec::DagPb => pb::encode(node).map_err(|why| refused(why.into())),
        Codec::DagCbor => serde_ipld_dagcbor::to_vec(node).map_err(|why| refused(shown(why))),
        // Written down, such a map could be read as a link.
        Codec::DagJson if node.iter().any(is_reserved) => Err(refused(
            "a key is `/`, which JSON keeps for links and bytes".into(),
        )),
        Codec::DagJson => serde_ipld_dagjson::to_vec(node).map_err(|why| refused(shown(why))),
    }
}

fn is_reserved(value: &Ipld) -> bool {
    matches!(value, Ipld::Map(map) if map.contains_key(RESERVED))
}
