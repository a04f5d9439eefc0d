//! A tree in a local directory that may change, or be changed against us, while we read it.
//!
//! Every step opens one name in an open directory and follows no link, so that whatever is swapped
//! underneath, the walk stays below the directory that was opened first. A file is the one that was listed,
//! with the size and the time of change that it had, or it is [`TreeError::Changed`]. Nothing is written.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, FileExt, FileType, FileTypeExt, Metadata, MetadataExt, OpenOptions};

use super::{Node, Tree, TreeError, TreePath, name_fault};

/// How much of a file is copied at a time, in bytes. What `cp` uses.
const COPY_BYTES: usize = 128 * 1024;

/// A listed tree and the open directory that it is read from.
#[derive(Debug)]
pub struct LocalTree {
    root: Dir,
    tree: Tree,
    stamps: HashMap<TreePath, Stamp>,
}

/// By which a file is known again. A file that is written to within one tick of the host's clock, some
/// milliseconds, and keeps its size, is not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

impl LocalTree {
    /// Lists what is below the names `tops` in the directory `path`. Whatever else is in it is not even
    /// looked at; a name that is not there is passed over. Links must stay below `tops`.
    ///
    /// Errors: [`TreeError::Missing`], [`TreeError::NotADirectory`], [`TreeError::Unreadable`] for the path
    /// itself, and every refusal of names, links, kinds and limits for what is in it.
    pub fn open(path: &Path, tops: &[&str]) -> Result<Self, TreeError> {
        let mut listed = Self {
            root: open_root(path)?,
            tree: Tree::default(),
            stamps: HashMap::new(),
        };
        for name in tops {
            if name_fault(name).is_some() {
                TreePath::root().child(name)?;
            }
            match listed.root.symlink_metadata(name) {
                Ok(found) if found.is_dir() => {
                    let top = TreePath::root().child(name)?;
                    listed.tree.insert(top.clone(), Node::Directory)?;
                    listed.list(top, Hidden::Listed)?;
                }
                Ok(_) => {
                    return Err(TreeError::TopNotADirectory {
                        name: (*name).to_owned(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(TreeError::io(name, "looking")(error)),
            }
        }
        listed.tree.check_links_below(tops)?;
        Ok(listed)
    }

    /// Lists all that is in the directory `path`, or all whose names do not begin with a dot. Errors: as
    /// [`LocalTree::open`].
    pub fn whole(path: &Path, hidden: Hidden) -> Result<Self, TreeError> {
        let mut listed = Self {
            root: open_root(path)?,
            tree: Tree::default(),
            stamps: HashMap::new(),
        };
        listed.list(TreePath::root(), hidden)?;
        listed.tree.check_links()?;
        Ok(listed)
    }

    /// What was listed.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Copies a listed file into `writer`, a piece at a time. Errors as [`LocalTree::file`] and
    /// [`LocalFile::read_at`] do, and if `writer` does.
    pub fn copy(&self, path: &TreePath, writer: &mut dyn Write) -> Result<(), TreeError> {
        let file = self.file(path)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0_u64;
        while offset < file.bytes() {
            let read = file.read_at(offset, &mut buffer)?;
            writer
                .write_all(buffer.get(..read).unwrap_or_default())
                .map_err(TreeError::io(path.as_str(), "writing"))?;
            offset = offset.saturating_add(read as u64);
        }
        file.check_end()
    }

    /// Opens a listed file for reading. Errors if it is no longer that file.
    pub fn file(&self, path: &TreePath) -> Result<LocalFile, TreeError> {
        let changed = || TreeError::Changed {
            path: path.to_string(),
        };
        let stamp = *self.stamps.get(path).ok_or_else(changed)?;
        let (parent, name) = path.split().ok_or_else(changed)?;
        let directory = open_directory(&self.root, &parent)?;
        // Without `nonblock`, a fifo put in the file's place would hold us here for ever.
        let mut options = OpenOptions::new();
        options.read(true).follow(FollowSymlinks::No).nonblock(true);
        let file = directory
            .open_with(name, &options)
            .map_err(TreeError::io(path.as_str(), "opening"))?;
        let found = file
            .metadata()
            .map_err(TreeError::io(path.as_str(), "looking"))?;
        if !found.is_file() || Stamp::of(&found) != stamp {
            return Err(changed());
        }
        Ok(LocalFile {
            file,
            stamp,
            path: path.to_string(),
        })
    }
}

/// What becomes of names that begin with a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// They are names like any other.
    Listed,
    /// They are not looked at.
    PassedOver,
}

/// An open file that has exactly as many bytes as were listed, or is refused when it is read. Any number of
/// threads may read at once.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    stamp: Stamp,
    path: String,
}

impl LocalFile {
    /// Its path in the tree.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its size in bytes, as listed.
    pub fn bytes(&self) -> u64 {
        self.stamp.bytes
    }

    /// Fills the front of `buffer` with what stands at `offset`, as far as the listed end, and returns how
    /// many bytes that are. [`TreeError::Changed`] if the file has become shorter.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TreeError> {
        let left = usize::try_from(self.bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let into = buffer.get_mut(..wanted).unwrap_or_default();
        match self.file.read_exact_at(into, offset) {
            Ok(()) => Ok(wanted),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.changed()),
            Err(error) => Err(TreeError::io(&self.path, "reading")(error)),
        }
    }

    /// [`TreeError::Changed`] if the file has become longer.
    pub fn check_end(&self) -> Result<(), TreeError> {
        loop {
            match self.file.read_at(&mut [0], self.bytes()) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(self.changed()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TreeError::io(&self.path, "reading")(error)),
            }
        }
    }

    /// [`TreeError::Changed`] if it has been written to since it was listed. What was read before this is
    /// what was listed.
    pub fn check_unchanged(&self) -> Result<(), TreeError> {
        let found = self.file.metadata();
        match found.map_err(TreeError::io(&self.path, "looking"))? {
            found if Stamp::of(&found) == self.stamp => Ok(()),
            _ => Err(self.changed()),
        }
    }

    fn changed(&self) -> TreeError {
        TreeError::Changed {
            path: self.path.clone(),
        }
    }
}

fn open_root(path: &Path) -> Result<Dir, TreeError> {
    Dir::open_ambient_dir(path, ambient_authority()).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TreeError::Missing {
            path: path.to_owned(),
        },
        io::ErrorKind::NotADirectory => TreeError::NotADirectory {
            path: path.to_owned(),
        },
        _ => TreeError::Unreadable {
            path: path.to_owned(),
            source,
        },
    })
}

/// Opens a directory below `root`, one name after the other, following no link.
fn open_directory(root: &Dir, path: &TreePath) -> Result<Dir, TreeError> {
    let failed = |error| TreeError::io(path.as_str(), "opening")(error);
    path.names()
        .try_fold(root.try_clone().map_err(failed)?, |directory, name| {
            directory.open_dir_nofollow(name).map_err(failed)
        })
}

impl LocalTree {
    /// Lists everything below `top`. Directories wait by path, not opened, so that a wide tree
    /// does not use up the file descriptors.
    fn list(&mut self, top: TreePath, hidden: Hidden) -> Result<(), TreeError> {
        let mut waiting = vec![top];
        while let Some(path) = waiting.pop() {
            let directory = open_directory(&self.root, &path)?;
            let failed = |error| TreeError::io(path.as_str(), "listing")(error);
            for entry in directory.entries().map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let os_name = entry.file_name();
                if hidden == Hidden::PassedOver && os_name.as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                let not_utf8 = || TreeError::NotUtf8 {
                    path: format!("{path}/{}", os_name.to_string_lossy()),
                };
                let at = path.child(os_name.to_str().ok_or_else(not_utf8)?)?;
                let found = directory
                    .symlink_metadata(&os_name)
                    .map_err(TreeError::io(at.as_str(), "looking"))?;
                let kind = found.file_type();
                let node = if kind.is_dir() {
                    waiting.push(at.clone());
                    Node::Directory
                } else if kind.is_file() {
                    self.stamps.insert(at.clone(), Stamp::of(&found));
                    Node::File { bytes: found.len() }
                } else if kind.is_symlink() {
                    let target = directory
                        .read_link_contents(&os_name)
                        .map_err(TreeError::io(at.as_str(), "reading the link"))?;
                    Node::Link {
                        target: target.to_str().ok_or_else(not_utf8)?.to_owned(),
                    }
                } else {
                    return Err(TreeError::SpecialFile {
                        path: at.to_string(),
                        kind: special(kind),
                    });
                };
                self.tree.insert(at, node)?;
            }
        }
        Ok(())
    }
}

fn special(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    fn scratch() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("usr")).unwrap();
        scratch
    }

    fn read_all(local: &LocalTree, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        let mut all = Vec::new();
        local.copy(path, &mut all)?;
        Ok(all)
    }

    #[test]
    fn only_the_named_directories_are_listed() {
        let scratch = scratch();
        fs::write(scratch.path().join(".env"), "SECRET").unwrap();
        fs::create_dir(scratch.path().join("target")).unwrap();
        fs::write(scratch.path().join("usr/a"), "hello").unwrap();
        let local = LocalTree::open(scratch.path(), &["usr", "var"]).unwrap();
        let listed: Vec<_> = local.tree().iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(listed, ["usr", "usr/a"]);
        let file = TreePath::root().child("usr").unwrap().child("a").unwrap();
        assert_eq!(read_all(&local, &file).unwrap(), b"hello");
        let mut middle = [0; 3];
        assert_eq!(
            local.file(&file).unwrap().read_at(3, &mut middle).unwrap(),
            2
        );
        assert_eq!(&middle[..2], b"lo");
    }

    #[test]
    fn a_whole_directory_is_listed_with_or_without_what_is_hidden() {
        let scratch = scratch();
        fs::write(scratch.path().join(".env"), "SECRET").unwrap();
        fs::create_dir(scratch.path().join("usr/.git")).unwrap();
        fs::write(scratch.path().join("usr/a"), "hello").unwrap();
        fs::write(scratch.path().join("b"), "").unwrap();
        for (hidden, names) in [
            (Hidden::PassedOver, &["b", "usr", "usr/a"][..]),
            (Hidden::Listed, &[".env", "b", "usr", "usr/.git", "usr/a"]),
        ] {
            let local = LocalTree::whole(scratch.path(), hidden).unwrap();
            let listed: Vec<_> = local.tree().iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(listed, names);
        }
        symlink("../key", scratch.path().join("key")).unwrap();
        let refused = LocalTree::whole(scratch.path(), Hidden::PassedOver);
        assert!(matches!(refused, Err(TreeError::LinkLeaves { .. })));
    }

    #[test]
    fn a_missing_path_and_a_file_are_refused_by_name() {
        let scratch = scratch();
        let missing = LocalTree::open(&scratch.path().join("nope"), &["usr"]);
        assert!(matches!(missing, Err(TreeError::Missing { .. })));
        fs::write(scratch.path().join("file"), "").unwrap();
        let file = LocalTree::open(&scratch.path().join("file"), &["usr"]);
        assert!(matches!(file, Err(TreeError::NotADirectory { .. })));
    }

    #[test]
    fn a_top_that_is_a_link_or_a_file_is_refused() {
        let scratch = scratch();
        symlink("usr", scratch.path().join("bin")).unwrap();
        fs::write(scratch.path().join("etc"), "").unwrap();
        for top in ["bin", "etc"] {
            let refused = LocalTree::open(scratch.path(), &["usr", top]);
            assert!(
                matches!(refused, Err(TreeError::TopNotADirectory { .. })),
                "{top}"
            );
        }
    }

    #[test]
    fn fifos_and_sockets_are_refused() {
        let scratch = scratch();
        let at = scratch.path().join("usr/special");
        let _socket = UnixListener::bind(&at).unwrap();
        let refused = LocalTree::open(scratch.path(), &["usr"]);
        assert!(matches!(
            refused,
            Err(TreeError::SpecialFile { kind: "socket", .. })
        ));
        fs::remove_file(&at).unwrap();
        assert!(Command::new("mkfifo").arg(&at).status().unwrap().success());
        let refused = LocalTree::open(scratch.path(), &["usr"]);
        assert!(matches!(
            refused,
            Err(TreeError::SpecialFile { kind: "fifo", .. })
        ));
    }

    #[test]
    fn names_that_are_not_utf8_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        let scratch = scratch();
        fs::write(
            scratch
                .path()
                .join("usr")
                .join(std::ffi::OsStr::from_bytes(b"a\xff")),
            "",
        )
        .unwrap();
        let refused = LocalTree::open(scratch.path(), &["usr"]);
        assert!(matches!(refused, Err(TreeError::NotUtf8 { .. })));
    }

    #[test]
    fn a_file_that_grows_shrinks_or_is_swapped_after_listing_is_refused() {
        let scratch = scratch();
        let at = scratch.path().join("usr/a");
        let path = TreePath::root().child("usr").unwrap().child("a").unwrap();
        let secret = scratch.path().join("secret");
        fs::write(&secret, "hello").unwrap();
        let swaps: [&dyn Fn(); 6] = [
            &|| {
                let file = fs::File::options().write(true).open(&at).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            },
            &|| {
                let kept = fs::metadata(&at).unwrap().modified().unwrap();
                let other = scratch.path().join("other");
                fs::write(&other, "HELLO").unwrap();
                let file = fs::File::options().write(true).open(&other).unwrap();
                file.set_modified(kept).unwrap();
                fs::rename(&other, &at).unwrap();
            },
            &|| fs::write(&at, "hello, world").unwrap(),
            &|| fs::write(&at, "he").unwrap(),
            &|| {
                fs::remove_file(&at).unwrap();
                symlink(&secret, &at).unwrap();
            },
            &|| {
                fs::remove_file(&at).unwrap();
                assert!(Command::new("mkfifo").arg(&at).status().unwrap().success());
            },
        ];
        for (number, swap) in swaps.iter().enumerate() {
            let _ = fs::remove_file(&at);
            fs::write(&at, "hello").unwrap();
            let local = LocalTree::open(scratch.path(), &["usr"]).unwrap();
            swap();
            let read = read_all(&local, &path);
            assert!(read.is_err(), "swap {number}: {read:?}");
        }
    }

    #[test]
    fn what_is_written_to_an_open_file_is_noticed() {
        let scratch = scratch();
        let at = scratch.path().join("usr/a");
        fs::write(&at, "hello").unwrap();
        let local = LocalTree::open(scratch.path(), &["usr"]).unwrap();
        let path = TreePath::root().child("usr").unwrap().child("a").unwrap();
        let file = local.file(&path).unwrap();
        file.check_unchanged().unwrap();
        let writer = fs::File::options().write(true).open(&at).unwrap();
        writer.set_modified(std::time::UNIX_EPOCH).unwrap();
        let changed = file.check_unchanged();
        assert!(matches!(changed, Err(TreeError::Changed { .. })));
    }

    #[test]
    fn a_directory_swapped_for_a_link_after_listing_is_not_followed() {
        let scratch = scratch();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("a"), "hello").unwrap();
        fs::write(scratch.path().join("usr/a"), "hello").unwrap();
        let local = LocalTree::open(scratch.path(), &["usr"]).unwrap();
        fs::remove_dir_all(scratch.path().join("usr")).unwrap();
        symlink(outside.path(), scratch.path().join("usr")).unwrap();
        let path = TreePath::root().child("usr").unwrap().child("a").unwrap();
        assert!(local.file(&path).is_err());
    }
}
