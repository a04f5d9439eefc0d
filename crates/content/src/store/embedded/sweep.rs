//! Going over the files of a store: those of blocks, and those that a writer left half-written.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::EmbeddedStore;
use crate::ContentError;
use crate::block::DIGEST_BYTES;

/// When a half-written file counts as left behind by a process that died, while others may be writing.
/// Writing a block of 2 MiB takes well under a second; an hour is far beyond any that is still being
/// written.
pub(super) const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

/// Is shown a block: its digest, its file, and the file's size in bytes.
pub(crate) type EachBlock<'a> =
    dyn FnMut([u8; DIGEST_BYTES], &Path, u64) -> Result<(), ContentError> + 'a;

impl EmbeddedStore {
    /// Removes half-written files: all of them where nobody can be writing, otherwise the old ones.
    pub(super) fn clear_abandoned(&self) -> Result<(), ContentError> {
        match self.lock.collect(Duration::ZERO) {
            Ok(_alone) => self.clear_incoming(Duration::ZERO),
            Err(ContentError::StoreBusy) => self.clear_incoming(ABANDONED_AFTER),
            Err(error) => Err(error),
        }
        .map(drop)
    }

    /// Removes half-written files of an age, and returns how many bytes they had.
    pub(crate) fn clear_incoming(&self, age: Duration) -> Result<u64, ContentError> {
        let failed = |error| ContentError::io(&self.incoming, "clearing abandoned files")(error);
        let mut bytes = 0_u64;
        for entry in fs::read_dir(&self.incoming).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Another process may be clearing too, or may just have renamed its file away.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            let is_old = age.is_zero()
                || matches!(found.modified().map(|at| at.elapsed()), Ok(Ok(past)) if past > age);
            if is_old && fs::remove_file(entry.path()).is_ok() {
                bytes = bytes.saturating_add(found.len());
            }
        }
        Ok(bytes)
    }

    /// Shows every block that is kept to `each`. Files with other names are passed over. A block that goes away meanwhile may or may not be shown.
    pub(crate) fn each_block(&self, each: &mut EachBlock<'_>) -> Result<(), ContentError> {
        let failed = |error| ContentError::io(&self.blocks, "listing the blocks")(error);
        for shard in fs::read_dir(&self.blocks).map_err(failed)? {
            let shard = shard.map_err(failed)?;
            if !shard.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            for entry in fs::read_dir(shard.path()).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Some(digest) = entry.file_name().to_str().and_then(unhex) else {
                    continue;
                };
                match entry.metadata() {
                    Ok(found) => each(digest, &entry.path(), found.len())?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(())
    }
}

fn unhex(name: &str) -> Option<[u8; DIGEST_BYTES]> {
    let mut digest = [0; DIGEST_BYTES];
    let mut digits = name.chars().map(|digit| {
        let lower = !digit.is_ascii_uppercase();
        digit.to_digit(16).filter(|_| lower)
    });
    for byte in &mut digest {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(digest)
}
