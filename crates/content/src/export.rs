//! Blocks back into bytes: a file into a writer, a directory onto the disk.
//!
//! Every block is verified by the type that carries it; here the *shape* is verified. A file must have
//! exactly the bytes that its nodes promise. A directory is planned as a whole, names, links and sizes,
//! before anything is written, and appears under its final name only when it is complete.
//!
//! What hostile content cannot do: leave the destination, fill the disk beyond the limits of
//! [`crate::tree`], or keep us busy with a few blocks that point at each other a million times
//! ([`directory::MAX_BLOCKS`], [`directory::MAX_STRUCTURE_BYTES`]). Nothing recurses.

mod content;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cid::Cid;

use crate::budget::Budget;
use crate::directory::{self, Entry};
use crate::tree::{MAX_TOTAL_BYTES, Node, Tree, TreeError, TreePath, write_tree};
use crate::unixfs::{Part, UnixFs};
use crate::{BlockStore, ContentError};

/// Writes the file `cid` into `writer` and returns its size in bytes. Refuses directories and links
/// with [`ContentError::NotAFile`], and files beyond [`MAX_TOTAL_BYTES`]. What was written before an
/// error is verified but incomplete.
pub fn file(
    store: &dyn BlockStore,
    cid: &Cid,
    writer: &mut dyn Write,
) -> Result<u64, ContentError> {
    let mut budget = Budget::new(*cid);
    let UnixFs::File { bytes, .. } = budget.node(store, cid)? else {
        return Err(ContentError::NotAFile { cid: *cid });
    };
    if bytes > MAX_TOTAL_BYTES {
        return Err(TreeError::TooManyBytes {
            limit: MAX_TOTAL_BYTES,
        }
        .into());
    }
    content::write(store, Part { cid: *cid, bytes }, writer, &mut budget)?;
    Ok(bytes)
}

/// Writes the directory `cid`, with everything below it, as the directory `destination`, which must not
/// exist or be empty, in a parent that exists. It is private (0700, files 0600), and is there either as
/// a whole or not at all.
///
/// Errors: [`ContentError::NotADirectory`], [`ContentError::DestinationOccupied`],
/// [`ContentError::BlockMissing`] and the other refusals of content, [`ContentError::Tree`] for names,
/// links and limits.
pub fn to_directory(
    store: &dyn BlockStore,
    cid: &Cid,
    destination: &Path,
) -> Result<(), ContentError> {
    let occupied = || ContentError::DestinationOccupied {
        path: destination.to_owned(),
    };
    let failed = |error| ContentError::io(destination, "creating the directory")(error);
    match fs::symlink_metadata(destination) {
        Ok(found) => {
            let empty =
                found.is_dir() && fs::read_dir(destination).map_err(failed)?.next().is_none();
            if !empty {
                return Err(occupied());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut budget = Budget::new(*cid);
    let plan = plan(store, cid, &mut budget)?;
    plan.tree.check_links()?;
    let parent = match destination.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let unfinished = tempfile::Builder::new()
        .prefix(".ww-export-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(failed)?;
    write_tree(&plan.tree, unfinished.path(), |path, writer| {
        let part = plan
            .files
            .get(path)
            .ok_or(ContentError::BlockMissing { cid: *cid })?;
        content::write(store, part.clone(), writer, &mut budget)
    })?;
    // Not over anything: rename replaces an empty directory and refuses every other.
    fs::rename(unfinished.path(), destination).map_err(failed)?;
    // What it would remove has moved away.
    let _ = unfinished.keep();
    Ok(())
}

/// What is to be written: the tree, and where the bytes of its files are.
struct Plan {
    tree: Tree,
    files: HashMap<TreePath, Part>,
}

fn plan(store: &dyn BlockStore, root: &Cid, budget: &mut Budget) -> Result<Plan, ContentError> {
    let mut plan = Plan {
        tree: Tree::default(),
        files: HashMap::new(),
    };
    // Directories wait by name and are read again in their turn: many may wait, and be large.
    let mut waiting = vec![(TreePath::root(), *root)];
    while let Some((parent, cid)) = waiting.pop() {
        for Entry {
            name, cid, node, ..
        } in directory::list_within(store, &cid, budget)?
        {
            let path = parent.child(&name)?;
            match node {
                Node::Directory => waiting.push((path.clone(), cid)),
                Node::File { bytes } => {
                    plan.files.insert(path.clone(), Part { cid, bytes });
                }
                Node::Link { .. } => {}
            }
            plan.tree.insert(path, node)?;
        }
    }
    Ok(plan)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::unixfs::{Stored, directory_block, file_block, link_block};
    use crate::{Block, Codec, MemoryStore};

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
            dag_bytes: 0,
        }
    }

    fn directory(store: &MemoryStore, entries: &[(&str, &Stored)]) -> Stored {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, to)| ((*name).to_owned(), (*to).clone()))
            .collect();
        put(store, directory_block(&entries).unwrap())
    }

    fn export(store: &MemoryStore, cid: &Cid) -> Result<(), ContentError> {
        let scratch = tempfile::tempdir().unwrap();
        let result = to_directory(store, cid, &scratch.path().join("out"));
        let left = fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(
            left,
            usize::from(result.is_ok()),
            "an error leaves nothing behind"
        );
        result
    }

    #[test]
    fn a_directory_that_names_the_parent_writes_nothing() {
        let store = MemoryStore::default();
        let leaf = leaf(&store, b"x");
        for name in ["..", ".", "", "a/b", "/etc", "a\0"] {
            let root = directory(&store, &[(name, &leaf)]);
            let refused = export(&store, &root.cid);
            assert!(
                matches!(refused, Err(ContentError::Malformed { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn links_that_leave_are_refused() {
        let store = MemoryStore::default();
        for target in ["/etc/passwd", "..", "../x", "a/../../x"] {
            let link = put(&store, link_block(target).unwrap());
            let root = directory(&store, &[("l", &link)]);
            assert!(
                matches!(export(&store, &root.cid), Err(ContentError::Tree(_))),
                "{target}"
            );
        }
    }

    #[test]
    fn directories_that_multiply_end_at_the_limit_of_entries() {
        let store = MemoryStore::default();
        let mut below = directory(&store, &[]);
        for _ in 0..40 {
            below = directory(&store, &[("a", &below), ("b", &below)]);
        }
        let refused = export(&store, &below.cid);
        assert!(matches!(
            refused,
            Err(ContentError::Tree(TreeError::TooManyEntries { .. }))
        ));
    }

    #[test]
    fn directories_deeper_than_the_limit_are_refused() {
        let store = MemoryStore::default();
        let mut below = directory(&store, &[]);
        for _ in 0..70 {
            below = directory(&store, &[("d", &below)]);
        }
        let refused = export(&store, &below.cid);
        assert!(matches!(
            refused,
            Err(ContentError::Tree(TreeError::TooDeep { .. }))
        ));
    }

    #[test]
    fn empty_parts_that_multiply_end_at_the_limit_of_blocks() {
        let store = MemoryStore::default();
        let mut below = leaf(&store, b"");
        for _ in 0..40 {
            below = put(&store, file_block(&[below.clone(), below]).unwrap());
        }
        let mut budget = Budget::new(below.cid);
        budget.blocks_left = 10_000;
        let part = Part {
            cid: below.cid,
            bytes: 0,
        };
        let refused = content::write(&store, part, &mut std::io::sink(), &mut budget);
        assert!(
            matches!(refused, Err(ContentError::TooManyBlocks { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn large_directories_that_multiply_end_at_the_limit_of_structure() {
        let store = MemoryStore::default();
        let names: Vec<String> = (100..200).map(|n| n.to_string()).collect();
        let many = |to: &Stored| {
            let entries: Vec<_> = names.iter().map(|name| (name.as_str(), to)).collect();
            directory(&store, &entries)
        };
        let root = many(&many(&leaf(&store, b"")));
        assert!(export(&store, &root.cid).is_ok());
        // Two hundred reads of a directory of some 5 kB.
        let mut budget = Budget::new(root.cid);
        budget.structure_bytes_left = 500_000;
        let refused = plan(&store, &root.cid, &mut budget).map(drop);
        assert!(
            matches!(refused, Err(ContentError::TooMuchStructure { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_part_of_another_size_than_promised_is_refused() {
        let store = MemoryStore::default();
        let mut liar = leaf(&store, b"four");
        liar.file_bytes = 5;
        let root = put(&store, file_block(&[liar]).unwrap());
        let refused = file(&store, &root.cid, &mut Vec::new());
        assert!(
            matches!(refused, Err(ContentError::SizeDiffers { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_file_that_claims_more_than_the_limit_is_refused_before_it_is_read() {
        let store = MemoryStore::default();
        let mut liar = leaf(&store, b"x");
        liar.file_bytes = MAX_TOTAL_BYTES + 1;
        let huge = put(&store, file_block(&[liar]).unwrap());
        let refused = file(&store, &huge.cid, &mut std::io::sink());
        assert!(matches!(
            refused,
            Err(ContentError::Tree(TreeError::TooManyBytes { .. }))
        ));
        let root = directory(&store, &[("huge", &huge)]);
        let refused = export(&store, &root.cid);
        assert!(matches!(
            refused,
            Err(ContentError::Tree(TreeError::TooManyBytes { .. }))
        ));
    }

    #[test]
    fn a_missing_block_is_named_and_nothing_appears() {
        let store = MemoryStore::default();
        let absent = *Block::new(Codec::Raw, &b"absent"[..]).unwrap().cid();
        let absent = Stored {
            cid: absent,
            file_bytes: 6,
            dag_bytes: 6,
        };
        let partly = put(
            &store,
            file_block(&[leaf(&store, b"there"), absent.clone()]).unwrap(),
        );
        let root = directory(&store, &[("f", &partly)]);
        let refused = export(&store, &root.cid);
        assert!(matches!(refused, Err(ContentError::BlockMissing { cid }) if cid == absent.cid));
    }

    #[test]
    fn what_is_there_is_never_written_over() {
        let store = MemoryStore::default();
        let root = directory(&store, &[("new", &leaf(&store, b"x"))]);
        let scratch = tempfile::tempdir().unwrap();
        let (empty, full) = (scratch.path().join("empty"), scratch.path().join("full"));
        fs::create_dir(&empty).unwrap();
        fs::create_dir(&full).unwrap();
        fs::write(full.join("old"), "old").unwrap();
        to_directory(&store, &root.cid, &empty).unwrap();
        assert_eq!(fs::read(empty.join("new")).unwrap(), b"x");
        for path in [&full, &full.join("old")] {
            let refused = to_directory(&store, &root.cid, path);
            assert!(
                matches!(refused, Err(ContentError::DestinationOccupied { .. })),
                "{path:?}"
            );
        }
    }
}
