//! What a cell sees as `/`: a tree that it can read and nobody can change, served by an object.
//!
//! Nothing of the host's filesystem is behind it. Whoever starts a cell hands it an [`ImageTree`], which
//! knows the whole of its own structure and answers for it from memory; only the bytes of a file may have
//! to be waited for, from a disk or from another machine. This crate knows neither where they are nor how
//! they are checked.
//!
//! Refused, whatever the tree holds: paths that leave the directory they start from, by `..`, by an
//! absolute path or by a link; chains of links without end; and every change, with `read-only`.
//!
//! - [`ImageTree`], [`ImageNode`], [`ImageFile`]: what is served.
//! - [`MemoryImage`]: the simplest of them.
//! - `walk`: from a path to a node.
//! - `seen`: what a guest has open, and `listing`, what it is listing.
//! - `input`: streams that read a file; `turns`: how many reads of a cell keep a thread.

mod input;
mod listing;
mod memory;
mod seen;
mod turns;
mod walk;

pub(super) use input::Input;
pub(super) use listing::Listing;
pub use memory::MemoryImage;
pub(super) use seen::Seen;
pub(super) use turns::Turns;

use std::io;
use std::sync::Arc;

/// The number of the node that a cell sees as `/`.
pub const IMAGE_ROOT: u64 = 0;

/// A tree of directories, files and links that does not change. Nodes have numbers, [`IMAGE_ROOT`] is a
/// directory, and a number that was told once means the same node for ever.
///
/// All but [`open`](Self::open) is asked on threads that run guests, and has to be answered from memory, at
/// once. A number or an index that the tree does not have is answered with `None`.
pub trait ImageTree: Send + Sync + 'static {
    /// What this node is.
    fn node(&self, number: u64) -> Option<ImageNode<'_>>;

    /// The node of this name in a directory. Asked for whatever a guest calls a name, except the empty
    /// one, `.`, `..`, and those with a slash in them.
    fn child(&self, directory: u64, name: &str) -> Option<u64>;

    /// The entry at this place in a directory, counted from 0: its name and its node. The order is the
    /// same at each listing.
    fn entry(&self, directory: u64, index: usize) -> Option<(&str, u64)>;

    /// Makes a file ready for reading; what is open counts as one of the cell's descriptors. May block.
    ///
    /// # Errors
    /// Whatever keeps it from being read. The guest is told the kind, as an error code, and no more.
    fn open(&self, file: u64) -> io::Result<Arc<dyn ImageFile>>;
}

/// What a node of an [`ImageTree`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageNode<'a> {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Its size in bytes. Nothing is read beyond it.
        bytes: u64,
    },
    /// A symbolic link.
    Link {
        /// What it says. It is followed inside the tree only, whatever it says.
        target: &'a str,
    },
}

/// The bytes of a file of an [`ImageTree`].
pub trait ImageFile: Send + Sync + 'static {
    /// Reads bytes from `offset` on into the front of `buffer`: at least one, unless `offset` is at the end
    /// of the file or beyond. Returns how many. May block.
    ///
    /// # Errors
    /// Whatever keeps it from being read. After one, other reads may go well.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// As [`read_at`](Self::read_at), if the bytes are at hand, and `None` otherwise. Asked on threads that
    /// run guests, so it must not block. Default: nothing is at hand.
    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let _ = (offset, buffer);
        None
    }
}
