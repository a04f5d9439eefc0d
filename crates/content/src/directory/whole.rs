//! A published tree as a list: the counterpart of a [`LocalTree`](crate::tree::LocalTree), held to the same
//! rules of names, links and limits.

use std::collections::HashMap;

use cid::Cid;

use super::{Entry, list_within};
use crate::budget::Budget;
use crate::tree::{Node, Tree, TreeError, TreePath};
use crate::{BlockStore, ContentError};

/// A listed tree, and under which name each of its entries is stored.
#[derive(Debug)]
pub struct PublishedTree {
    tree: Tree,
    stored: HashMap<TreePath, Published>,
}

/// How an entry of a published tree is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its name.
    pub cid: Cid,
    /// As [`Entry::dag_bytes`].
    pub dag_bytes: u64,
}

impl PublishedTree {
    /// Lists what is below the names `tops` in the directory `cid`, and reads no file for that which is
    /// one plain block. Whatever else is in the directory is not looked at; a name that is not there is
    /// passed over. Links must stay below `tops`.
    ///
    /// Errors: as [`list`](super::list), and [`ContentError::Tree`] for whatever a local tree would be
    /// refused for.
    pub fn list(store: &dyn BlockStore, cid: &Cid, tops: &[&str]) -> Result<Self, ContentError> {
        let mut budget = Budget::new(*cid);
        let mut listed = Self {
            tree: Tree::default(),
            stored: HashMap::new(),
        };
        let mut waiting = vec![(TreePath::root(), *cid)];
        while let Some((parent, cid)) = waiting.pop() {
            for entry in list_within(store, &cid, &mut budget)? {
                let Entry {
                    name,
                    cid,
                    node,
                    dag_bytes,
                } = entry;
                if parent.is_root() && !tops.contains(&name.as_str()) {
                    continue;
                }
                let path = parent.child(&name)?;
                match node {
                    Node::Directory => waiting.push((path.clone(), cid)),
                    _ if parent.is_root() => {
                        return Err(TreeError::TopNotADirectory { name }.into());
                    }
                    _ => {}
                }
                let published = Published { cid, dag_bytes };
                listed.stored.insert(path.clone(), published);
                listed.tree.insert(path, node)?;
            }
        }
        listed.tree.check_links_below(tops)?;
        Ok(listed)
    }

    /// What was listed.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How the entry at `path` is stored, names with slashes between them.
    pub fn stored(&self, path: &str) -> Option<Published> {
        self.stored.get(path).copied()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{MemoryStore, import};

    #[test]
    fn a_published_tree_lists_as_the_local_one_that_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        for directory in ["usr/lib", "etc", "src"] {
            fs::create_dir_all(scratch.path().join(directory)).unwrap();
        }
        fs::write(scratch.path().join("usr/lib/a"), "hello").unwrap();
        fs::write(scratch.path().join("src/main"), "beside").unwrap();
        symlink("../usr/lib/a", scratch.path().join("etc/a")).unwrap();
        let store = MemoryStore::default();
        let local = crate::tree::LocalTree::open(scratch.path(), &["usr", "etc"]).unwrap();
        let all = import::directory(&store, scratch.path(), &["usr", "etc", "src"]).unwrap();
        let listed = PublishedTree::list(&store, &all, &["usr", "etc", "var"]).unwrap();
        assert_eq!(listed.tree(), local.tree());
        let cid = import::cid_of_file(b"hello").unwrap();
        let stored = listed.stored("usr/lib/a").unwrap();
        assert_eq!(stored, Published { cid, dag_bytes: 5 });
        assert_eq!(listed.stored("src"), None);
    }

    #[test]
    fn a_top_that_is_no_directory_and_links_that_leave_are_refused() {
        let store = MemoryStore::default();
        let file = import::stream(&store, &mut &b"x"[..]).unwrap();
        let path = TreePath::root().child("usr").unwrap();
        let top = import::Part::Stored {
            cid: file,
            dag_bytes: 1,
        };
        let options = import::Options::default;
        let root = import::compose(&store, &[(&path, top)], options()).unwrap();
        let refused = PublishedTree::list(&store, &root, &["usr"]).unwrap_err();
        assert!(matches!(
            refused,
            ContentError::Tree(TreeError::TopNotADirectory { .. })
        ));
        let below = path.child("l").unwrap();
        let target = "../src";
        let parts = [
            (&path, import::Part::Directory),
            (&below, import::Part::Link { target }),
        ];
        let root = import::compose(&store, &parts, options()).unwrap();
        let refused = PublishedTree::list(&store, &root, &["usr"]).unwrap_err();
        assert!(matches!(
            refused,
            ContentError::Tree(TreeError::LinkLeaves { .. })
        ));
    }
}
