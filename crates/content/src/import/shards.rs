//! A directory that is too large for one node, spread over nodes by the hashes of its names.

use crate::unixfs::{self, LEVELS, Stored, slot_of};
use crate::{BlockStore, CidVersion, ContentError};

/// An entry with the hash of its name.
struct Hashed {
    hash: u64,
    name: String,
    stored: Stored,
}

/// Stores a sharded directory of these entries, in any order, and returns its root.
///
/// Errors: [`ContentError::NamesCollide`] if the hashes of two names are the same to the last bit, and
/// what the store answers.
pub(super) fn put(
    store: &dyn BlockStore,
    version: CidVersion,
    entries: Vec<(String, Stored)>,
) -> Result<Stored, ContentError> {
    let mut hashed: Vec<_> = entries
        .into_iter()
        .map(|(name, stored)| Hashed {
            hash: unixfs::name_hash(&name),
            name,
            stored,
        })
        .collect();
    hashed.sort_by_key(|entry| entry.hash);
    node(store, version, &hashed, 0)
}

/// The node over `entries`, sorted by hash, which are the same before `level`. Calls itself at most once a
/// level, of which there are eight.
fn node(
    store: &dyn BlockStore,
    version: CidVersion,
    entries: &[Hashed],
    level: u32,
) -> Result<Stored, ContentError> {
    let slot = |entry: &Hashed| slot_of(entry.hash, level);
    let mut links = Vec::new();
    for group in entries.chunk_by(|a, b| slot(a) == slot(b)) {
        links.push(match group {
            [] => continue,
            [one] => (slot(one), one.name.as_str(), one.stored.clone()),
            [a, b, ..] if level + 1 == LEVELS => {
                return Err(ContentError::NamesCollide {
                    first: a.name.clone(),
                    second: b.name.clone(),
                });
            }
            [first, ..] => (slot(first), "", node(store, version, group, level + 1)?),
        });
    }
    super::put(store, version, unixfs::shard_block(&links)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Block, Codec, MemoryStore};

    #[test]
    fn names_of_one_hash_are_refused_by_name() {
        let block = Block::new(Codec::Raw, &b""[..]).unwrap();
        let entry = |hash, name: &str| Hashed {
            hash,
            name: name.to_owned(),
            stored: Stored {
                cid: *block.cid(),
                file_bytes: 0,
                dag_bytes: 0,
            },
        };
        let node = |entries: &[Hashed]| node(&MemoryStore::default(), CidVersion::V1, entries, 0);
        assert!(node(&[entry(6, "a"), entry(7, "b")]).is_ok());
        let refused = node(&[entry(7, "a"), entry(7, "b")]);
        assert!(
            matches!(&refused, Err(ContentError::NamesCollide { first, second }) if first == "a" && second == "b"),
            "{refused:?}"
        );
    }
}
