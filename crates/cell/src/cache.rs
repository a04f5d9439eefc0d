//! Machine code kept on disk between runs.
//!
//! An entry is named by what it was made from (the component's digest) and what it was made for (the
//! engine's compatibility hash), begins with the hash of its code, and is written under another name
//! and then renamed, so a reader sees a whole entry or none. The code in it runs in this process, so
//! the directory must be a real one, ours, and closed to everybody else; anything else is refused at
//! the start rather than repaired, because somebody may have been there before. An entry that does
//! not hash to what it says is dropped and made anew. Beyond its bound the cache forgets what was
//! used the longest ago. A cache that cannot be written costs time and nothing else.

use crate::artifact::Artifact;
use crate::digest::Digest;
use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Why a directory is not used as a cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// It cannot be created or looked at.
    #[error("cannot use {path} as the code cache: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a link, or no directory.
    #[error("{path} is not a plain directory; the code cache must be one, and not a link to one")]
    NotADirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else owns it.
    #[error(
        "{path} belongs to user {owner}; machine code is only read from a directory of our own"
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// Others may enter it.
    #[error("{path} has mode {mode:o}; after a look at what is in it: chmod 700 {path}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

const MAGIC: &[u8; 8] = b"wwcode\0\x01";
const SUFFIX: &str = ".code";
const UNFINISHED_PREFIX: &str = ".new-";

/// How old an unfinished entry is when its writer is surely gone.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// A directory of machine code.
pub(crate) struct DiskCache {
    directory: PathBuf,
    bound_bytes: u64,
}

impl DiskCache {
    /// Opens the cache in `directory`, which is created if need be.
    pub(crate) fn open(directory: &Path, bound_bytes: u64) -> Result<Self, CacheError> {
        let io_error = |source| CacheError::Io {
            path: directory.to_owned(),
            source,
        };
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(io_error)?;
        }
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error(error));
            }
            _ => {}
        }
        let metadata = fs::symlink_metadata(directory).map_err(io_error)?;
        let path = directory.to_owned();
        if !metadata.is_dir() {
            return Err(CacheError::NotADirectory { path });
        }
        if metadata.uid() != geteuid().as_raw() {
            let owner = metadata.uid();
            return Err(CacheError::NotOurs { path, owner });
        }
        let mode = metadata.mode() & 0o7777;
        if mode != 0o700 {
            return Err(CacheError::Open { path, mode });
        }
        Ok(Self {
            directory: path,
            bound_bytes,
        })
    }

    /// The code of the component with this digest, for the engine with this compatibility hash.
    pub(crate) fn get(&self, digest: &Digest, compatibility: &[u8]) -> Option<Artifact> {
        let path = self.path(digest, compatibility);
        let mut file = File::open(&path).ok()?;
        match read_entry(&mut file) {
            Ok(code) => {
                // Only the order of eviction depends on it.
                let _ = file.set_modified(SystemTime::now());
                Some(Artifact::trusted(code))
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "dropped a broken entry of the code cache");
                self.remove(digest, compatibility);
                None
            }
        }
    }

    /// Keeps code, as far as the disk allows.
    pub(crate) fn put(&self, digest: &Digest, compatibility: &[u8], code: &Artifact) {
        if let Err(error) = self.write(&self.path(digest, compatibility), code) {
            tracing::warn!(%error, "compiled code could not be kept");
        }
        self.evict();
    }

    /// Drops an entry that turned out to be of no use.
    pub(crate) fn remove(&self, digest: &Digest, compatibility: &[u8]) {
        // It may be gone already, and if it cannot be removed it will be found broken again.
        let _ = fs::remove_file(self.path(digest, compatibility));
    }

    fn path(&self, digest: &Digest, compatibility: &[u8]) -> PathBuf {
        let mut key = blake3::Hasher::new();
        key.update(MAGIC);
        key.update(digest.as_bytes());
        key.update(compatibility);
        self.directory
            .join(format!("{}{SUFFIX}", key.finalize().to_hex()))
    }

    fn write(&self, path: &Path, code: &Artifact) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .tempfile_in(&self.directory)?;
        file.write_all(MAGIC)?;
        file.write_all(blake3::hash(code.bytes()).as_bytes())?;
        file.write_all(code.bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes what is beyond the bound, least recently used first, and what was left unfinished.
    fn evict(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let mut kept = Vec::new();
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let Ok(used) = metadata.modified() else {
                continue;
            };
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(SUFFIX) {
                kept.push((used, metadata.len(), entry.path()));
            } else if name.starts_with(UNFINISHED_PREFIX)
                && used.elapsed().is_ok_and(|age| age > ABANDONED_AFTER)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        kept.sort_unstable();
        let mut total: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in kept {
            if total <= self.bound_bytes {
                break;
            }
            // Another process may have removed it.
            let _ = fs::remove_file(path);
            total -= bytes;
        }
    }
}

fn read_entry(file: &mut File) -> io::Result<Vec<u8>> {
    let mut magic = [0; MAGIC.len()];
    let mut hash = [0; blake3::OUT_LEN];
    file.read_exact(&mut magic)?;
    file.read_exact(&mut hash)?;
    let mut code = Vec::new();
    file.read_to_end(&mut code)?;
    if magic != *MAGIC || blake3::hash(&code) != hash {
        return Err(io::Error::other("its bytes are not what was written"));
    }
    Ok(code)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const ENGINE: &[u8] = b"an engine";

    fn cache(bound_bytes: u64) -> (tempfile::TempDir, DiskCache) {
        let parent = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(&parent.path().join("a/b"), bound_bytes).unwrap();
        (parent, cache)
    }

    fn code(fill: u8) -> Artifact {
        Artifact::trusted(vec![fill; 1000])
    }

    #[test]
    fn an_entry_is_found_again_only_for_its_component_and_its_engine() {
        let (_parent, cache) = cache(1 << 20);
        let digest = Digest::of(b"component");
        cache.put(&digest, ENGINE, &code(1));
        assert_eq!(cache.get(&digest, ENGINE).unwrap().bytes(), code(1).bytes());
        assert!(cache.get(&digest, b"another engine").is_none());
        assert!(cache.get(&Digest::of(b"another"), ENGINE).is_none());
    }

    #[test]
    fn a_broken_entry_is_dropped() {
        let (_parent, cache) = cache(1 << 20);
        let digest = Digest::of(b"component");
        cache.put(&digest, ENGINE, &code(1));
        let path = cache.path(&digest, ENGINE);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(cache.get(&digest, ENGINE).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn the_least_recently_used_entry_goes_first() {
        let (_parent, cache) = cache(2500);
        let digests = [b"1", b"2", b"3"].map(|name| Digest::of(name));
        let age = |digest: &Digest, seconds| {
            let file = File::open(cache.path(digest, ENGINE)).unwrap();
            let time = SystemTime::now() - Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
        };
        cache.put(&digests[0], ENGINE, &code(1));
        cache.put(&digests[1], ENGINE, &code(2));
        age(&digests[0], 20);
        age(&digests[1], 10);
        cache.get(&digests[0], ENGINE).unwrap();
        cache.put(&digests[2], ENGINE, &code(3));
        let kept = digests.map(|digest| cache.get(&digest, ENGINE).is_some());
        assert_eq!(kept, [true, false, true]);
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("cache");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            DiskCache::open(&path, 1),
            Err(CacheError::Open { mode: 0o755, .. })
        ));
    }

    #[test]
    fn a_link_and_a_file_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("target");
        DiskCache::open(&target, 1).unwrap();
        let link = parent.path().join("link");
        symlink(&target, &link).unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [link, file] {
            assert!(matches!(
                DiskCache::open(&path, 1),
                Err(CacheError::NotADirectory { .. })
            ));
        }
    }
}
