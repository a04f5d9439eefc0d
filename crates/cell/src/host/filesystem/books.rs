//! What a tree of files counts for, and the account of it.
//!
//! What something counts for follows from what `stat` tells of it, so nothing has to be remembered of a
//! file that nobody holds open: a name counts [`NAME_BYTES`]; a file or a link its size in whole blocks,
//! holes included; a directory its own size, at least a block. A file with several names counts its size
//! once, and goes on counting after its last name is gone until nobody has it open.
//!
//! Bytes are taken from the quota before something grows and given back after it has shrunk, so the
//! account is never behind the disk. What the host's filesystem keeps beyond sizes and names, such as
//! the map of a file's extents, does not count.

use super::quota::Quota;
use cap_primitives::fs::{Metadata, MetadataExt};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

/// Sizes count in whole blocks of this many bytes, as the common filesystems allocate them.
const BLOCK_BYTES: u64 = 4096;

/// What a name in a directory counts for, in bytes, whatever it names: the entry (255 bytes at most,
/// twice that in a half-full directory) and the inode, generously.
pub(super) const NAME_BYTES: u64 = 4096;

/// What one more name may add to the size of a directory, in bytes: a leaf and three levels of index on
/// ext4. Taken beforehand; what was not needed is given back at once.
pub(super) const DIRECTORY_GROWTH_BYTES: u64 = 4 * BLOCK_BYTES;

/// Names in one tree. Looking through so many at the start takes some seconds, and a host's filesystem
/// has no more than some millions of inodes for everybody.
pub(super) const MAX_NAMES: u64 = 1 << 20;

/// The identity of a file on its host.
pub(super) type Key = (u64, u64);

/// The account of one tree. Dropped, it gives everything back.
pub(super) struct Books {
    quota: Arc<dyn Quota>,
    account: Mutex<Account>,
}

#[derive(Default)]
struct Account {
    charged: u64,
    /// What grew more than was taken for it and could not be paid: nothing else grows before it is.
    owed: u64,
    names: u64,
    open: HashMap<Key, Holders>,
}

/// Who has a file open.
#[derive(Default)]
struct Holders {
    count: u64,
    removed: Option<Removed>,
}

/// What is given back when the last holder of something without a name closes it.
#[derive(Clone, Copy)]
enum Removed {
    /// Its size then: it may still grow and shrink.
    File,
    /// What it counted for when it was removed: it cannot change, and its size is no longer told.
    Directory(u64),
}

impl Books {
    pub(super) fn new(quota: Arc<dyn Quota>) -> Self {
        Self {
            quota,
            account: Mutex::default(),
        }
    }

    /// Takes bytes for a growth to come.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), ErrorCode> {
        if bytes == 0 {
            return Ok(());
        }
        let mut account = self.account();
        let all = bytes.checked_add(account.owed).ok_or(ErrorCode::Quota)?;
        if !self.quota.grow(all) {
            return Err(ErrorCode::Quota);
        }
        account.owed = 0;
        account.charged += all;
        Ok(())
    }

    /// What was taken for a growth is more or less than what it came to.
    pub(super) fn settle(&self, reserved: u64, grown: u64, shrunk: u64) {
        let mut account = self.account();
        let paid = reserved.saturating_add(shrunk);
        match paid.checked_sub(grown) {
            Some(rest) => account.give_back(rest, &*self.quota),
            None if self.quota.grow(grown - paid) => account.charged += grown - paid,
            None => account.owed += grown - paid,
        }
    }

    /// Counts one more name, for which [`NAME_BYTES`] are taken apart from this.
    pub(super) fn name_added(&self) -> Result<(), ErrorCode> {
        let mut account = self.account();
        if account.names >= MAX_NAMES {
            return Err(ErrorCode::Quota);
        }
        account.names += 1;
        Ok(())
    }

    pub(super) fn name_removed(&self) {
        let mut account = self.account();
        account.names = account.names.saturating_sub(1);
    }

    /// Somebody has opened this.
    pub(super) fn opened(&self, key: Key) {
        self.account().open.entry(key).or_default().count += 1;
    }

    /// Somebody who had opened this closes it.
    pub(super) fn closed(&self, key: Key, file: &File) {
        let mut account = self.account();
        let Some(holders) = account.open.get_mut(&key) else {
            return;
        };
        holders.count = holders.count.saturating_sub(1);
        if holders.count > 0 {
            return;
        }
        let removed = holders.removed;
        account.open.remove(&key);
        let freed = match removed {
            None => 0,
            Some(Removed::Directory(contents)) => contents,
            // Not told, it is not given back.
            Some(Removed::File) => Node::of(file).map_or(0, |node| node.contents),
        };
        account.give_back(freed, &*self.quota);
    }

    /// The last name of this is gone.
    pub(super) fn removed(&self, node: &Node) {
        let mut account = self.account();
        match account.open.get_mut(&node.key) {
            Some(holders) if node.directory => {
                holders.removed = Some(Removed::Directory(node.contents));
            }
            Some(holders) => holders.removed = Some(Removed::File),
            None => account.give_back(node.contents, &*self.quota),
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        let charged = self.account().charged;
        self.quota.shrink(charged);
    }
}

impl Account {
    /// Never more than was taken, should somebody else have changed the tree.
    fn give_back(&mut self, bytes: u64, quota: &dyn Quota) {
        let waived = bytes.min(self.owed);
        self.owed -= waived;
        let bytes = (bytes - waived).min(self.charged);
        self.charged -= bytes;
        quota.shrink(bytes);
    }
}

/// What a file, a link or a directory is to the account.
pub(super) struct Node {
    pub(super) key: Key,
    pub(super) directory: bool,
    /// Its size in bytes, as it is.
    pub(super) size: u64,
    /// What it counts for, its names apart, in bytes.
    pub(super) contents: u64,
    /// How many names it has.
    pub(super) links: u64,
}

impl Node {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::new(&Metadata::from_file(file)?))
    }

    pub(super) fn new(metadata: &Metadata) -> Self {
        let directory = metadata.is_dir();
        let whole = blocks(metadata.len());
        Self {
            key: (metadata.dev(), metadata.ino()),
            directory,
            size: metadata.len(),
            contents: if directory {
                whole.max(BLOCK_BYTES)
            } else {
                whole
            },
            links: metadata.nlink(),
        }
    }
}

/// What a size counts for: the whole blocks that hold it.
pub(super) fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::quota::FixedQuota;
    use super::*;

    #[test]
    fn a_growth_beyond_what_was_taken_is_owed_and_paid_first() {
        let quota = Arc::new(FixedQuota::new(10));
        let books = Books::new(quota.clone());
        books.reserve(8).unwrap();
        books.settle(8, 14, 0);
        assert_eq!(quota.used(), 8);
        assert!(books.reserve(1).is_err());
        books.settle(0, 0, 8);
        assert_eq!(quota.used(), 6);
        books.reserve(4).unwrap();
        drop(books);
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn no_more_is_given_back_than_was_taken() {
        let quota = Arc::new(FixedQuota::new(10));
        assert!(quota.grow(5));
        let books = Books::new(quota.clone());
        books.reserve(2).unwrap();
        books.settle(0, 0, 100);
        assert_eq!(quota.used(), 5);
    }

    #[test]
    fn sizes_count_in_whole_blocks_without_overflow() {
        assert_eq!(blocks(0), 0);
        assert_eq!(blocks(1), 4096);
        assert_eq!(blocks(4096), 4096);
        assert_eq!(blocks(4097), 8192);
        assert_eq!(blocks(u64::MAX), u64::MAX);
    }
}
