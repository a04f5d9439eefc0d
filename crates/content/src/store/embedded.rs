//! Blocks as files in a directory of our own: `blocks/<xx>/<digest>`, where `xx` are the first two hex
//! digits of the digest, which keeps directories small.
//!
//! Files rather than a database because a block is written once, named by its content and never changed:
//! a rename is all the transaction that it needs, processes can share the directory, and what is in it
//! can be looked at with ordinary tools.
//!
//! A block is written beside its place and renamed into it, so a reader sees a whole block or none. It is
//! not flushed to the platter: after a power failure a block may be missing or torn, which `get` notices,
//! because it hashes, and which putting the block again repairs. Refused: a directory that other users
//! can enter.
//!
//! Beside the blocks are the pins ([`crate::pins`]), which say what is to stay, and a lock, which keeps
//! writers and the collection of garbage ([`crate::gc`]) apart.

mod lock;
mod sweep;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cid::Cid;

pub use self::lock::Writing;
pub(crate) use self::lock::{Lock, exclusive};
use crate::block::digest;
use crate::pins::Pins;
use crate::{Block, BlockStore, ContentError, MAX_BLOCK_BYTES};

/// A [`BlockStore`] on the local disk. Nothing bounds its size but the disk.
#[derive(Debug)]
pub struct EmbeddedStore {
    blocks: PathBuf,
    incoming: PathBuf,
    pins: PathBuf,
    pub(crate) lock: Arc<Lock>,
}

impl EmbeddedStore {
    /// Opens the store in `path`, and makes it (0700) with its parents if there is none. Removes what
    /// writers that died left behind.
    ///
    /// Errors: [`ContentError::StoreNotPrivate`] if other users can enter the directory, and
    /// [`ContentError::Io`].
    pub fn open(path: &Path) -> Result<Self, ContentError> {
        create_private(path)?;
        let mode = fs::metadata(path)
            .map_err(ContentError::io(path, "opening the block store"))?
            .permissions()
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            return Err(ContentError::StoreNotPrivate {
                path: path.to_owned(),
                mode,
            });
        }
        let store = Self {
            blocks: path.join("blocks"),
            incoming: path.join("incoming"),
            pins: path.join("pins"),
            lock: Arc::new(Lock::open(path.join("lock"))?),
        };
        create_private(&store.blocks)?;
        create_private(&store.incoming)?;
        create_private(&store.pins)?;
        store.clear_abandoned()?;
        Ok(store)
    }

    /// Keeps the collection of garbage away for as long as the result lives. Hold it from the first block
    /// of a graph until the graph is pinned; a single [`BlockStore::put`] does so for itself.
    ///
    /// Errors: [`ContentError::StoreCollecting`] if a collection goes on for a minute.
    pub fn writing(&self) -> Result<Writing, ContentError> {
        self.lock.write()
    }

    /// What is to stay in this store.
    pub fn pins(&self) -> Pins {
        Pins::new(&self.pins, &self.incoming, &self.lock)
    }

    /// The directory that a block is in, and its file.
    pub(crate) fn place(&self, cid: &Cid) -> Result<(PathBuf, PathBuf), ContentError> {
        let digest = digest(cid)?;
        let mut name = String::with_capacity(2 * digest.len());
        for byte in digest {
            name.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or_default());
            name.push(char::from_digit(u32::from(byte & 0xf), 16).unwrap_or_default());
        }
        let shard = self.blocks.join(name.get(..2).unwrap_or_default());
        let file = shard.join(name);
        Ok((shard, file))
    }
}

impl BlockStore for EmbeddedStore {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        let (shard, file) = self.place(block.cid())?;
        let _writing = self.writing()?;
        if read(&file)?.is_some_and(|kept| kept == *block.bytes()) {
            return Ok(());
        }
        let failed = |error| ContentError::io(&file, "writing the block")(error);
        let mut incoming = tempfile::NamedTempFile::new_in(&self.incoming).map_err(failed)?;
        incoming.write_all(block.bytes()).map_err(failed)?;
        let incoming = match incoming.persist(&file) {
            Ok(_) => return Ok(()),
            Err(refused) if refused.error.kind() == io::ErrorKind::NotFound => refused.file,
            Err(refused) => return Err(failed(refused.error)),
        };
        // The first block of its directory.
        create_private(&shard)?;
        incoming
            .persist(&file)
            .map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        let (_, file) = self.place(cid)?;
        match read(&file)? {
            Some(bytes) if bytes.len() > MAX_BLOCK_BYTES => {
                Err(ContentError::BlockCorrupt { cid: *cid })
            }
            Some(bytes) => Block::verified(*cid, bytes).map(Some),
            None => Ok(None),
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        let (_, file) = self.place(cid)?;
        file.try_exists()
            .map_err(ContentError::io(&file, "looking for the block"))
    }
}

/// The file's bytes, but never more than one beyond the largest block.
fn read(file: &Path) -> Result<Option<Vec<u8>>, ContentError> {
    let failed = |error| ContentError::io(file, "reading the block")(error);
    let open = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    // All at once: a vector that grows would copy most of it again.
    let limit = MAX_BLOCK_BYTES as u64 + 1;
    let found = open.metadata().map_err(failed)?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(found).unwrap_or_default());
    open.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn create_private(path: &Path) -> Result<(), ContentError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(ContentError::io(path, "creating the block store"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::Codec;

    fn store() -> (tempfile::TempDir, EmbeddedStore) {
        let scratch = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&scratch.path().join("a/b")).unwrap();
        (scratch, store)
    }

    #[test]
    fn a_block_that_went_bad_is_named_never_returned_and_repaired_by_putting_it_again() {
        let (_scratch, store) = store();
        let block = Block::new(Codec::Raw, &b"content"[..]).unwrap();
        let (_, file) = store.place(block.cid()).unwrap();
        for bad in [
            &b"tampered"[..],
            b"",
            b"content ",
            &vec![0; MAX_BLOCK_BYTES + 9],
        ] {
            store.put(&block).unwrap();
            fs::write(&file, bad).unwrap();
            let refused = store.get(block.cid());
            assert!(
                matches!(refused, Err(ContentError::BlockCorrupt { cid }) if cid == *block.cid())
            );
            store.put(&block).unwrap();
            assert_eq!(store.get(block.cid()).unwrap(), Some(block.clone()));
        }
    }

    #[test]
    fn everything_on_the_disk_is_for_the_owner_alone() {
        let (scratch, store) = store();
        let block = Block::new(Codec::Raw, &b"content"[..]).unwrap();
        store.put(&block).unwrap();
        let (shard, file) = store.place(block.cid()).unwrap();
        for path in [
            scratch.path().join("a/b"),
            store.blocks.clone(),
            shard,
            file,
        ] {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{path:?}");
        }
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let refused = EmbeddedStore::open(scratch.path());
        assert!(matches!(
            refused,
            Err(ContentError::StoreNotPrivate { mode: 0o755, .. })
        ));
    }

    #[test]
    fn blocks_outlive_the_store_object_and_abandoned_files_do_not() {
        let (scratch, store) = store();
        let block = Block::new(Codec::DagPb, &b"content"[..]).unwrap();
        store.put(&block).unwrap();
        let (old, fresh) = (store.incoming.join("old"), store.incoming.join("fresh"));
        let long_ago = SystemTime::now() - 2 * sweep::ABANDONED_AFTER;
        File::create(&old).unwrap().set_modified(long_ago).unwrap();
        File::create(&fresh).unwrap();
        let open = || EmbeddedStore::open(&scratch.path().join("a/b")).unwrap();
        let writing = store.writing().unwrap();
        assert_eq!(open().get(block.cid()).unwrap(), Some(block));
        assert!(!old.exists() && fresh.exists(), "somebody may be writing");
        drop(writing);
        open();
        assert!(!fresh.exists(), "nobody was");
    }

    #[test]
    fn a_put_that_is_done_leaves_nothing_incoming() {
        let (_scratch, store) = store();
        store
            .put(&Block::new(Codec::Raw, &b"content"[..]).unwrap())
            .unwrap();
        assert_eq!(fs::read_dir(&store.incoming).unwrap().count(), 0);
    }
}
