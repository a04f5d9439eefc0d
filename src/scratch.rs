//! What a run of a node puts on disk only for itself: a directory that goes with it.
//!
//! A run that ends removes its directory. One that was killed cannot, so the next run does: a directory
//! whose lock nobody holds belongs to nobody. Starting runs take turns, so that none sweeps away what
//! another is about to lock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// Held for as long as a run goes on, inside its own directory.
const OWNER: &str = "owner.lock";

/// Held while a run looks through what others have left, and makes a directory of its own.
const TURN: &str = "turn.lock";

/// One run's directory. Dropping it removes it with all that is in it.
pub struct Scratch {
    directory: TempDir,
    _owner: File,
}

impl Scratch {
    /// Makes a directory inside `place`, for the owner alone, after removing those of runs that have ended
    /// without doing so. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When `place` cannot be written to. What cannot be swept away is left, with a warning.
    pub fn new(place: &Path) -> io::Result<Self> {
        let turn = File::create(place.join(TURN))?;
        turn.lock()?;
        sweep(place)?;
        let directory = tempfile::Builder::new().prefix("node-").tempdir_in(place)?;
        let owner = File::create(directory.path().join(OWNER))?;
        owner.lock()?;
        Ok(Self {
            directory,
            _owner: owner,
        })
    }

    /// What it is called in its place: nobody else who is alive is called so.
    pub fn name(&self) -> String {
        let name = self.directory.path().file_name();
        name.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn sweep(place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && is_abandoned(&entry.path())? {
            tracing::debug!(directory = %entry.path().display(), "removing what a killed run left");
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(directory = %entry.path().display(), %error, "cannot remove");
            }
        }
    }
    Ok(())
}

fn is_abandoned(directory: &Path) -> io::Result<bool> {
    match File::open(directory.join(OWNER)) {
        Ok(owner) => match owner.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        },
        // Killed before it had a lock; nobody else is starting now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_a_living_one_has_is_not() {
        let place = tempfile::tempdir().unwrap();
        let living = Scratch::new(place.path()).unwrap();
        let killed = place.path().join("node-killed");
        fs::create_dir_all(killed.join("image")).unwrap();
        fs::write(killed.join(OWNER), "").unwrap();
        let half_made = place.path().join("node-half-made");
        fs::create_dir(&half_made).unwrap();

        let next = Scratch::new(place.path()).unwrap();

        assert!(!killed.exists());
        assert!(!half_made.exists());
        assert!(living.path().exists());
        assert!(next.path().exists());
    }

    #[test]
    fn dropping_removes_it() {
        let place = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(place.path()).unwrap();
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }
}
