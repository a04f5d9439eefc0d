//! Files and directories into blocks: what `ipfs add -r --hidden --cid-version=1` would store, under the
//! very CIDs, or what it stored before there were such ([`Options::cid_version`]).
//!
//! UnixFS with raw leaves: chunks of 256 KiB, at most 174 links to a node, balanced; directories sorted
//! by the bytes of their names, and from Kubo's own threshold on spread over shards; symbolic links as
//! links. Files whose names begin with a dot are part of a tree like any other: what is run from a
//! directory and from its CID must be the same.
//!
//! Content streams, and is hashed and stored by as many threads as there are processors: a tree of any
//! size takes a chunk for each of them and the list of its names. A block is stored whole or not at all,
//! and everything below a block before it, so an import that is stopped half-way leaves nothing that looks
//! whole and is not. Refused: links that leave, special files, names and sizes beyond the limits of
//! [`crate::tree`], and a file that changes while it is read.

mod balanced;
mod leaves;
mod pushed;
mod shards;

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use cid::Cid;

use self::balanced::Layout;
pub use self::pushed::{FileWriter, TreeWriter, Written};

use self::leaves::{Chunk, Content, Source};
use crate::tree::{LocalFile, LocalTree, MAX_TOTAL_BYTES, Node, TreeError, TreePath};
use crate::unixfs::{self, Stored};
use crate::{Block, BlockStore, CidVersion, ContentError};

/// Where Kubo begins to shard a directory: when the names and binary CIDs of its entries come to more
/// than this many bytes.
const MAX_PLAIN_DIRECTORY_BYTES: usize = 256 * 1024;

/// How to import.
pub struct Options<'a> {
    /// The version of the CIDs, 1 unless told otherwise. With 0 the leaves of files are nodes as well, as
    /// `ipfs add` makes them unless told otherwise; the two versions share no leaf.
    pub cid_version: CidVersion,
    /// Is told how far it is, after each chunk and each directory, by whichever thread is at work, and may
    /// end it: [`ControlFlow::Break`] is [`ContentError::Cancelled`]. All others wait while it runs.
    pub progress: Option<&'a mut Hook<'a>>,
}

/// Is told how far an import is, and whether to go on is its answer.
pub type Hook<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + Send + 'a;

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Bytes of files that are stored.
    pub bytes: u64,
    /// What was stored last, relative to the tree; empty for streams.
    pub path: &'a str,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            cid_version: CidVersion::V1,
            progress: None,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("cid_version", &self.cid_version)
            .finish_non_exhaustive()
    }
}

/// A store that keeps nothing: importing into it only computes the CID.
#[derive(Clone, Copy, Debug, Default)]
pub struct DryRun;

impl BlockStore for DryRun {
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

/// Adds the names `only` of the directory `path`, with everything below them, and returns the CID of the
/// directory that holds them. Whatever lies beside those names is not read, and names that are not there
/// are passed over. The same tree gives the same CID.
///
/// Links stay links if they are relative and stay below `only`; others are refused. Errors:
/// [`ContentError::Tree`] for anything wrong with the tree, [`ContentError::NamesCollide`], and what the
/// store answers. Blocks that were put before an error stay in the store.
pub fn directory(store: &dyn BlockStore, path: &Path, only: &[&str]) -> Result<Cid, ContentError> {
    local_tree(store, &LocalTree::open(path, only)?)
}

/// Adds a tree that was listed already; as [`directory`].
pub fn local_tree(store: &dyn BlockStore, local: &LocalTree) -> Result<Cid, ContentError> {
    local_tree_with(store, local, Options::default())
}

/// As [`local_tree`], in the way that is asked for. Also [`ContentError::Cancelled`].
pub fn local_tree_with(
    store: &dyn BlockStore,
    local: &LocalTree,
    options: Options<'_>,
) -> Result<Cid, ContentError> {
    let part = |node| match node {
        &Node::File { bytes } => Part::File { local, bytes },
        Node::Link { target } => Part::Link { target },
        Node::Directory => Part::Directory,
    };
    let parts: Vec<_> = local
        .tree()
        .iter()
        .map(|(path, node)| (path, part(node)))
        .collect();
    compose(store, &parts, options)
}

/// What stands at one path of a tree that is put together from several.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// A directory of the parts below it.
    Directory,
    /// A file that was listed there in `local`, with that many bytes.
    File {
        /// What it is read from.
        local: &'a LocalTree,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A symbolic link.
    Link {
        /// What it says.
        target: &'a str,
    },
    /// Something that is stored already, with all that is below it. It is not read.
    Stored {
        /// What it is.
        cid: Cid,
        /// The size of all blocks below it and its own, as its directory has it: [`crate::directory::Entry`].
        dag_bytes: u64,
    },
}

/// Adds a tree that is put together from parts, and returns the CID of the directory that holds them: the
/// one that a tree of the same files has when it is added, if what is stored already was added in the
/// same way. `parts` are sorted by path, parents before what is in them, and have nothing below what is
/// no [`Part::Directory`].
///
/// Errors: as [`directory`], and [`ContentError::Cancelled`].
pub fn compose(
    store: &dyn BlockStore,
    parts: &[(&TreePath, Part<'_>)],
    options: Options<'_>,
) -> Result<Cid, ContentError> {
    let mut quiet = quiet;
    let hook = options.progress.unwrap_or(&mut quiet);
    let version = options.cid_version;
    let mut files = Files {
        // From the last path to the first, as below.
        files: Box::new(parts.iter().rev().filter_map(|(path, part)| match part {
            Part::File { local, .. } => Some((*local, *path)),
            _ => None,
        })),
        current: None,
    };
    let files = leaves::store(store, version, Layout::KUBO, &mut files, hook)?;
    let mut files = files.into_iter();
    let bytes = parts.iter().fold(0_u64, |sum, (_, part)| match part {
        Part::File { bytes, .. } => sum.saturating_add(*bytes),
        _ => sum,
    });
    let entries = parts.iter().rev().map(|(path, part)| (*path, part));
    let root = assemble(store, version, entries, |path, part| {
        let stored = match part {
            Part::File { .. } => files.next().ok_or_else(|| TreeError::Changed {
                path: path.to_string(),
            })?,
            Part::Link { target } => put(store, version, unixfs::link_block(target)?)?,
            Part::Stored { cid, dag_bytes } => Stored {
                cid: *cid,
                file_bytes: 0,
                dag_bytes: *dag_bytes,
            },
            Part::Directory => {
                let path = path.as_str();
                return match hook(Progress { bytes, path }) {
                    ControlFlow::Continue(()) => Ok(None),
                    ControlFlow::Break(()) => Err(ContentError::Cancelled),
                };
            }
        };
        Ok(Some(stored))
    });
    Ok(root?.cid)
}

/// Stores the directories of a tree over what `stored` gives for its files and links. It is asked about each entry, from
/// the last path to the first, and gives nothing for a directory.
fn assemble<'a, T>(
    store: &dyn BlockStore,
    version: CidVersion,
    entries: impl Iterator<Item = (&'a TreePath, T)>,
    mut stored: impl FnMut(&'a TreePath, T) -> Result<Option<Stored>, ContentError>,
) -> Result<Stored, ContentError> {
    let mut gathered: HashMap<TreePath, Vec<(String, Stored)>> = HashMap::new();
    // From the last path to the first: everything in a directory comes before the directory itself.
    for (path, entry) in entries {
        let stored = match stored(path, entry)? {
            Some(stored) => stored,
            None => {
                let entries = gathered.remove(path).unwrap_or_default();
                put_directory(store, version, entries)?
            }
        };
        if let Some((parent, name)) = path.split() {
            gathered
                .entry(parent)
                .or_default()
                .push((name.to_owned(), stored));
        }
    }
    let entries = gathered.remove(&TreePath::root()).unwrap_or_default();
    put_directory(store, version, entries)
}

/// Adds one local file; a link to a file counts as the file. Refuses anything else.
pub fn file(store: &dyn BlockStore, path: &Path) -> Result<Cid, ContentError> {
    file_with(store, path, Options::default())
}

/// As [`file`], in the way that is asked for. Also [`ContentError::Cancelled`].
pub fn file_with(
    store: &dyn BlockStore,
    path: &Path,
    options: Options<'_>,
) -> Result<Cid, ContentError> {
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
    stream_with(store, &mut open, options)
}

/// Adds what `content` gives until it ends, as a file. Refuses more than [`MAX_TOTAL_BYTES`].
pub fn stream(
    store: &dyn BlockStore,
    content: &mut (dyn Read + Send),
) -> Result<Cid, ContentError> {
    stream_with(store, content, Options::default())
}

/// As [`stream`], in the way that is asked for. Also [`ContentError::Cancelled`].
pub fn stream_with(
    store: &dyn BlockStore,
    content: &mut (dyn Read + Send),
    options: Options<'_>,
) -> Result<Cid, ContentError> {
    let mut quiet = quiet;
    let hook = options.progress.unwrap_or(&mut quiet);
    Ok(file_of(store, options.cid_version, Layout::KUBO, content, hook)?.cid)
}

/// The CID that `content` has as a file, without storing anything. Refuses more than
/// [`MAX_TOTAL_BYTES`].
pub fn cid_of_file(content: &[u8]) -> Result<Cid, ContentError> {
    stream(&DryRun, &mut { content })
}

fn quiet(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn file_of(
    store: &dyn BlockStore,
    version: CidVersion,
    layout: Layout,
    content: &mut (dyn Read + Send),
    hook: &mut Hook<'_>,
) -> Result<Stored, ContentError> {
    let mut stream = Stream {
        content,
        read: 0,
        over: false,
    };
    let stored = leaves::store(store, version, layout, &mut stream, hook)?;
    let none = || ContentError::Read(io::ErrorKind::UnexpectedEof.into());
    stored.into_iter().next().ok_or_else(none)
}

/// The files of listed trees.
struct Files<'a> {
    files: Box<dyn Iterator<Item = (&'a LocalTree, &'a TreePath)> + Send + 'a>,
    /// The file that is being read, and where its next chunk begins.
    current: Option<(Arc<LocalFile>, u64)>,
}

impl Source for Files<'_> {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Option<Chunk>, ContentError> {
        let (file, offset) = match self.current.take() {
            Some(current) => current,
            None => match self.files.next() {
                Some((local, path)) => (Arc::new(local.file(path)?), 0),
                None => return Ok(None),
            },
        };
        let end = offset.saturating_add(buffer.len() as u64);
        let ends_file = end >= file.bytes();
        if !ends_file {
            self.current = Some((file.clone(), end));
        }
        Ok(Some(Chunk {
            content: Content::At(file, offset),
            ends_file,
        }))
    }
}

/// One file, read to its end.
struct Stream<'a> {
    content: &'a mut (dyn Read + Send),
    read: u64,
    over: bool,
}

impl Source for Stream<'_> {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Option<Chunk>, ContentError> {
        if self.over {
            return Ok(None);
        }
        let first = self.read == 0;
        let mut filled = 0;
        while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
            match self.content.read(free) {
                Ok(0) => {
                    self.over = true;
                    break;
                }
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ContentError::Read(error)),
            }
        }
        self.read = self.read.saturating_add(filled as u64);
        if self.read > MAX_TOTAL_BYTES {
            return Err(TreeError::TooManyBytes {
                limit: MAX_TOTAL_BYTES,
            }
            .into());
        }
        Ok(Some(Chunk {
            content: if filled == 0 && !first {
                Content::Nothing
            } else {
                Content::Read(filled)
            },
            ends_file: self.over,
        }))
    }
}

fn put_directory(
    store: &dyn BlockStore,
    version: CidVersion,
    mut entries: Vec<(String, Stored)>,
) -> Result<Stored, ContentError> {
    let bytes: usize = entries
        .iter()
        .map(|(name, entry)| name.len() + entry.cid.encoded_len())
        .sum();
    if bytes > MAX_PLAIN_DIRECTORY_BYTES {
        return shards::put(store, version, entries);
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    put(store, version, unixfs::directory_block(&entries)?)
}

fn put(
    store: &dyn BlockStore,
    version: CidVersion,
    node: (Block, Stored),
) -> Result<Stored, ContentError> {
    let (block, stored) = node;
    store.put(&block)?;
    Ok(stored.with_version(version))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::MemoryStore;

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
            over: false,
        };
        let refused = nearly_full.next(&mut [0; 2]).map(drop);
        assert!(matches!(
            refused,
            Err(ContentError::Tree(TreeError::TooManyBytes { .. }))
        ));
    }

    /// A tree of 40 files of 1, 2, … chunks and a byte, most of them more than one thread's share.
    fn tree() -> (tempfile::TempDir, LocalTree, u64) {
        let scratch = tempfile::tempdir().unwrap();
        let mut bytes = 0;
        for n in 0..40_usize {
            let directory = scratch.path().join(format!("usr/d{}", n % 3));
            fs::create_dir_all(&directory).unwrap();
            let content = vec![n as u8; n % 7 * Layout::KUBO.chunk_bytes / 2 + n % 2];
            bytes += content.len() as u64;
            fs::write(directory.join(n.to_string()), content).unwrap();
        }
        let local = LocalTree::open(scratch.path(), &["usr"]).unwrap();
        (scratch, local, bytes)
    }

    #[test]
    fn progress_is_told_to_the_last_byte_and_changes_no_cid() {
        let (_scratch, local, bytes) = tree();
        let mut told = Vec::new();
        let mut hook = |progress: Progress<'_>| {
            told.push((progress.bytes, progress.path.to_owned()));
            ControlFlow::Continue(())
        };
        let options = Options {
            progress: Some(&mut hook),
            ..Options::default()
        };
        let cid = local_tree_with(&DryRun, &local, options).unwrap();
        assert_eq!(cid, local_tree(&MemoryStore::default(), &local).unwrap());
        assert!(told.is_sorted_by_key(|(bytes, _)| *bytes));
        assert_eq!(told.last(), Some(&(bytes, "usr".to_owned())));
        assert!(told.iter().any(|(_, path)| path == "usr/d1/13"));
    }

    #[test]
    fn an_import_that_is_stopped_stores_whole_blocks_alone_and_goes_on_later() {
        let (_scratch, local, _) = tree();
        let whole = local_tree(&DryRun, &local).unwrap();
        let store = MemoryStore::default();
        for after in [0, 1, 20, 70] {
            let mut left = after;
            let mut hook = |_: Progress<'_>| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                left -= 1;
                ControlFlow::Continue(())
            };
            let options = Options {
                progress: Some(&mut hook),
                ..Options::default()
            };
            let stopped = local_tree_with(&store, &local, options);
            assert!(matches!(stopped, Err(ContentError::Cancelled)), "{after}");
            assert!(!store.has(&whole).unwrap());
        }
        assert_eq!(local_tree(&store, &local).unwrap(), whole);
    }

    #[test]
    fn what_the_store_refuses_ends_the_import() {
        struct Full(std::sync::atomic::AtomicU32);
        impl BlockStore for Full {
            fn put(&self, block: &Block) -> Result<(), ContentError> {
                match self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    0..30 => Ok(()),
                    _ => Err(ContentError::BlockMissing { cid: *block.cid() }),
                }
            }
            fn get(&self, _: &Cid) -> Result<Option<Block>, ContentError> {
                Ok(None)
            }
            fn has(&self, _: &Cid) -> Result<bool, ContentError> {
                Ok(false)
            }
        }
        let (_scratch, local, _) = tree();
        let store = Full(0.into());
        let refused = local_tree(&store, &local);
        assert!(matches!(refused, Err(ContentError::BlockMissing { .. })));
        // Each thread may have had one under way.
        assert!(store.0.into_inner() <= 30 + 16);
    }
}
