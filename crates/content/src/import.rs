//! Files and directories into blocks: what `ipfs add -r --hidden --cid-version=1` would store, under the
//! very CIDs.
//!
//! UnixFS with raw leaves: chunks of 256 KiB, at most 174 links to a node, balanced; directories sorted
//! by the bytes of their names; symbolic links as links. Files whose names begin with a dot are part of a
//! tree like any other: what is run from a directory and from its CID must be the same.
//!
//! Content streams: a file of any size takes one chunk and a few nodes of memory. Refused: links that
//! leave, special files, names and sizes beyond the limits of [`crate::tree`], a file that changes while
//! it is read, and a directory so large that Kubo would shard it.

mod balanced;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use cid::Cid;

use self::balanced::{Builder, Layout};
use crate::tree::{LocalFile, LocalTree, MAX_TOTAL_BYTES, Node, TreeError, TreePath};
use crate::unixfs::{self, Stored};
use crate::{Block, BlockStore, ContentError};

/// Where Kubo begins to shard a directory: when the names and binary CIDs of its entries come to more
/// than this many bytes. Past it the CID would no longer be Kubo's.
const MAX_DIRECTORY_BYTES: usize = 256 * 1024;

/// Adds the names `only` of the directory `path`, with everything below them, and returns the CID of the
/// directory that holds them. Whatever lies beside those names is not read, and names that are not there
/// are passed over. The same tree gives the same CID.
///
/// Links stay links if they are relative and stay below `only`; others are refused. Errors:
/// [`ContentError::Tree`] for anything wrong with the tree, [`ContentError::DirectoryTooBig`], and what
/// the store answers. Blocks that were put before an error stay in the store.
pub fn directory(store: &dyn BlockStore, path: &Path, only: &[&str]) -> Result<Cid, ContentError> {
    local_tree(store, &LocalTree::open(path, only)?)
}

/// Adds a tree that was listed already; as [`directory`].
pub fn local_tree(store: &dyn BlockStore, local: &LocalTree) -> Result<Cid, ContentError> {
    let mut gathered: HashMap<TreePath, Vec<(String, Stored)>> = HashMap::new();
    // From the last path to the first: everything in a directory comes before the directory itself.
    for (path, node) in local.tree().iter().rev() {
        let stored = match node {
            Node::File { .. } => chunks(store, Layout::KUBO, &mut Whole(local.file(path)?))?,
            Node::Link { target } => put(store, unixfs::link_block(target)?)?,
            Node::Directory => {
                let entries = gathered.remove(path).unwrap_or_default();
                put_directory(store, path, entries)?
            }
        };
        if let Some((parent, name)) = path.split() {
            gathered
                .entry(parent)
                .or_default()
                .push((name.to_owned(), stored));
        }
    }
    let root = TreePath::root();
    let entries = gathered.remove(&root).unwrap_or_default();
    Ok(put_directory(store, &root, entries)?.cid)
}

/// Adds one local file; a link to a file counts as the file. Refuses anything else.
pub fn file(store: &dyn BlockStore, path: &Path) -> Result<Cid, ContentError> {
    let failed = |error: io::Error| ContentError::io(path, "opening")(error);
    // Asked before opening as well, because opening a fifo would wait for its writer.
    let regular = |found: &fs::Metadata| {
        if found.is_file() {
            Ok(())
        } else {
            Err(failed(io::Error::other("it is not a file")))
        }
    };
    regular(&fs::metadata(path).map_err(failed)?)?;
    let mut open = File::open(path).map_err(failed)?;
    regular(&open.metadata().map_err(failed)?)?;
    stream(store, &mut open)
}

/// Adds what `content` gives until it ends, as a file. Refuses more than [`MAX_TOTAL_BYTES`].
pub fn stream(store: &dyn BlockStore, content: &mut dyn Read) -> Result<Cid, ContentError> {
    Ok(chunks(store, Layout::KUBO, &mut Stream { content, read: 0 })?.cid)
}

/// The CID that `content` has as a file, without storing anything. Refuses more than
/// [`MAX_TOTAL_BYTES`].
pub fn cid_of_file(content: &[u8]) -> Result<Cid, ContentError> {
    /// Takes every block and keeps none.
    struct Nowhere;
    impl BlockStore for Nowhere {
        fn put(&self, _: &Block) -> Result<(), ContentError> {
            Ok(())
        }
        fn get(&self, _: &Cid) -> Result<Option<Block>, ContentError> {
            Ok(None)
        }
        fn has(&self, _: &Cid) -> Result<bool, ContentError> {
            Ok(false)
        }
    }
    stream(&Nowhere, &mut { content })
}

/// Content that is being read. Not `io::Read`, so that its refusals keep their names.
trait Source {
    /// Fills the front of `buffer`; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ContentError>;
}

struct Whole(LocalFile);

impl Source for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ContentError> {
        Ok(self.0.read(buffer)?)
    }
}

struct Stream<'a> {
    content: &'a mut dyn Read,
    read: u64,
}

impl Source for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ContentError> {
        let read = loop {
            match self.content.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(ContentError::Read)?,
            }
        };
        self.read = self.read.saturating_add(read as u64);
        if self.read > MAX_TOTAL_BYTES {
            return Err(TreeError::TooManyBytes {
                limit: MAX_TOTAL_BYTES,
            }
            .into());
        }
        Ok(read)
    }
}

/// Cuts `source` into chunks and builds the file over them.
fn chunks(
    store: &dyn BlockStore,
    layout: Layout,
    source: &mut dyn Source,
) -> Result<Stored, ContentError> {
    let mut builder = Builder::new(store, layout);
    loop {
        let mut chunk = vec![0; layout.chunk_bytes];
        let mut filled = 0;
        while let Some(free) = chunk.get_mut(filled..).filter(|free| !free.is_empty()) {
            match source.read(free)? {
                0 => break,
                read => filled = filled.saturating_add(read),
            }
        }
        let last = filled < chunk.len();
        chunk.truncate(filled);
        if filled > 0 {
            builder.push(chunk)?;
        }
        if last {
            return builder.finish();
        }
    }
}

fn put_directory(
    store: &dyn BlockStore,
    path: &TreePath,
    mut entries: Vec<(String, Stored)>,
) -> Result<Stored, ContentError> {
    let bytes: usize = entries
        .iter()
        .map(|(name, entry)| name.len() + entry.cid.encoded_len())
        .sum();
    if bytes > MAX_DIRECTORY_BYTES {
        return Err(ContentError::DirectoryTooBig {
            path: path.to_string(),
        });
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    put(store, unixfs::directory_block(&entries)?)
}

fn put(store: &dyn BlockStore, node: (Block, Stored)) -> Result<Stored, ContentError> {
    let (block, stored) = node;
    store.put(&block)?;
    Ok(stored)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::MemoryStore;

    /// 64 bytes of name and CID an entry.
    fn crowded(last_name_bytes: usize) -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("usr");
        fs::create_dir(&directory).unwrap();
        for n in 0..4095 {
            File::create(directory.join(format!("f{n:027}"))).unwrap();
        }
        File::create(directory.join("z".repeat(last_name_bytes))).unwrap();
        scratch
    }

    #[test]
    fn directories_are_refused_where_kubo_begins_to_shard() {
        let store = MemoryStore::default();
        directory(&store, crowded(28).path(), &["usr"]).unwrap();
        let refused = directory(&store, crowded(29).path(), &["usr"]);
        let named =
            matches!(&refused, Err(ContentError::DirectoryTooBig { path }) if path == "usr");
        assert!(named, "{refused:?}");
    }

    #[test]
    fn links_that_leave_what_is_added_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("usr")).unwrap();
        fs::write(scratch.path().join("key"), "secret").unwrap();
        symlink("../key", scratch.path().join("usr/key")).unwrap();
        let refused = directory(&MemoryStore::default(), scratch.path(), &["usr"]);
        assert!(matches!(
            refused,
            Err(ContentError::Tree(TreeError::LinkLeaves { .. }))
        ));
    }

    #[test]
    fn a_directory_or_a_fifo_is_not_added_as_a_file() {
        let scratch = tempfile::tempdir().unwrap();
        let fifo = scratch.path().join("fifo");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        for path in [scratch.path(), fifo.as_path()] {
            assert!(file(&MemoryStore::default(), path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_stream_that_fails_or_does_not_end_is_an_error() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let refused = stream(&MemoryStore::default(), &mut Failing);
        assert!(matches!(refused, Err(ContentError::Read(_))));
        let mut nearly_full = Stream {
            content: &mut io::repeat(0),
            read: MAX_TOTAL_BYTES - 1,
        };
        let refused = nearly_full.read(&mut [0; 2]);
        assert!(matches!(
            refused,
            Err(ContentError::Tree(TreeError::TooManyBytes { .. }))
        ));
    }
}
