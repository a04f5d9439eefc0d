//! A directory of the host that cells may write to, as its owner sees it, and how it is taken into use.
//!
//! What a directory holds already is looked through once. Refused is what could not be held to its
//! bounds later: too much or too deep, in use already, or with something in it that is no file.

use super::books::{Books, Key, MAX_NAMES, NAME_BYTES, Node};
use super::quota::Quota;
use super::tree::{MAX_DEPTH, Tree};
use cap_primitives::fs::read_base_dir;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tokio::task::spawn_blocking;
use wasmtime_wasi::filesystem::Dir;
use wasmtime_wasi::{FsPerms, OpenMode};

/// A directory that cells may write to, held to a quota. Clones are the same directory: cells that
/// share one must be given clones, and then share its account.
///
/// What counts, in bytes: 4 KiB for each name, the size of each file and link in whole blocks of 4 KiB
/// with its holes, and the size of each directory, at least a block. Removing something gives that
/// back, but not before nobody has it open. Giving something a name takes 16 KiB more for a moment,
/// since the directory may have to grow. A tree has at most 1,048,576 names and 64 directories
/// within each other.
///
/// As long as one of these lives nobody else may change the directory: neither the host's other
/// programs nor another `Writable` (of the same directory it is refused; of one inside it cannot be).
/// When the last clone and the last cell with it are gone, everything goes back to the quota, whether
/// or not the files are still there.
#[derive(Clone)]
pub struct Writable {
    pub(super) tree: Arc<Tree>,
}

/// Why a directory cannot be written to by cells.
#[derive(Debug, Error)]
pub enum WritableError {
    /// It cannot be opened or read.
    #[error("cannot use {path} as a writable directory: {reason}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is a [`Writable`] of it already, here or in another process.
    #[error("{path} is in use as a writable directory already")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// What it holds is more than the quota gives.
    #[error("what {path} holds already is more than its quota allows")]
    OverQuota {
        /// The directory.
        path: PathBuf,
    },
    /// It holds too many names.
    #[error("{path} holds more than {limit} names")]
    TooManyNames {
        /// The directory.
        path: PathBuf,
        /// How many it may hold.
        limit: u64,
    },
    /// Its directories are too deep.
    #[error("{path} holds directories more than {limit} deep")]
    TooDeep {
        /// The directory.
        path: PathBuf,
        /// How deep they may be.
        limit: usize,
    },
    /// It holds a device, a socket or a pipe.
    #[error("{path} holds {name}, which is no file, directory or link")]
    Special {
        /// The directory.
        path: PathBuf,
        /// The name of what it holds.
        name: String,
    },
}

/// Why the walk through a tree ended early.
pub(super) enum Stop {
    Io(io::Error),
    OverQuota,
    TooManyNames,
    TooDeep,
    Special(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Writable {
    /// Takes a directory of the host into use. What it holds already is counted, which takes some
    /// microseconds a name, on a blocking thread of the Tokio runtime that has to be there.
    ///
    /// # Errors
    /// See [`WritableError`]. The quota has then lost nothing.
    pub async fn open(
        path: impl Into<PathBuf>,
        quota: Arc<dyn Quota>,
    ) -> Result<Self, WritableError> {
        let path = path.into();
        let named = path.clone();
        match spawn_blocking(move || Self::opened(path, quota)).await {
            Ok(opened) => opened,
            Err(error) => Err(WritableError::Io {
                path: named,
                reason: error.to_string(),
            }),
        }
    }

    /// Waits until no change is under way. After the cells that have this have ended, nothing in the
    /// directory changes any more once this is over, and it can be removed or copied.
    pub async fn settled(&self) {
        drop(self.tree.turn().await);
    }

    fn opened(path: PathBuf, quota: Arc<dyn Quota>) -> Result<Self, WritableError> {
        let failed = |error: io::Error| WritableError::Io {
            path: path.clone(),
            reason: error.to_string(),
        };
        let root = open_directory(&path).map_err(failed)?;
        let mode = OpenMode::READ | OpenMode::WRITE;
        let dir = Dir::new(root, FsPerms::ReadWrite, mode, false);
        match flock(&dir.dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(WritableError::InUse { path }),
            Err(error) => return Err(failed(error.into())),
        }
        let key = Node::of(&dir.dir).map_err(failed)?.key;
        let books = Books::new(quota);
        match count(&dir.dir, &books) {
            Ok(()) => {}
            Err(Stop::Io(error)) => return Err(failed(error)),
            Err(Stop::OverQuota) => return Err(WritableError::OverQuota { path }),
            Err(Stop::TooManyNames) => {
                let limit = MAX_NAMES;
                return Err(WritableError::TooManyNames { path, limit });
            }
            Err(Stop::TooDeep) => {
                let limit = MAX_DEPTH;
                return Err(WritableError::TooDeep { path, limit });
            }
            Err(Stop::Special(name)) => return Err(WritableError::Special { path, name }),
        }
        let tree = Tree::new(dir, key, books);
        Ok(Self {
            tree: Arc::new(tree),
        })
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Takes everything that a directory holds into the account.
pub(super) fn count(root: &File, books: &Books) -> Result<(), Stop> {
    let charge = |bytes| books.reserve(bytes).map_err(|_| Stop::OverQuota);
    charge(Node::of(root)?.contents)?;
    let mut with_several_names: HashSet<Key> = HashSet::new();
    let mut path = vec![read_base_dir(root)?];
    while let Some(directory) = path.last_mut() {
        let Some(entry) = directory.next() else {
            path.pop();
            continue;
        };
        let entry = entry?;
        let metadata = entry.metadata()?;
        if !(metadata.is_dir() || metadata.is_file() || metadata.is_symlink()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            return Err(Stop::Special(name));
        }
        books.name_added().map_err(|_| Stop::TooManyNames)?;
        let node = Node::new(&metadata);
        let known = !node.directory && node.links > 1 && !with_several_names.insert(node.key);
        charge(NAME_BYTES + if known { 0 } else { node.contents })?;
        if node.directory {
            if path.len() > MAX_DEPTH {
                return Err(Stop::TooDeep);
            }
            path.push(read_base_dir(&entry.open_dir()?)?);
        }
    }
    Ok(())
}
