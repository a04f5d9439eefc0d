//! A path through blocks: `/ipfs/CID/a/b/0/c`.
//!
//! Each segment is a key of a map, an index of a list, or, in a dag-pb node, the name of a link; a link
//! that is met on the way is followed. As Kubo has it for `/ipfs/` paths, a dag-pb node shows its links by
//! name and nothing else of itself: `Links/0/Hash` leads to nothing. A sharded directory is one node.

use cid::Cid;
use ipld_core::ipld::Ipld;

use super::convert::{json, node};
use super::{DagError, to_json};
use crate::store::need;
use crate::unixfs::UnixFs;
use crate::unixfs::dagpb::PbNode;
use crate::unixfs::wire::Malformed;
use crate::{Block, BlockStore, Codec, ContentError, IpfsPath, directory};

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The last block on the path.
    pub cid: Cid,
    /// What of the path leads on inside that block; empty for the block as a whole.
    pub rest: Vec<String>,
}

/// Follows `path` to its last block, as `ipfs dag resolve` does. A link at the end of the path is where it
/// leads; that block is not read.
///
/// Errors: [`DagError::NotFound`] with the block and the segment, and what reading a block may answer.
pub fn resolve(store: &dyn BlockStore, path: &IpfsPath) -> Result<Resolved, ContentError> {
    Ok(follow(store, path)?.0)
}

/// What stands at `path` as DAG-JSON, as `ipfs dag get` shows it; as [`to_json`]. Errors: as [`resolve`].
pub fn get_json(store: &dyn BlockStore, path: &IpfsPath) -> Result<String, ContentError> {
    match follow(store, path)? {
        (_, Some(value)) => json(&value),
        (resolved, None) => to_json(&need(store, &resolved.cid)?),
    }
}

/// The last block and, if the path ends inside it, what stands there.
fn follow(
    store: &dyn BlockStore,
    path: &IpfsPath,
) -> Result<(Resolved, Option<Ipld>), ContentError> {
    let (mut cid, mut rest) = (*path.root(), path.names());
    while !rest.is_empty() {
        let block = need(store, &cid)?;
        match step(store, &block, rest)? {
            Step::Link(next, behind) => (cid, rest) = (next, behind),
            Step::Value(value) => {
                let rest = rest.to_vec();
                return Ok((Resolved { cid, rest }, Some(value)));
            }
        }
    }
    let rest = Vec::new();
    Ok((Resolved { cid, rest }, None))
}

/// Where the segments lead within one block.
enum Step<'a> {
    /// To a link, with the segments behind it.
    Link(Cid, &'a [String]),
    /// All of them were used up inside the block.
    Value(Ipld),
}

fn step<'a>(
    store: &dyn BlockStore,
    block: &Block,
    segments: &'a [String],
) -> Result<Step<'a>, ContentError> {
    if Codec::of(block.cid())? == Codec::DagPb {
        return named_link(store, block, segments);
    }
    let mut value = node(block)?;
    let mut rest = segments;
    while let Some((segment, behind)) = rest.split_first() {
        value = child(value, segment).ok_or_else(|| not_found(block, segment))?;
        rest = behind;
        if let Ipld::Link(cid) = value {
            return Ok(Step::Link(cid, rest));
        }
    }
    Ok(Step::Value(value))
}

fn child(value: Ipld, segment: &str) -> Option<Ipld> {
    match value {
        Ipld::Map(mut map) => map.remove(segment),
        Ipld::List(mut list) => {
            // One spelling for each place: `01` and `+1` are nobody's index.
            let index: usize = segment.parse().ok()?;
            (index < list.len() && index.to_string() == segment).then(|| list.swap_remove(index))
        }
        _ => None,
    }
}

fn named_link<'a>(
    store: &dyn BlockStore,
    block: &Block,
    segments: &'a [String],
) -> Result<Step<'a>, ContentError> {
    let (name, behind) = segments
        .split_first()
        .map_or(("", segments), |(name, behind)| (name, behind));
    // The links of a sharded directory do not carry the names of its entries.
    if matches!(UnixFs::decode(block), Ok(UnixFs::Shard(_))) {
        return match directory::resolve(store, block.cid(), &[name]) {
            Ok(cid) => Ok(Step::Link(cid, behind)),
            Err(ContentError::NameNotFound { .. }) => Err(not_found(block, name)),
            Err(error) => Err(error),
        };
    }
    let node = PbNode::decode(block.bytes()).map_err(|Malformed(why)| DagError::Malformed {
        cid: *block.cid(),
        codec: Codec::DagPb,
        why: why.into(),
    })?;
    node.links
        .iter()
        .find(|link| link.is_named && link.name == name)
        .map(|link| Step::Link(link.cid, behind))
        .ok_or_else(|| not_found(block, name))
}

fn not_found(block: &Block, name: &str) -> ContentError {
    DagError::NotFound {
        cid: *block.cid(),
        name: name.into(),
    }
    .into()
}
