//! The best record of each name, on disk: one file a name, called by it.
//!
//! A file is never removed here and never replaced by a lower sequence, so that it is the watermark as well, across
//! restarts, processes, and the end of the record's own life. What is read is verified again.

use std::path::PathBuf;
use std::time::SystemTime;

use super::directory::{Directory, Held};
use super::{MAX_RECORD_BYTES, Name, NameError, Record};
use crate::ContentError;

/// The most names of others whose records are kept. With records of the largest size that is 160 MiB, and counting
/// them, which every new one takes, some milliseconds. None makes room for another: forgetting one would let it be
/// rolled back, and whoever can invent names could have any forgotten.
pub const MAX_NAMES: usize = 1 << 14;

/// How many names there may be when somebody who has a capability for the store brings another: three quarters, so that
/// records under invented names cannot keep the operator from following new ones.
pub const MAX_HOLDER_NAMES: usize = MAX_NAMES / 4 * 3;

/// The names that there is room for beyond those, for keys that are or were here, so that strangers cannot keep us
/// from publishing.
const OWN_NAMES: usize = 1 << 10;

/// A record, and when it was last confirmed to be the newest.
pub(super) struct Kept {
    pub(super) record: Record,
    pub(super) confirmed: SystemTime,
}

/// The best record of each name. Any number of threads and processes may share the directory.
#[derive(Debug)]
pub struct Records {
    directory: Directory,
}

impl Records {
    /// Opens the records in a directory, which is made (0700) if it is not there.
    ///
    /// Errors: [`ContentError::StoreNotPrivate`], [`NameError::Busy`], [`ContentError::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ContentError> {
        let directory = Directory::open(path.into())?;
        Ok(Self { directory })
    }

    /// The best record that was ever seen of a name, expired or not.
    ///
    /// Errors: [`NameError::RecordCorrupt`], [`ContentError::Io`].
    pub fn best(&self, name: &Name) -> Result<Option<Record>, ContentError> {
        Ok(self.kept(name)?.map(|kept| kept.record))
    }

    /// Keeps a record if it is better than what there is, and says which is the best then: the one with the highest
    /// sequence, and of those the one that holds longest.
    ///
    /// Errors: [`NameError::RolledBack`] if its sequence is lower than one that was seen, [`NameError::TooManyNames`],
    /// and as [`Records::best`].
    pub fn keep(&self, record: &Record) -> Result<Record, ContentError> {
        self.keep_at(record, MAX_NAMES, SystemTime::now())
    }

    /// As [`Records::keep`], where a name that is new must be among the first `limit`.
    pub(super) fn keep_at(
        &self,
        record: &Record,
        limit: usize,
        now: SystemTime,
    ) -> Result<Record, ContentError> {
        let held = self.directory.lock()?;
        let name = record.name();
        let kept = self.best(name)?;
        if let Some(kept) = kept {
            if record.sequence() < kept.sequence() {
                return Err(NameError::RolledBack {
                    name: *name,
                    sequence: record.sequence(),
                    seen: kept.sequence(),
                }
                .into());
            }
            if record.rank() <= kept.rank() {
                if record.rank() == kept.rank() {
                    self.directory.confirm(&held, &name.to_string(), now)?;
                }
                return Ok(kept);
            }
        } else {
            self.check_room(limit)?;
        }
        self.write(&held, record)
    }

    /// Keeps the record that `make` makes of the next sequence. Nobody else gets the same.
    ///
    /// Errors: those of `make`, [`NameError::TooManyNames`], and as [`Records::best`].
    pub(super) fn advance(
        &self,
        name: &Name,
        make: impl FnOnce(u64) -> Result<Record, NameError>,
    ) -> Result<Record, ContentError> {
        let held = self.directory.lock()?;
        let seen = match self.best(name)? {
            Some(kept) => kept.sequence(),
            None => {
                self.check_room(MAX_NAMES + OWN_NAMES)?;
                0
            }
        };
        // Sequences are at most half of what fits.
        let record = make(seen.saturating_add(1))?;
        self.write(&held, &record)
    }

    pub(super) fn kept(&self, name: &Name) -> Result<Option<Kept>, ContentError> {
        let file = name.to_string();
        let Some(found) = self.directory.read(&file, MAX_RECORD_BYTES)? else {
            return Ok(None);
        };
        let confirmed = found.confirmed;
        match Record::verify(name, &found.bytes) {
            Ok(record) => Ok(Some(Kept { record, confirmed })),
            // As good as none to a reader, but not to the watermark.
            Err(_) => {
                let path = self.directory.file(&file);
                Err(NameError::RecordCorrupt { path }.into())
            }
        }
    }

    fn check_room(&self, limit: usize) -> Result<(), ContentError> {
        if self.directory.files()?.len() < limit {
            return Ok(());
        }
        let directory = self.directory.path().to_owned();
        Err(NameError::TooManyNames { limit, directory }.into())
    }

    fn write(&self, held: &Held, record: &Record) -> Result<Record, ContentError> {
        let file = record.name().to_string();
        self.directory.write(held, &file, record.bytes())?;
        Ok(record.clone())
    }
}
