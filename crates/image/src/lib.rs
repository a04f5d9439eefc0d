//! Layers in, one image out.
//!
//! A *layer* is a tree that somebody hands to `ww run`: a directory, a published one, or a CAR file. Of it
//! only the directories in [`FHS`] count; that sources, `target`, `.git` or `.env` lie beside them is usual and
//! makes them no part of anything. An *image* is what several layers come to: the union of their paths, where
//! the later layer wins. It is a list, with for each file where its bytes are, and not a byte is copied: what
//! is read is read from where it is, when it is wanted.
//!
//! The surprising case first: merging is a pure function of what the layers *list*. So a conflict, a bad link
//! or a missing entry is found at once; and a file of a local directory that is written to afterwards is an
//! error for whoever reads it, and never other bytes than were listed. What is published is verified, block
//! by block, when it is read.
//!
//! Refused: a file in one layer where another has a directory, links that leave the FHS directories or
//! go through other links, devices, sockets and fifos, a set of layers without [`ENTRY`], and what passes
//! the limits of [`content::tree`]. Nothing is ever written into a layer; a read-only one will do.
//!
//! In reading order: [`Layer`], [`Image`], [`ImageFile`], [`ImageError`]. Opening layers and reading files
//! blocks, on the disk or on whatever the store of a published layer waits for; the rest is in memory.

mod error;
mod file;
mod layer;
mod merge;
mod root;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use content::read::Cache;
use content::tree::{Node, TreePath};

pub use error::ImageError;
pub use file::ImageFile;
pub use layer::Layer;

/// The directories that make an image, after the Filesystem Hierarchy Standard.
pub const FHS: [&str; 5] = ["boot", "bin", "etc", "usr", "var"];

/// The program that an image starts with.
pub const ENTRY: &str = "boot/main.wasm";

/// The largest entry, in bytes. It is compiled as a whole, in memory that is a multiple of its size;
/// components of whole language runtimes come to some 40 MB.
pub const MAX_ENTRY_BYTES: u64 = 64 * 1024 * 1024;

/// The number of the node that everything is in.
pub const ROOT: u64 = 0;

/// What the blocks that all open files of an image have read last may take together, in bytes: 64 chunks of
/// Kubo's size, so that as many readers that go through files in small pieces hash no block twice.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// The most links that are followed on the way to a file, as on Linux.
const MAX_LINKS: usize = 40;

/// A merged tree. Its nodes have numbers, [`ROOT`] first; a number always means the same node.
pub struct Image {
    layers: Vec<Layer>,
    /// By number.
    entries: Vec<Entry>,
    cache: Arc<Cache>,
}

/// A node of an image.
struct Entry {
    path: TreePath,
    node: Node,
    /// What is in it, if it is a directory, sorted by the bytes of the names.
    children: Vec<(String, u64)>,
    /// The place of the layer that it is from.
    layer: usize,
    /// Whether it is a directory that several layers have.
    is_shared: bool,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.len();
        let mut debug = f.debug_struct("Image");
        debug.field("entries", &entries).finish_non_exhaustive()
    }
}

impl Image {
    /// Merges `layers`, later ones over earlier ones. Takes memory for a list of what they hold, and reads
    /// nothing.
    ///
    /// Errors: [`ImageError::EntryMissing`] and [`ImageError::EntryNotAFile`] for the entry,
    /// [`ImageError::Conflict`] and [`ImageError::Merged`] where layers do not go together.
    pub fn merge(layers: &[Layer]) -> Result<Self, ImageError> {
        let trees: Vec<_> = layers.iter().map(Layer::tree).collect();
        let merged = merge::merge(&trees).map_err(|error| error.name(layers))?;
        check_entry(&merged.tree, layers)?;
        merged
            .tree
            .check_links_below(&FHS)
            .map_err(ImageError::Merged)?;
        Ok(Self {
            layers: layers.to_vec(),
            entries: entries(&merged),
            cache: Arc::new(Cache::new(CACHE_BYTES)),
        })
    }

    /// What this node is.
    pub fn node(&self, number: u64) -> Option<&Node> {
        Some(&self.get(number)?.node)
    }

    /// The node of this name in a directory.
    pub fn child(&self, directory: u64, name: &str) -> Option<u64> {
        let children = &self.get(directory)?.children;
        let place = children.binary_search_by(|(present, _)| present.as_str().cmp(name));
        children.get(place.ok()?).map(|(_, number)| *number)
    }

    /// The entry at this place in a directory, counted from 0: its name and its node. Entries are sorted
    /// by the bytes of their names.
    pub fn child_at(&self, directory: u64, index: usize) -> Option<(&str, u64)> {
        let (name, number) = self.get(directory)?.children.get(index)?;
        Some((name, *number))
    }

    /// Opens a file for reading. Blocks: of a published file the first block is read.
    ///
    /// Errors: [`ImageError::NoSuchFile`] for what is no file, and [`ImageError::Layer`] for what cannot
    /// be opened, or is no longer what was listed.
    pub fn open(&self, number: u64) -> Result<ImageFile, ImageError> {
        let none = || ImageError::no_such_file("");
        let entry = self.get(number).ok_or_else(none)?;
        let &Node::File { bytes } = &entry.node else {
            return Err(ImageError::no_such_file(entry.path.as_str()));
        };
        let layer = self.layers.get(entry.layer).ok_or_else(none)?;
        ImageFile::open(layer, &entry.path, bytes, &self.cache)
    }

    /// The program in [`ENTRY`]. Refuses one of more than [`MAX_ENTRY_BYTES`]. Errors as [`Image::read`].
    pub fn entry(&self) -> Result<Vec<u8>, ImageError> {
        self.read(ENTRY, MAX_ENTRY_BYTES)
    }

    /// Where a path leads, as a cell would name it, with or without the leading slash; links are followed.
    fn find(&self, path: &str) -> Option<u64> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (mut at, mut above, mut links) = (ROOT, Vec::new(), 0);
        let mut ahead = vec![path];
        while let Some(rest) = ahead.pop() {
            // Neither a path nor a link begins anew at the root.
            if rest.starts_with('/') {
                return None;
            }
            let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
            ahead.extend(Some(rest.trim_start_matches('/')).filter(|rest| !rest.is_empty()));
            match name {
                "" | "." => continue,
                ".." => {
                    at = above.pop()?;
                    continue;
                }
                _ => {}
            }
            let child = self.child(at, name)?;
            if let Node::Link { target } = self.node(child)? {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                ahead.push(target);
            } else {
                above.push(at);
                at = child;
            }
        }
        Some(at)
    }

    fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number).ok()?)
    }
}

/// The nodes of a merged tree, the root first.
fn entries(merged: &merge::Merged) -> Vec<Entry> {
    let mut entries = vec![Entry {
        path: TreePath::root(),
        node: Node::Directory,
        children: Vec::new(),
        layer: 0,
        is_shared: true,
    }];
    let mut numbers: HashMap<TreePath, usize> = HashMap::from([(TreePath::root(), 0)]);
    // Parents come before what is in them.
    for (path, node) in merged.tree.iter() {
        let (Some(origin), Some((parent, name))) = (merged.origins.get(path), path.split()) else {
            continue;
        };
        let number = entries.len();
        if let Some(parent) = numbers.get(&parent).and_then(|at| entries.get_mut(*at)) {
            parent.children.push((name.to_owned(), number as u64));
        }
        if *node == Node::Directory {
            numbers.insert(path.clone(), number);
        }
        entries.push(Entry {
            path: path.clone(),
            node: node.clone(),
            children: Vec::new(),
            layer: origin.layer,
            is_shared: origin.is_shared,
        });
    }
    for entry in &mut entries {
        entry.children.sort();
    }
    entries
}

/// The entry is a file and no link, so that which program runs can be read off the layers.
fn check_entry(tree: &content::tree::Tree, layers: &[Layer]) -> Result<(), ImageError> {
    match tree.get(ENTRY) {
        Some(Node::File { .. }) => Ok(()),
        Some(_) => Err(ImageError::EntryNotAFile),
        None => {
            let layers = layers.iter().map(|layer| layer.name().to_owned()).collect();
            Err(ImageError::EntryMissing { layers })
        }
    }
}
