//! Content by its address, over the grant `ipfs`: reading files and directories, adding them, and keeping them.
//!
//! ```no_run
//! # async fn example(session: runtime::Session) -> runtime::Result<()> {
//! use runtime::ipfs;
//!
//! let content = session.ipfs()?;
//! let cid = ipfs::add(&content, b"Hello", "greeting").await?;
//! let part = ipfs::read_at(&content, &cid.path(), 1, 3).await?;
//! assert_eq!(part, b"ell");
//! # Ok(())
//! # }
//! ```
//!
//! Paths are `/ipfs/CID[/name…]`, or a bare CID. Nothing here holds more than a chunk of a file, or a page of a
//! directory, but what it returns: [`open`] is for what may be large. What needs more than this (blocks, CARs, topics,
//! keys) is called on the client itself.
//!
//! What was added stays for good only if it is pinned: a name keeps it until [`unpin`] takes the name away, also after
//! the cell has ended.

mod cid;

use std::collections::VecDeque;

use schema::ipfs_capnp::client::Client;
use schema::ipfs_capnp::{adder, entry, node, pin as pins, unix_f_s};
use schema::system_capnp::byte_stream::Client as ByteStream;

use crate::bytes;
use crate::error::Result;

pub use self::cid::Cid;

/// Entries of a directory that are asked for at a time: a message of a few hundred kilobytes at the most.
const PAGE: u32 = 1024;

/// A file, from its beginning to its end. What is not there, and what is no file, shows when it is read.
pub fn open(ipfs: &Client, path: &str) -> ByteStream {
    stream(ipfs, path, 0, 0)
}

/// A file from an offset on, at most so many bytes of it. Past the end of the file there are none.
pub fn open_at(ipfs: &Client, path: &str, offset: u64, bytes: u64) -> ByteStream {
    // To the host, none means all the rest: so one is asked for, of what no file has.
    match bytes {
        0 => stream(ipfs, path, u64::MAX, 1),
        bytes => stream(ipfs, path, offset, bytes),
    }
}

/// A whole file, which may have at most `limit` bytes.
///
/// # Errors
/// The calls' own; [`Error::TooLong`](crate::Error::TooLong) when there is more.
pub async fn read(ipfs: &Client, path: &str, limit: usize) -> Result<Vec<u8>> {
    bytes::read_to_end(&open(ipfs, path), limit).await
}

/// At most so many bytes of a file from an offset on. There are fewer only where the file ends.
///
/// # Errors
/// The calls' own.
pub async fn read_at(ipfs: &Client, path: &str, offset: u64, bytes: usize) -> Result<Vec<u8>> {
    let stream = open_at(ipfs, path, offset, bytes as u64);
    bytes::read_to_end(&stream, bytes).await
}

/// The entries of a directory, in the order of their names.
pub fn list(ipfs: &Client, path: &str) -> Listing {
    Listing {
        node: node_at(ipfs, path),
        after: String::new(),
        page: VecDeque::new(),
        more: true,
    }
}

/// Adds a file. It is pinned under a name that is not empty.
///
/// # Errors
/// The calls' own: `limit: content` when the cell has added as much as it may.
pub async fn add(ipfs: &Client, bytes: &[u8], pin: &str) -> Result<Cid> {
    let tree = add_tree(ipfs, pin);
    tree.file("", bytes).await?;
    tree.finish().await
}

/// Begins to add a tree. It is pinned under a name that is not empty.
pub fn add_tree(ipfs: &Client, pin: &str) -> Tree {
    let mut request = unixfs(ipfs).add_request();
    request.get().init_options().set_pin(pin);
    Tree(request.send().pipeline.get_adder())
}

/// Keeps everything below a path, which is fetched if it is not here, under a name.
///
/// # Errors
/// The call's own.
pub async fn pin(ipfs: &Client, path: &str, name: &str) -> Result<Cid> {
    let mut request = pin_api(ipfs).add_request();
    let mut params = request.get();
    params.set_path(path);
    params.set_name(name);
    let reply = request.send().promise.await?;
    Ok(Cid::from_bytes(reply.get()?.get_cid()?))
}

/// Takes back the name under which something is kept. The last one lets it go.
///
/// # Errors
/// The call's own: nothing is kept so.
pub async fn unpin(ipfs: &Client, cid: &Cid, name: &str) -> Result<()> {
    let mut request = pin_api(ipfs).rm_request();
    let mut params = request.get();
    params.set_cid(cid.as_bytes());
    params.set_name(name);
    request.send().promise.await?;
    Ok(())
}

/// What a directory has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Where its content is.
    pub cid: Cid,
    /// What it is.
    pub kind: Kind,
}

/// What an [`Entry`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes.
    File {
        /// How many.
        bytes: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, which is not followed.
    Symlink,
}

impl Entry {
    fn decode(entry: entry::Reader<'_>) -> Result<Self> {
        Ok(Self {
            name: entry.get_name()?.to_string()?,
            cid: Cid::from_bytes(entry.get_cid()?),
            kind: match entry.get_type()? {
                entry::Type::File => Kind::File {
                    bytes: entry.get_size(),
                },
                entry::Type::Directory => Kind::Directory,
                entry::Type::Symlink => Kind::Symlink,
            },
        })
    }
}

/// A directory that is being listed, page by page, however many entries it has.
pub struct Listing {
    node: node::Client,
    after: String,
    page: VecDeque<Entry>,
    more: bool,
}

impl Listing {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// The calls' own: the path leads nowhere, or not to a directory.
    pub async fn next(&mut self) -> Result<Option<Entry>> {
        if self.page.is_empty() && self.more {
            self.turn().await?;
        }
        Ok(self.page.pop_front())
    }

    async fn turn(&mut self) -> Result<()> {
        let mut request = self.node.entries_request();
        let mut params = request.get();
        params.set_after(&self.after);
        params.set_limit(PAGE);
        let reply = request.send().promise.await?;
        let reply = reply.get()?;
        for entry in reply.get_entries()? {
            self.page.push_back(Entry::decode(entry)?);
        }
        self.more = reply.get_more();
        if let Some(last) = self.page.back() {
            self.after.clone_from(&last.name);
        }
        Ok(())
    }
}

/// A tree of files that is being added. Paths are names with slashes between them; the directories on the way are made.
/// Dropping it gives up: nothing has a name then, and what was stored of it is not pinned.
pub struct Tree(adder::Client);

impl Tree {
    /// Adds a file whose bytes are here.
    ///
    /// # Errors
    /// The calls' own.
    pub async fn file(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let stream = self.open(path);
        bytes::write_all(&stream, bytes).await?;
        bytes::close(&stream).await
    }

    /// Begins to add a file: it takes what is written, and is there once it has been closed.
    pub fn open(&self, path: &str) -> ByteStream {
        let mut request = self.0.file_request();
        request.get().set_path(path);
        request.send().pipeline.get_stream()
    }

    /// Adds a directory, which may be there already.
    ///
    /// # Errors
    /// The call's own.
    pub async fn directory(&self, path: &str) -> Result<()> {
        let mut request = self.0.directory_request();
        request.get().set_path(path);
        request.send().promise.await?;
        Ok(())
    }

    /// Adds a symbolic link, whose target may be any text.
    ///
    /// # Errors
    /// The call's own.
    pub async fn symlink(&self, path: &str, target: &str) -> Result<()> {
        let mut request = self.0.symlink_request();
        let mut params = request.get();
        params.set_path(path);
        params.set_target(target);
        request.send().promise.await?;
        Ok(())
    }

    /// Ends it, and gives the root: of a tree that has nothing but a file with an empty path, that file.
    ///
    /// # Errors
    /// The call's own: a file was not closed, or two have the same path.
    pub async fn finish(self) -> Result<Cid> {
        let reply = self.0.finish_request().send().promise.await?;
        Ok(Cid::from_bytes(reply.get()?.get_cid()?))
    }
}

fn stream(ipfs: &Client, path: &str, offset: u64, bytes: u64) -> ByteStream {
    let mut request = node_at(ipfs, path).read_request();
    let mut params = request.get();
    params.set_offset(offset);
    params.set_bytes(bytes);
    request.send().pipeline.get_stream()
}

fn node_at(ipfs: &Client, path: &str) -> node::Client {
    let mut request = unixfs(ipfs).get_request();
    request.get().set_path(path);
    request.send().pipeline.get_node()
}

fn unixfs(ipfs: &Client) -> unix_f_s::Client {
    ipfs.unixfs_request().send().pipeline.get_api()
}

fn pin_api(ipfs: &Client) -> pins::Client {
    ipfs.pin_request().send().pipeline.get_api()
}
