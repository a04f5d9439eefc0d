//! A tree of files that one or several cells change, and what they have open in it.
//!
//! All changes to one tree are made one after another, each whole with its accounting, by closures on
//! Tokio's blocking threads. A change that has begun is finished even if the cell that asked for it is
//! killed, so the account and the disk agree whatever happens; one that has not is forgotten. Waiting
//! for its turn a change keeps no thread, so a tree never has more than one of them.

use super::books::{Books, Key, Node};
use super::descriptors::Held;
use std::fs::File;
use std::io;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use wasmtime_wasi::filesystem::{self, Descriptor, Dir};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi::{FsPerms, OpenMode};

/// Directories within each other. Whatever removes or copies a tree keeps something open for each, so
/// a deeper one could be made by a guest and removed by nobody.
pub(super) const MAX_DEPTH: usize = 64;

/// What clones of a [`Writable`](super::Writable) share.
pub(super) struct Tree {
    dir: Dir,
    /// The root's.
    pub(super) key: Key,
    pub(super) books: Books,
    turn: Arc<Mutex<()>>,
}

/// A change under way. Dropped, it is forgotten unless it has begun.
pub(super) type Underway<T> = AbortOnDropJoinHandle<Result<T, ErrorCode>>;

impl Tree {
    pub(super) fn new(dir: Dir, key: Key, books: Books) -> Self {
        Self {
            dir,
            key,
            books,
            turn: Arc::default(),
        }
    }

    /// Has a change made when it is its turn, on a blocking thread.
    pub(super) fn start<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&Arc<Tree>) -> Result<T, ErrorCode> + Send + 'static,
    ) -> Underway<T> {
        let tree = self.clone();
        let change = move |turn: OwnedMutexGuard<()>| {
            let result = change(&tree);
            drop(turn);
            result
        };
        let task = match self.turn.clone().try_lock_owned() {
            Ok(turn) => spawn_blocking(move || change(turn)),
            Err(_) => {
                let turn = self.turn();
                tokio::spawn(async move {
                    let turn = turn.await;
                    let done = spawn_blocking(move || change(turn)).await;
                    done.unwrap_or(Err(ErrorCode::Io))
                })
            }
        };
        task.into()
    }

    /// Keeps changes away as long as it is held.
    pub(super) fn turn(&self) -> impl Future<Output = OwnedMutexGuard<()>> + Send + 'static {
        self.turn.clone().lock_owned()
    }
}

/// Something that is open. As long as one of these is there, it counts.
pub(super) struct Opened {
    pub(super) tree: Arc<Tree>,
    pub(super) descriptor: Descriptor,
    key: Key,
    /// What it took to open it: nothing for the root. Goes after the descriptor.
    _held: Option<Held>,
}

impl Opened {
    /// To be made in the tree's turn, so that nothing is removed between opening it and this.
    pub(super) fn new(
        tree: &Arc<Tree>,
        file: File,
        mode: OpenMode,
        held: Held,
    ) -> io::Result<Arc<Self>> {
        let node = Node::of(&file)?;
        let perms = FsPerms::ReadWrite;
        tree.books.opened(node.key);
        Ok(Arc::new(Self {
            tree: tree.clone(),
            descriptor: if node.directory {
                Descriptor::Dir(Dir::new(file, perms, mode, false))
            } else {
                Descriptor::File(filesystem::File::new(file, perms, mode, false))
            },
            key: node.key,
            _held: Some(held),
        }))
    }

    /// The root, which cannot be removed and needs no turn.
    pub(super) fn root(tree: &Arc<Tree>) -> Arc<Self> {
        tree.books.opened(tree.key);
        Arc::new(Self {
            tree: tree.clone(),
            descriptor: Descriptor::Dir(tree.dir.clone()),
            key: tree.key,
            _held: None,
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.descriptor, Descriptor::Dir(_))
    }

    pub(super) fn file(&self) -> &File {
        match &self.descriptor {
            Descriptor::File(file) => &file.file,
            Descriptor::Dir(dir) => &dir.dir,
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.tree.books.closed(self.key, self.file());
    }
}
