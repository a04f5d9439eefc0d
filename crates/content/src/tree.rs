//! A tree of files as a list: what is listed from a local directory before it is added or merged, and
//! what is planned from blocks before anything is written.
//!
//! A [`Tree`] knows names, sizes and links and no contents, so the rules that keep a hostile tree in its
//! place are plain functions over it, the same for every direction: names ([`TreePath`]), links
//! ([`Tree::check_links`]) and limits. [`LocalTree`] is a tree together with the open directory it was
//! listed from; [`write_tree`] puts one on the disk.
//!
//! Refused: names that are no names (`.`, `..`, `/`, NUL, empty, not UTF-8), links that are absolute or
//! lead out, links that go through other links, devices, sockets and fifos, and whatever passes a limit.
//! Not carried: owners, times, modes and hard links, as in UnixFS; a file is its bytes.

mod error;
mod links;
mod local;
mod write;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

pub use error::TreeError;
pub use local::{Hidden, LocalFile, LocalTree};
pub use write::write_tree;

/// The most files, directories and links in a tree. Ten times the largest system image that we know of;
/// the list of that many is some 20 MB.
pub const MAX_ENTRIES: usize = 100_000;
/// The most names in a path. Package trees reach 20.
pub const MAX_DEPTH: usize = 64;
/// The longest name, in bytes: what Linux and macOS file systems can hold.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest path, in bytes. Bounds, with [`MAX_ENTRIES`], the list of a hostile tree to 100 MB.
pub const MAX_PATH_BYTES: usize = 1024;
/// The most bytes in all files of a tree together: an image that a laptop can still copy.
pub const MAX_TOTAL_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// The place of an entry: names from the root of its tree. The empty path is the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

impl TreePath {
    /// The root of a tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of `name` in this directory. Refuses what is no name, and paths beyond [`MAX_DEPTH`]
    /// or [`MAX_PATH_BYTES`].
    pub fn child(&self, name: &str) -> Result<Self, TreeError> {
        if let Some(why) = name_fault(name) {
            return Err(TreeError::NameInvalid {
                directory: self.0.clone(),
                name: name.chars().take(MAX_NAME_BYTES).collect(),
                why,
            });
        }
        if self.depth() == MAX_DEPTH {
            return Err(TreeError::TooDeep {
                path: self.0.clone(),
                limit: MAX_DEPTH,
            });
        }
        if self.0.len() + 1 + name.len() > MAX_PATH_BYTES {
            return Err(TreeError::PathTooLong {
                path: self.0.clone(),
                limit: MAX_PATH_BYTES,
            });
        }
        if self.is_root() {
            return Ok(Self(name.to_owned()));
        }
        Ok(Self(format!("{}/{name}", self.0)))
    }

    /// The directory that this is in, and its name there; `None` for the root.
    pub fn split(&self) -> Option<(Self, &str)> {
        if self.is_root() {
            return None;
        }
        let (parent, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        Some((Self(parent.to_owned()), name))
    }

    /// The names from the root.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Whether this is the root of its tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names with slashes between them; a relative path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn depth(&self) -> usize {
        self.names().count()
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory; what is in it are entries of their own.
    Directory,
    /// A file of that many bytes.
    File {
        /// Its size in bytes.
        bytes: u64,
    },
    /// A symbolic link.
    Link {
        /// What it says, as written.
        target: String,
    },
}

/// Entries by path, parents before what is in them. Every entry's parent is a directory of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<TreePath, Node>,
    bytes: u64,
}

impl Tree {
    /// Adds an entry. Refuses one that is there already, one whose parent is not a directory of the
    /// tree, and what passes [`MAX_ENTRIES`] or [`MAX_TOTAL_BYTES`]. The root needs no entry.
    pub fn insert(&mut self, path: TreePath, node: Node) -> Result<(), TreeError> {
        let parent = path.split().map(|(parent, _)| parent);
        let in_directory = parent.is_some_and(|parent| {
            parent.is_root() || self.get(parent.as_str()) == Some(&Node::Directory)
        });
        if !in_directory {
            return Err(TreeError::NotInADirectory { path: path.0 });
        }
        if self.entries.contains_key(&path) {
            return Err(TreeError::Duplicate { path: path.0 });
        }
        if self.entries.len() == MAX_ENTRIES {
            return Err(TreeError::TooManyEntries { limit: MAX_ENTRIES });
        }
        if let Node::File { bytes } = node {
            self.bytes = self
                .bytes
                .checked_add(bytes)
                .filter(|total| *total <= MAX_TOTAL_BYTES)
                .ok_or(TreeError::TooManyBytes {
                    limit: MAX_TOTAL_BYTES,
                })?;
        }
        self.entries.insert(path, node);
        Ok(())
    }

    /// The entry at `path`, names with slashes between them.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.entries.get(path)
    }

    /// All entries by path, parents before what is in them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&TreePath, &Node)> {
        self.entries.iter()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The size of all files together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Says what keeps `name` from being the name of one file in one directory, if anything.
pub(crate) fn name_fault(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a name is empty"),
        "." | ".." => Some("`.` and `..` are no names"),
        _ if name.contains('/') => Some("a name contains a slash"),
        _ if name.contains('\0') => Some("a name contains NUL"),
        _ if name.len() > MAX_NAME_BYTES => Some("a name is longer than 255 bytes"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_names_become_children() {
        for name in ["", ".", "..", "a/b", "/", "a\0"] {
            assert!(TreePath::root().child(name).is_err(), "{name:?}");
        }
        for name in ["a", "...", " ", "日本語", "-rf", "a\\b"] {
            assert!(TreePath::root().child(name).is_ok(), "{name:?}");
        }
        assert!(
            TreePath::root()
                .child(&"n".repeat(MAX_NAME_BYTES + 1))
                .is_err()
        );
    }

    #[test]
    fn depth_and_length_have_limits() {
        let mut path = TreePath::root();
        for _ in 0..MAX_DEPTH {
            path = path.child("d").unwrap();
        }
        assert!(matches!(path.child("d"), Err(TreeError::TooDeep { .. })));
        let name = "n".repeat(MAX_NAME_BYTES);
        let mut path = TreePath::root();
        for _ in 0..4 {
            path = path.child(&name).unwrap();
        }
        assert!(matches!(
            path.child("d"),
            Err(TreeError::PathTooLong { .. })
        ));
    }

    #[test]
    fn an_entry_needs_a_directory_to_be_in_and_a_place_of_its_own() {
        let top = TreePath::root().child("a").unwrap();
        let mut tree = Tree::default();
        assert!(tree.insert(TreePath::root(), Node::Directory).is_err());
        assert!(
            tree.insert(top.child("b").unwrap(), Node::Directory)
                .is_err()
        );
        tree.insert(top.clone(), Node::File { bytes: 1 }).unwrap();
        assert!(
            tree.insert(top.child("b").unwrap(), Node::Directory)
                .is_err()
        );
        assert!(matches!(
            tree.insert(top, Node::Directory),
            Err(TreeError::Duplicate { .. })
        ));
    }

    #[test]
    fn entries_and_bytes_have_limits() {
        let mut tree = Tree::default();
        let at = |n: usize| TreePath::root().child(&n.to_string()).unwrap();
        tree.insert(
            at(0),
            Node::File {
                bytes: MAX_TOTAL_BYTES,
            },
        )
        .unwrap();
        for bytes in [1, u64::MAX] {
            let refused = tree.insert(at(1), Node::File { bytes });
            assert!(matches!(refused, Err(TreeError::TooManyBytes { .. })));
        }
        for n in 1..MAX_ENTRIES {
            tree.insert(at(n), Node::Directory).unwrap();
        }
        let refused = tree.insert(at(MAX_ENTRIES), Node::Directory);
        assert!(matches!(refused, Err(TreeError::TooManyEntries { .. })));
    }
}
