//! What is in a directory, and where a path leads, without reading any file.
//!
//! A listing says for each entry what it is and how large. For a file of one plain block (`raw`) the size
//! is taken from the link to it, so that listing a directory reads no contents; that size is somebody's
//! word, and [`crate::read::File::open_listed`] refuses the file if it turns out to be another. For every
//! other entry its first block is read.
//!
//! A directory that is spread over shards (HAMT) is one directory here; a path through it reads only the
//! shards on its way. Paths are followed name by name, never as text. Refused: names that are no names or occur twice,
//! whatever is neither file, directory nor link, and whatever passes [`MAX_BLOCKS`] or
//! [`MAX_STRUCTURE_BYTES`].

mod links;
mod whole;

use cid::Cid;

pub use self::whole::{Published, PublishedTree};
pub use crate::budget::{MAX_BLOCKS, MAX_STRUCTURE_BYTES};

use crate::budget::Budget;
use crate::tree::Node;
use crate::unixfs::{Link, UnixFs};
use crate::{BlockStore, Codec, ContentError};

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, which is one: not empty, not `.` or `..`, without `/` and NUL, at most 255 bytes.
    pub name: String,
    /// What it names.
    pub cid: Cid,
    /// What that is. The size of a file is as listed, see the module's words about it; the target of a
    /// link is unchecked.
    pub node: Node,
    /// The size of all blocks below it and its own, as the directory has it: somebody's word, of use only
    /// to put the entry into another directory. 0 if the directory does not say.
    pub dag_bytes: u64,
}

/// The entries of the directory `cid`, sorted by the bytes of their names.
///
/// Errors: [`ContentError::NotADirectory`], [`ContentError::BlockMissing`] and the refusals of content;
/// [`ContentError::Tree`] for more than [`crate::tree::MAX_ENTRIES`].
pub fn list(store: &dyn BlockStore, cid: &Cid) -> Result<Vec<Entry>, ContentError> {
    list_within(store, cid, &mut Budget::new(*cid))
}

/// What `cid` is: a directory, a link, or a file and its size. Reads its first block.
///
/// Errors: [`ContentError::BlockMissing`] and the refusals of content.
pub fn stat(store: &dyn BlockStore, cid: &Cid) -> Result<Node, ContentError> {
    look(store, cid, &mut Budget::new(*cid))
}

/// The CID that `names` lead to from `root`, one directory after the other. No names: `root` itself,
/// unread. Errors: [`ContentError::NameNotFound`], [`ContentError::NotADirectory`] (links are not
/// followed), and the refusals of content.
pub fn resolve(
    store: &dyn BlockStore,
    root: &Cid,
    names: &[impl AsRef<str>],
) -> Result<Cid, ContentError> {
    let mut budget = Budget::new(*root);
    names.iter().try_fold(*root, |cid, name| {
        links::find(store, &cid, name.as_ref(), &mut budget)
    })
}

/// As [`list`], as part of a longer walk.
pub(crate) fn list_within(
    store: &dyn BlockStore,
    cid: &Cid,
    budget: &mut Budget,
) -> Result<Vec<Entry>, ContentError> {
    let links = links::all(store, cid, budget)?.ok_or(ContentError::NotADirectory { cid: *cid })?;
    links
        .into_iter()
        .map(|link| {
            let Link {
                name,
                cid,
                dag_bytes,
            } = link;
            let node = match dag_bytes {
                // Some writers leave the size out, as 0.
                Some(bytes @ 1..) if Codec::of(&cid)? == Codec::Raw => Node::File { bytes },
                _ => look(store, &cid, budget)?,
            };
            Ok(Entry {
                name,
                cid,
                node,
                dag_bytes: dag_bytes.unwrap_or_default(),
            })
        })
        .collect()
}

fn look(store: &dyn BlockStore, cid: &Cid, budget: &mut Budget) -> Result<Node, ContentError> {
    Ok(match budget.node(store, cid)? {
        UnixFs::Directory(_) | UnixFs::Shard(_) => Node::Directory,
        UnixFs::Link { target } => Node::Link { target },
        UnixFs::File { bytes, .. } => Node::File { bytes },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::unixfs::{
        Stored, directory_block, file_block, link_block, name_hash, shard_block, slot_of,
    };
    use crate::{Block, MemoryStore};

    fn put(store: &MemoryStore, made: (Block, Stored)) -> Stored {
        store.put(&made.0).unwrap();
        made.1
    }

    fn leaf(store: &MemoryStore, bytes: &[u8]) -> Stored {
        let block = Block::new(Codec::Raw, bytes.to_vec()).unwrap();
        store.put(&block).unwrap();
        Stored {
            cid: *block.cid(),
            file_bytes: bytes.len() as u64,
            dag_bytes: bytes.len() as u64,
        }
    }

    fn directory(store: &MemoryStore, entries: &[(&str, &Stored)]) -> Stored {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, to)| ((*name).to_owned(), (*to).clone()))
            .collect();
        put(store, directory_block(&entries).unwrap())
    }

    #[test]
    fn a_listing_tells_kinds_and_sizes_and_reads_no_plain_file() {
        let store = MemoryStore::default();
        let absent = *Block::new(Codec::Raw, &b"absent"[..]).unwrap().cid();
        let absent = Stored {
            cid: absent,
            file_bytes: 6,
            dag_bytes: 6,
        };
        let large = put(
            &store,
            file_block(&[leaf(&store, b"abc"), leaf(&store, b"de")]).unwrap(),
        );
        let link = put(&store, link_block("../x").unwrap());
        let empty = directory(&store, &[]);
        let root = directory(
            &store,
            &[
                ("absent", &absent),
                ("d", &empty),
                ("large", &large),
                ("link", &link),
            ],
        );
        let listed: Vec<_> = list(&store, &root.cid)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.name, entry.cid, entry.node))
            .collect();
        let target = "../x".to_owned();
        assert_eq!(
            listed,
            [
                ("absent".into(), absent.cid, Node::File { bytes: 6 }),
                ("d".into(), empty.cid, Node::Directory),
                ("large".into(), large.cid, Node::File { bytes: 5 }),
                ("link".into(), link.cid, Node::Link { target }),
            ]
        );
        for entry in [&empty, &large, &link] {
            assert!(
                listed.contains(&(
                    listed
                        .iter()
                        .find(|at| at.1 == entry.cid)
                        .unwrap()
                        .0
                        .clone(),
                    entry.cid,
                    stat(&store, &entry.cid).unwrap()
                ))
            );
        }
        let refused = list(&store, &large.cid);
        assert!(matches!(refused, Err(ContentError::NotADirectory { .. })));
    }

    #[test]
    fn names_are_followed_one_by_one() {
        let store = MemoryStore::default();
        let file = leaf(&store, b"x");
        let link = put(&store, link_block("a").unwrap());
        let inner = directory(&store, &[("file", &file)]);
        let root = directory(&store, &[("a", &inner), ("l", &link)]);
        let to = |names: &[&str]| resolve(&store, &root.cid, names);
        assert_eq!(to(&[]).unwrap(), root.cid);
        assert_eq!(to(&["a", "file"]).unwrap(), file.cid);
        for names in [&[".."][..], &["a", ".."], &["a/file"], &["nope"], &[""]] {
            assert!(
                matches!(to(names), Err(ContentError::NameNotFound { .. })),
                "{names:?}"
            );
        }
        for names in [&["a", "file", "x"][..], &["l", "file"]] {
            assert!(
                matches!(to(names), Err(ContentError::NotADirectory { .. })),
                "{names:?}"
            );
        }
    }

    /// Stores a sharded directory of the slots `links`, each an entry or, without a name, a shard.
    fn shard(store: &MemoryStore, links: &[(u8, &str, &Stored)]) -> Stored {
        let links: Vec<_> = links
            .iter()
            .map(|(slot, name, to)| (*slot, *name, (*to).clone()))
            .collect();
        put(store, shard_block(&links).unwrap())
    }

    fn first_slot(name: &str) -> u8 {
        slot_of(name_hash(name), 0)
    }

    #[test]
    fn an_entry_where_its_hash_does_not_say_is_refused_and_not_found() {
        let store = MemoryStore::default();
        let file = leaf(&store, b"x");
        let (right, wrong) = (first_slot("a"), first_slot("a") ^ 1);
        let honest = shard(&store, &[(right, "a", &file)]);
        assert_eq!(list(&store, &honest.cid).unwrap().len(), 1);
        assert_eq!(resolve(&store, &honest.cid, &["a"]).unwrap(), file.cid);
        let below = shard(&store, &[(slot_of(name_hash("a"), 1), "a", &file)]);
        let nested = shard(&store, &[(right, "", &below)]);
        assert_eq!(resolve(&store, &nested.cid, &["a"]).unwrap(), file.cid);
        for root in [
            shard(&store, &[(wrong, "a", &file)]),
            shard(&store, &[(wrong, "", &below)]),
            shard(&store, &[(right, "", &honest)]),
            below,
        ] {
            let refused = list(&store, &root.cid);
            assert!(
                matches!(refused, Err(ContentError::Malformed { .. })),
                "{refused:?}"
            );
            let refused = resolve(&store, &root.cid, &["a"]);
            assert!(matches!(refused, Err(ContentError::NameNotFound { .. })));
        }
    }

    #[test]
    fn what_lies_below_a_shard_must_be_a_shard_and_not_too_deep() {
        let store = MemoryStore::default();
        let hash = name_hash("a").to_be_bytes();
        for odd in [
            leaf(&store, b"x"),
            directory(&store, &[]),
            put(&store, link_block("x").unwrap()),
        ] {
            let root = shard(&store, &[(hash[0], "", &odd)]);
            for refused in [
                list(&store, &root.cid).map(drop),
                resolve(&store, &root.cid, &["a"]).map(drop),
            ] {
                assert!(matches!(refused, Err(ContentError::Malformed { .. })));
            }
        }
        let mut deep = shard(&store, &[(hash[7], "a", &leaf(&store, b"x"))]);
        for slot in hash[..7].iter().rev() {
            deep = shard(&store, &[(*slot, "", &deep)]);
        }
        assert_eq!(list(&store, &deep.cid).unwrap().len(), 1);
        assert!(resolve(&store, &deep.cid, &["a"]).is_ok());
        let mut deep = shard(&store, &[]);
        for slot in [0].iter().chain(hash.iter().rev()) {
            deep = shard(&store, &[(*slot, "", &deep)]);
        }
        let refused = list(&store, &deep.cid);
        assert!(matches!(refused, Err(ContentError::Malformed { .. })));
        let refused = resolve(&store, &deep.cid, &["a"]);
        assert!(matches!(refused, Err(ContentError::NameNotFound { .. })));
    }

    #[test]
    fn shards_that_multiply_end_at_the_limit_of_structure() {
        let store = MemoryStore::default();
        let mut below = shard(&store, &[]);
        for _ in 0..6 {
            let links: Vec<_> = (0..=u8::MAX).map(|slot| (slot, "", &below)).collect();
            below = shard(&store, &links);
        }
        let mut budget = Budget::new(below.cid);
        budget.structure_bytes_left = 1_000_000;
        let refused = list_within(&store, &below.cid, &mut budget);
        assert!(matches!(
            refused,
            Err(ContentError::TooMuchStructure { .. })
        ));
        let mut budget = Budget::new(below.cid);
        budget.blocks_left = 1000;
        let refused = list_within(&store, &below.cid, &mut budget);
        assert!(matches!(refused, Err(ContentError::TooManyBlocks { .. })));
    }
}
