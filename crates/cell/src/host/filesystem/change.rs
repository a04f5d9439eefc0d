//! The changes that a guest can make to a tree, each with its accounting.
//!
//! Everything here blocks and is called in the tree's turn. Paths are resolved by cap-primitives, which
//! does not leave the directory they start from, by `..`, by an absolute path or by a link. What is
//! made, renamed or removed is then one plain name in a directory that is open. So the ends of paths are
//! stricter than POSIX: a file is not created through a link to nowhere, and `.` or `..` at the end of
//! what is to be changed is refused.

use super::books::{DIRECTORY_GROWTH_BYTES, NAME_BYTES, Node, blocks};
use super::descriptors::Held;
use super::tree::{MAX_DEPTH, Opened, Tree};
use cap_fs_ext::OpenOptionsFollowExt;
use cap_primitives::fs::{FollowSymlinks, OpenOptions, open, open_dir, read_base_dir, stat};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use wasmtime_wasi::OpenMode;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

type Result<T> = std::result::Result<T, ErrorCode>;

/// How something is to be opened.
pub(super) struct Opening {
    pub(super) path: String,
    /// Whether a link at the end of the path is followed.
    pub(super) follow: bool,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) create: bool,
    /// With `create`: refuse what exists already.
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    /// Refuse what is no directory.
    pub(super) directory: bool,
}

/// Opens something, and creates or truncates it if that is asked for.
pub(super) fn open_at(
    tree: &Arc<Tree>,
    start: &File,
    opening: &Opening,
    held: Held,
) -> Result<Arc<Opened>> {
    let found = if opening.create && opening.exclusive {
        None
    } else {
        let mut options = OpenOptions::new();
        options.read(opening.read).write(opening.write);
        options.follow(if opening.follow {
            FollowSymlinks::Yes
        } else {
            FollowSymlinks::No
        });
        match open(start, Path::new(&opening.path), &options) {
            Ok(file) => Some(file),
            Err(error) if opening.create && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        }
    };
    let file = match found {
        Some(file) => file,
        None => create(tree, start, opening)?,
    };
    let mut mode = OpenMode::empty();
    mode.set(OpenMode::READ, opening.read);
    mode.set(OpenMode::WRITE, opening.write);
    let opened = Opened::new(tree, file, mode, held)?;
    if opening.directory && !opened.is_directory() {
        return Err(ErrorCode::NotDirectory);
    }
    if opening.truncate {
        resize(tree, opened.file(), 0)?;
    }
    Ok(opened)
}

fn create(tree: &Tree, start: &File, opening: &Opening) -> Result<File> {
    let place = Place::of(start, &opening.path)?;
    if place.slash {
        return Err(ErrorCode::IsDirectory);
    }
    let access = if opening.read {
        OFlags::RDWR
    } else {
        OFlags::WRONLY
    };
    let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = add_name(tree, place.parent(), 0, || {
        let mode = Mode::from_raw_mode(0o666);
        let file = rustix::fs::openat(place.parent(), place.name, flags, mode)?;
        Ok((File::from(file), 0))
    });
    match made {
        // There is a link of this name, and it leads nowhere.
        Err(ErrorCode::Exist) if !opening.exclusive => Err(ErrorCode::NoEntry),
        made => made,
    }
}

/// Makes a directory.
pub(super) fn create_directory(tree: &Tree, start: &File, path: &str) -> Result<()> {
    let place = Place::of(start, path)?;
    if depth(tree, place.parent())? >= MAX_DEPTH {
        return Err(ErrorCode::NameTooLong);
    }
    add_name(tree, place.parent(), blocks(1), || {
        let mode = Mode::from_raw_mode(0o777);
        rustix::fs::mkdirat(place.parent(), place.name, mode)?;
        let contents = place.node().map_or(blocks(1), |node| node.contents);
        Ok(((), contents))
    })
}

/// Makes a symbolic link.
pub(super) fn symlink(tree: &Tree, target: &str, start: &File, path: &str) -> Result<()> {
    if target.starts_with('/') {
        return Err(ErrorCode::NotPermitted);
    }
    let place = Place::of(start, path)?.without_slash(ErrorCode::NoEntry)?;
    let contents = blocks(u64::try_from(target.len()).unwrap_or(u64::MAX));
    add_name(tree, place.parent(), contents, || {
        rustix::fs::symlinkat(target, place.parent(), place.name)?;
        Ok(((), contents))
    })
}

/// Gives a file one more name.
pub(super) fn link(
    tree: &Tree,
    (old_start, old_path): (&File, &str),
    (new_start, new_path): (&File, &str),
) -> Result<()> {
    let old = Place::of(old_start, old_path)?.without_slash(ErrorCode::NotDirectory)?;
    let new = Place::of(new_start, new_path)?.without_slash(ErrorCode::NoEntry)?;
    add_name(tree, new.parent(), 0, || {
        let flags = AtFlags::empty();
        rustix::fs::linkat(old.parent(), old.name, new.parent(), new.name, flags)?;
        Ok(((), 0))
    })
}

/// Removes a name of a file or link.
pub(super) fn unlink(tree: &Tree, start: &File, path: &str) -> Result<()> {
    let place = Place::of(start, path)?.without_slash(ErrorCode::NotDirectory)?;
    remove(tree, &place, AtFlags::empty())
}

/// Removes an empty directory.
pub(super) fn remove_directory(tree: &Tree, start: &File, path: &str) -> Result<()> {
    remove(tree, &Place::of(start, path)?, AtFlags::REMOVEDIR)
}

/// Gives something another name, in place of what had it.
pub(super) fn rename(
    tree: &Tree,
    (old_start, old_path): (&File, &str),
    (new_start, new_path): (&File, &str),
) -> Result<()> {
    let old = Place::of(old_start, old_path)?;
    let new = Place::of(new_start, new_path)?;
    let moved = old.node()?;
    if (old.slash || new.slash) && !moved.directory {
        return Err(ErrorCode::NotDirectory);
    }
    let replaced = match new.node() {
        Ok(node) => Some(node),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    if moved.directory {
        stay_shallow(tree, &old, &new)?;
    }
    let left = Node::of(old.parent())?;
    let entered = Node::of(new.parent())?;
    tree.books.reserve(DIRECTORY_GROWTH_BYTES)?;
    let renamed = rustix::fs::renameat(old.parent(), old.name, new.parent(), new.name);
    let mut before = entered.contents;
    let mut after = Node::of(new.parent())?.contents;
    if left.key != entered.key {
        before += left.contents;
        after += Node::of(old.parent())?.contents;
    }
    tree.books.settle(DIRECTORY_GROWTH_BYTES, after, before);
    renamed.map_err(code)?;
    if let Some(replaced) = replaced
        // Two names of one file both stay.
        && replaced.key != moved.key
    {
        name_gone(tree, &replaced);
    }
    Ok(())
}

/// Sets the size of a file; what is new is a hole.
pub(super) fn resize(tree: &Tree, file: &File, size: u64) -> Result<()> {
    sized(tree, file, |_| size, |_| file.set_len(size))
}

/// Where in a file bytes are written.
#[derive(Clone, Copy)]
pub(super) enum At {
    /// From this byte on.
    Offset(u64),
    /// After the last one.
    End,
}

/// Writes all the bytes.
pub(super) fn write(tree: &Tree, file: &File, bytes: &[u8], at: At) -> Result<()> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let offset = |size| match at {
        At::Offset(offset) => offset,
        At::End => size,
    };
    sized(
        tree,
        file,
        |size| offset(size).saturating_add(length).max(size),
        |size| file.write_all_at(bytes, offset(size)),
    )
}

/// Makes a change after which a file has at most the size that `end` tells of the present one.
fn sized(
    tree: &Tree,
    file: &File,
    end: impl FnOnce(u64) -> u64,
    change: impl FnOnce(u64) -> io::Result<()>,
) -> Result<()> {
    let before = Node::of(file)?;
    let reserved = blocks(end(before.size)).saturating_sub(before.contents);
    tree.books.reserve(reserved)?;
    let changed = change(before.size);
    let after = Node::of(file)?;
    tree.books.settle(reserved, after.contents, before.contents);
    Ok(changed?)
}

/// Makes a change that gives something with at most these `contents` a name in `parent`; it tells what
/// the contents came to.
fn add_name<T>(
    tree: &Tree,
    parent: &File,
    contents: u64,
    change: impl FnOnce() -> std::result::Result<(T, u64), Errno>,
) -> Result<T> {
    let before = Node::of(parent)?.contents;
    let reserved = NAME_BYTES + DIRECTORY_GROWTH_BYTES + contents;
    tree.books.reserve(reserved)?;
    if let Err(error) = tree.books.name_added() {
        tree.books.settle(reserved, 0, 0);
        return Err(error);
    }
    let changed = change();
    let after = Node::of(parent)?.contents;
    let (added, result) = match changed {
        Ok((made, contents)) => (NAME_BYTES + contents, Ok(made)),
        Err(error) => {
            tree.books.name_removed();
            (0, Err(code(error)))
        }
    };
    tree.books.settle(reserved, after + added, before);
    result
}

fn remove(tree: &Tree, place: &Place<'_>, flags: AtFlags) -> Result<()> {
    let node = place.node()?;
    let before = Node::of(place.parent())?.contents;
    rustix::fs::unlinkat(place.parent(), place.name, flags).map_err(code)?;
    let after = Node::of(place.parent())?.contents;
    tree.books.settle(0, after, before);
    name_gone(tree, &node);
    Ok(())
}

/// A name of this is gone, and it itself if that was the last.
fn name_gone(tree: &Tree, node: &Node) {
    tree.books.name_removed();
    tree.books.settle(0, 0, NAME_BYTES);
    if node.directory || node.links <= 1 {
        tree.books.removed(node);
    }
}

/// Refuses to move a directory to where it, or one within it, would be too deep. What it holds is not
/// looked through: a directory that holds directories does not go deeper than it was.
fn stay_shallow(tree: &Tree, old: &Place<'_>, new: &Place<'_>) -> Result<()> {
    let deepest = depth(tree, new.parent())?;
    if deepest <= depth(tree, old.parent())? {
        return Ok(());
    }
    let moved = open_dir(old.parent(), Path::new(old.name))?;
    let mut holds_directories = false;
    for entry in read_base_dir(&moved)? {
        holds_directories |= entry?.metadata()?.is_dir();
    }
    if deepest >= MAX_DEPTH || holds_directories {
        // As between filesystems: programs take it as the advice to copy.
        return Err(ErrorCode::CrossDevice);
    }
    Ok(())
}

/// How many directories below the root this one is.
fn depth(tree: &Tree, directory: &File) -> Result<usize> {
    let mut here = Node::of(directory)?.key;
    let mut above: Option<File> = None;
    for depth in 0..=MAX_DEPTH {
        if here == tree.key {
            return Ok(depth);
        }
        let from = above.as_ref().unwrap_or(directory);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(from, "..", flags, Mode::empty()).map_err(code)?;
        let parent = File::from(parent);
        here = Node::of(&parent)?.key;
        above = Some(parent);
    }
    Err(ErrorCode::NoEntry)
}

/// A name in a directory that is open.
struct Place<'a> {
    start: &'a File,
    /// Where the path led to, unless it is just a name.
    parent: Option<File>,
    name: &'a str,
    /// Whether the path ended in a slash, as only that of a directory may.
    slash: bool,
}

impl<'a> Place<'a> {
    fn of(start: &'a File, path: &'a str) -> Result<Self> {
        if path.starts_with('/') {
            return Err(ErrorCode::NotPermitted);
        }
        let plain = path.trim_end_matches('/');
        let (parent, name) = match plain.rsplit_once('/') {
            Some((parent, name)) => (Some(open_dir(start, Path::new(parent))?), name),
            None => (None, plain),
        };
        match name {
            "" => Err(ErrorCode::NoEntry),
            "." | ".." => Err(ErrorCode::Invalid),
            name => Ok(Self {
                start,
                parent,
                name,
                slash: plain.len() < path.len(),
            }),
        }
    }

    fn without_slash(self, refusal: ErrorCode) -> Result<Self> {
        if self.slash {
            return Err(refusal);
        }
        Ok(self)
    }

    fn parent(&self) -> &File {
        self.parent.as_ref().unwrap_or(self.start)
    }

    /// What has this name, a link itself.
    fn node(&self) -> io::Result<Node> {
        let metadata = stat(self.parent(), Path::new(self.name), FollowSymlinks::No)?;
        Ok(Node::new(&metadata))
    }
}

fn code(error: Errno) -> ErrorCode {
    io::Error::from(error).into()
}
