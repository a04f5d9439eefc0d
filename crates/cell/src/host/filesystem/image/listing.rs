//! A directory of the image as it is being listed: a place in it, and nothing of what it holds.

use super::seen::kind;
use super::{ImageNode, ImageTree};
use std::sync::Arc;
use wasmtime_wasi::p2::bindings::filesystem::types::DirectoryEntry;

/// Lists a directory, an entry at a time.
pub(in super::super) struct Listing {
    image: Arc<dyn ImageTree>,
    directory: u64,
    next: usize,
}

impl Listing {
    pub(super) fn new(image: Arc<dyn ImageTree>, directory: u64) -> Self {
        Self {
            image,
            directory,
            next: 0,
        }
    }

    /// The next entry, unless that was the last.
    pub(in super::super) fn next(&mut self) -> Option<DirectoryEntry> {
        let (name, number) = self.image.entry(self.directory, self.next)?;
        self.next += 1;
        let node = self.image.node(number).unwrap_or(ImageNode::Directory);
        Some(DirectoryEntry {
            type_: kind(node),
            name: name.to_owned(),
        })
    }
}
