//! A private directory of small files, which processes share: each file is there whole or not at all, and one
//! process at a time changes them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::NameError;
use crate::ContentError;
use crate::store::exclusive;

/// How long somebody waits who wants to change something. Each change is one small file and two flushes, a second at
/// worst on a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

const LOCK: &str = "lock";
/// How the names of files begin that are not complete. No encoded name begins with a dot.
const INCOMPLETE: &str = ".incomplete-";

/// The permission bits of group and others.
const OTHERS: u32 = 0o077;

/// A directory, 0700, with files, 0600.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

/// While this lives, nobody else changes anything in the directory.
#[must_use = "what is read may change if this is not held"]
pub(super) struct Held {
    _lock: File,
}

/// What stands in a file, and when that was last confirmed.
pub(super) struct Contents {
    pub(super) bytes: zeroize::Zeroizing<Vec<u8>>,
    pub(super) confirmed: SystemTime,
}

impl Directory {
    /// Opens the directory, and makes it if there is none. Removes what writers that died left behind.
    pub(super) fn open(path: PathBuf) -> Result<Self, ContentError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(ContentError::io(&path, "creating the directory"))?;
        let found =
            fs::metadata(&path).map_err(ContentError::io(&path, "opening the directory"))?;
        let mode = found.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(ContentError::StoreNotPrivate { path, mode });
        }
        let directory = Self { path };
        let _held = directory.lock()?;
        for file in directory.all()? {
            if file.starts_with(INCOMPLETE) {
                directory.unlink(&file)?;
            }
        }
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Errors: [`NameError::Busy`] after [`PATIENCE`].
    pub(super) fn lock(&self) -> Result<Held, ContentError> {
        let path = self.file(LOCK);
        let busy = || NameError::Busy { path: path.clone() }.into();
        let _lock = exclusive(&path, PATIENCE, busy)?;
        Ok(Held { _lock })
    }

    /// The names of the files, in no order.
    pub(super) fn files(&self) -> Result<Vec<String>, ContentError> {
        let mut files = self.all()?;
        files.retain(|name| name != LOCK && !name.starts_with(INCOMPLETE));
        Ok(files)
    }

    pub(super) fn has(&self, name: &str) -> Result<bool, ContentError> {
        let path = self.file(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ContentError::io(&path, "looking for the file")(error)),
        }
    }

    /// At most one byte over `limit`; `None` if there is no such file.
    pub(super) fn read(&self, name: &str, limit: usize) -> Result<Option<Contents>, ContentError> {
        let path = self.file(name);
        let failed = |error| ContentError::io(&path, "reading the file")(error);
        // Looked at before it is opened, because opening a pipe waits.
        let found = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(failed)?,
        };
        if !found.is_file() {
            return Err(NameError::NotPlain { path }.into());
        }
        let mode = found.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(NameError::FileExposed { path, mode }.into());
        }
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let confirmed = file
            .metadata()
            .and_then(|found| found.modified())
            .map_err(failed)?;
        // Of its full size from the start: a vector that grows leaves copies behind.
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(limit + 1));
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Ok(Some(Contents { bytes, confirmed }))
    }

    /// Puts a file in its place, and returns when it will outlive a power failure.
    pub(super) fn write(&self, _held: &Held, name: &str, bytes: &[u8]) -> Result<(), ContentError> {
        let path = self.file(name);
        let failed = |error| ContentError::io(&path, "writing the file")(error);
        let mut incomplete = tempfile::Builder::new()
            .prefix(INCOMPLETE)
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(&self.path)
            .map_err(failed)?;
        incomplete.write_all(bytes).map_err(failed)?;
        incomplete.as_file().sync_all().map_err(failed)?;
        incomplete
            .persist(&path)
            .map_err(|error| failed(error.error))?;
        self.sync()
    }

    /// Sets when a file was last confirmed.
    pub(super) fn confirm(
        &self,
        _held: &Held,
        name: &str,
        now: SystemTime,
    ) -> Result<(), ContentError> {
        let path = self.file(name);
        File::open(&path)
            .and_then(|file| file.set_modified(now))
            .map_err(ContentError::io(&path, "confirming the file"))
    }

    pub(super) fn rename(&self, _held: &Held, from: &str, to: &str) -> Result<(), ContentError> {
        let path = self.file(from);
        fs::rename(&path, self.file(to)).map_err(ContentError::io(&path, "renaming the file"))?;
        self.sync()
    }

    pub(super) fn remove(&self, _held: &Held, name: &str) -> Result<(), ContentError> {
        self.unlink(name)?;
        self.sync()
    }

    fn unlink(&self, name: &str) -> Result<(), ContentError> {
        let path = self.file(name);
        fs::remove_file(&path).map_err(ContentError::io(&path, "removing the file"))
    }

    fn sync(&self) -> Result<(), ContentError> {
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(ContentError::io(&self.path, "flushing the directory"))
    }

    /// Files whose names are no text are somebody else's.
    fn all(&self) -> Result<Vec<String>, ContentError> {
        let failed = |error| ContentError::io(&self.path, "listing the directory")(error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }
}
