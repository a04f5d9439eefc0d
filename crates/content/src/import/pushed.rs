//! Content that is handed over piece by piece, by somebody who does not wait for us: a file as its bytes come, a
//! tree as its files come.
//!
//! The CIDs are those that the same tree has when it is imported from a disk. A tree's directories are made when it is
//! finished; what it holds until then is bounded as every tree is.

use std::collections::HashMap;
use std::sync::Arc;

use cid::Cid;

use super::balanced::{Builder, Layout};
use super::{assemble, put};
use crate::tree::{MAX_TOTAL_BYTES, Node, Tree, TreeError, TreePath};
use crate::unixfs::{self, Stored};
use crate::{BlockStore, CidVersion, ContentError};

/// A file that is being written. It holds at most a chunk of its bytes, and some hundred bytes for each chunk that it
/// has stored.
pub struct FileWriter {
    store: Arc<dyn BlockStore>,
    version: CidVersion,
    chunk: Vec<u8>,
    leaves: Vec<Stored>,
    bytes: u64,
}

/// A file that is stored, and may become part of a tree.
#[derive(Clone, Debug)]
pub struct Written(Stored);

impl Written {
    /// Its CID.
    pub fn cid(&self) -> &Cid {
        &self.0.cid
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.file_bytes
    }
}

impl FileWriter {
    /// An empty file.
    pub fn new(store: Arc<dyn BlockStore>, version: CidVersion) -> Self {
        Self {
            store,
            version,
            chunk: Vec::new(),
            leaves: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds bytes at the end. Refuses more than [`MAX_TOTAL_BYTES`] in all. Errors: what the store answers; the file is
    /// of no use then.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ContentError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > MAX_TOTAL_BYTES {
            return Err(TreeError::TooManyBytes {
                limit: MAX_TOTAL_BYTES,
            }
            .into());
        }
        while !bytes.is_empty() {
            let free = Layout::KUBO.chunk_bytes.saturating_sub(self.chunk.len());
            let (now, later) = bytes.split_at(free.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == Layout::KUBO.chunk_bytes {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<Written, ContentError> {
        if !self.chunk.is_empty() || self.leaves.is_empty() {
            self.flush()?;
        }
        let mut leaves = self.leaves.into_iter();
        let first = leaves.next().ok_or(ContentError::Cancelled)?;
        let mut builder = Builder::new(&*self.store, self.version, Layout::KUBO, first);
        leaves.try_for_each(|leaf| builder.push(leaf))?;
        Ok(Written(builder.finish()?))
    }

    fn flush(&mut self) -> Result<(), ContentError> {
        let chunk = std::mem::take(&mut self.chunk);
        let leaf = match self.version {
            CidVersion::V0 => unixfs::leaf_block(&chunk)?,
            CidVersion::V1 => unixfs::raw_leaf(chunk)?,
        };
        self.leaves.push(put(&*self.store, self.version, leaf)?);
        Ok(())
    }
}

/// A tree that is being put together.
#[derive(Debug, Default)]
pub struct TreeWriter {
    tree: Tree,
    files: HashMap<TreePath, Written>,
}

impl TreeWriter {
    /// Adds a file at a path: names with slashes between them. Directories on the way are made. Errors:
    /// [`ContentError::Tree`] for what is no path, is there already, or passes a limit.
    pub fn file(&mut self, path: &str, file: Written) -> Result<(), ContentError> {
        let bytes = file.bytes();
        let path = self.insert(path, Node::File { bytes })?;
        self.files.insert(path, file);
        Ok(())
    }

    /// Adds a directory; one that is there is fine. Errors: as [`TreeWriter::file`].
    pub fn directory(&mut self, path: &str) -> Result<(), ContentError> {
        match self.tree.get(path) {
            Some(Node::Directory) => Ok(()),
            _ => self.insert(path, Node::Directory).map(drop),
        }
    }

    /// Adds a symbolic link. Errors: as [`TreeWriter::file`]; whether it leads out of the tree is asked in the end.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), ContentError> {
        let target = target.to_owned();
        self.insert(path, Node::Link { target }).map(drop)
    }

    /// Stores the links and directories, and returns the CID of the root. Errors: [`ContentError::Tree`] for links that
    /// lead out, [`ContentError::NamesCollide`], and what the store answers.
    pub fn finish(self, store: &dyn BlockStore, version: CidVersion) -> Result<Cid, ContentError> {
        self.tree.check_links()?;
        let mut files = self.files;
        let root = assemble(
            store,
            version,
            self.tree.iter().rev(),
            |path, node| match node {
                Node::Link { target } => put(store, version, unixfs::link_block(target)?).map(Some),
                Node::File { .. } => match files.remove(path) {
                    Some(file) => Ok(Some(file.0)),
                    None => Err(changed(path)),
                },
                Node::Directory => Ok(None),
            },
        );
        Ok(root?.cid)
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<TreePath, ContentError> {
        let mut at = TreePath::root();
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            at = at.child(name)?;
            if names.peek().is_some() && self.tree.get(at.as_str()).is_none() {
                self.tree.insert(at.clone(), Node::Directory)?;
            }
        }
        self.tree.insert(at.clone(), node)?;
        Ok(at)
    }
}

fn changed(path: &TreePath) -> ContentError {
    TreeError::Changed {
        path: path.to_string(),
    }
    .into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;
    use crate::{MemoryStore, import};

    fn written(
        store: &Arc<MemoryStore>,
        version: CidVersion,
        bytes: &[u8],
        piece: usize,
    ) -> Written {
        let mut file = FileWriter::new(store.clone(), version);
        for piece in bytes.chunks(piece.max(1)) {
            file.write(piece).unwrap();
        }
        file.finish().unwrap()
    }

    #[test]
    fn a_file_has_the_cid_of_the_same_bytes_read_as_a_whole() {
        let store = Arc::new(MemoryStore::default());
        for bytes in [0, 1, 262_143, 262_144, 262_145, 700_000] {
            let content: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
            for version in [CidVersion::V0, CidVersion::V1] {
                let options = import::Options {
                    cid_version: version,
                    ..import::Options::default()
                };
                let whole = import::stream_with(&*store, &mut &content[..], options).unwrap();
                for piece in [1000, 262_144, 1 << 20] {
                    let file = written(&store, version, &content, piece);
                    assert_eq!((*file.cid(), file.bytes()), (whole, bytes), "{piece}");
                }
            }
        }
    }

    #[test]
    fn a_tree_has_the_cid_of_the_same_tree_on_a_disk() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join("t").join(path);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("empty")).unwrap();
        fs::write(at("a/b/c"), "c").unwrap();
        fs::write(at("z"), "").unwrap();
        symlink("a/b", at("l")).unwrap();
        let store = Arc::new(MemoryStore::default());
        let disk = import::directory(&*store, scratch.path(), &["t"]).unwrap();

        let mut tree = TreeWriter::default();
        tree.file("t/z", written(&store, CidVersion::V1, b"", 1))
            .unwrap();
        tree.link("t/l", "a/b").unwrap();
        tree.file("t/a/b/c", written(&store, CidVersion::V1, b"c", 1))
            .unwrap();
        tree.directory("t/a").unwrap();
        tree.directory("t/empty").unwrap();
        assert_eq!(tree.finish(&*store, CidVersion::V1).unwrap(), disk);
    }

    #[test]
    fn paths_that_are_none_or_taken_are_refused() {
        let store = Arc::new(MemoryStore::default());
        let file = written(&store, CidVersion::V1, b"x", 1);
        let mut tree = TreeWriter::default();
        tree.file("a", file.clone()).unwrap();
        for path in ["", "/a", "a", "a/b", "..", "b/../c", "b//c", "b/", "b\0"] {
            assert!(tree.file(path, file.clone()).is_err(), "{path:?}");
        }
        tree.link("out", "../x").unwrap();
        assert!(tree.finish(&*store, CidVersion::V1).is_err());
    }

    proptest! {
        #[test]
        fn however_a_file_is_cut_up_it_is_the_same(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            pieces in proptest::collection::vec(1_usize..500, 1..20),
        ) {
            let store = Arc::new(MemoryStore::default());
            let mut file = FileWriter::new(store.clone(), CidVersion::V1);
            let (mut rest, mut pieces) = (&bytes[..], pieces.into_iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(pieces.next().unwrap().min(rest.len()));
                file.write(now).unwrap();
                rest = later;
            }
            prop_assert_eq!(*file.finish().unwrap().cid(), import::cid_of_file(&bytes).unwrap());
        }
    }
}
