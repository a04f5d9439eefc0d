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
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{Block, Codec, MemoryStore, directory};

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_names_come_back_by_listing_and_one_by_one(
            names in proptest::collection::btree_set("[a-cé🦀 ]{1,6}|[a-z]{250}|[0-9]{1,9}", 0..400),
            absent in "[a-z]{2,9}",
        ) {
            let store = MemoryStore::default();
            let entries = names.iter().map(|name| {
                let block = Block::new(Codec::Raw, name.clone().into_bytes()).unwrap();
                let bytes = name.len() as u64;
                (name.clone(), Stored { cid: *block.cid(), file_bytes: bytes, dag_bytes: bytes })
            });
            let root = put(&store, CidVersion::V1, entries.clone().collect()).unwrap();
            let backwards = put(&store, CidVersion::V1, entries.rev().collect()).unwrap();
            prop_assert_eq!(root.cid, backwards.cid);
            let listed = directory::list(&store, &root.cid).unwrap();
            prop_assert!(listed.iter().map(|entry| &entry.name).eq(&names));
            for entry in &listed {
                let found = directory::resolve(&store, &root.cid, &[&entry.name]).unwrap();
                prop_assert_eq!(found, entry.cid);
            }
            if !BTreeSet::contains(&names, &absent) {
                prop_assert!(directory::resolve(&store, &root.cid, &[absent]).is_err());
            }
        }
    }
}
