//! The places that a cell may write to: `/tmp`, which is its own and goes with it, and `/var`, which is its
//! environment's and stays.
//!
//! Both are directories of the host's that no image can reach, held to the cell's budget.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cell::{Budget, Charge, Exhausted, Resource, Writable, WritableError};
use content::tree::Node;
use image::Image;
use tempfile::TempDir;

/// How often the removal of a `/tmp` is tried. It fails while the process has no file descriptors left, or the disk
/// has trouble, and both may pass.
const ATTEMPTS: u32 = 6;

/// The pause after the first attempt, which doubles with each further one: a second and a half in all, for which the
/// end of the cell is not told.
const PAUSE: Duration = Duration::from_millis(50);

/// How much of a file is copied at a time, in bytes: a chunk of a published one.
const COPY_BYTES: usize = 256 * 1024;

/// A cell's `/tmp`.
pub struct Tmp {
    directory: TempDir,
    writable: Writable,
    /// For the descriptor that `writable` has open.
    charge: Charge,
}

/// Why a cell has no place to write to.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory cannot be made.
    #[error("cannot make a directory in {place}: {error}")]
    Make {
        /// Where.
        place: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Nothing more may be open.
    #[error(transparent)]
    Bound(#[from] Exhausted),
    /// It cannot be used.
    #[error(transparent)]
    Open(#[from] WritableError),
}

impl Tmp {
    /// An empty one below `place`, held to this budget.
    ///
    /// # Errors
    /// When the directory cannot be made or used, or the budget has no open file left.
    pub async fn new(place: &Path, budget: &Budget) -> Result<Self, FilesError> {
        let charge = budget.charge(Resource::Files, 1)?;
        let below = place.to_owned();
        let made = tokio::task::spawn_blocking(move || {
            tempfile::Builder::new().prefix("tmp-").tempdir_in(below)
        });
        let directory = made
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| FilesError::Make {
                place: place.to_owned(),
                error,
            })?;
        let quota = Arc::new(budget.open(Resource::Tmp));
        let writable = Writable::open(directory.path(), quota).await?;
        Ok(Self {
            directory,
            writable,
            charge,
        })
    }

    /// As the cell gets it.
    pub fn writable(&self) -> Writable {
        self.writable.clone()
    }

    /// Removes it, once the cell has ended. Its bytes are given back to the budget when they are gone: if it cannot be
    /// removed, not before the node ends.
    pub async fn remove(self) {
        let Self {
            directory,
            writable,
            charge,
        } = self;
        writable.settled().await;
        match remove(directory.path()).await {
            Ok(()) => {
                drop(writable);
                drop(charge);
            }
            Err(error) => {
                let place = directory.keep();
                tracing::warn!(%error, place = %place.display(), "a cell's /tmp cannot be removed");
                // The bytes are still there. Given back, they could be written again and again.
                std::mem::forget((writable, charge));
            }
        }
    }
}

/// Removes a directory with all that it holds, in several attempts if need be.
async fn remove(directory: &Path) -> io::Result<()> {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        if attempt(directory).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    attempt(directory).await
}

async fn attempt(directory: &Path) -> io::Result<()> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Where an environment's `/var` is kept, and what it starts from.
pub struct Var {
    /// The directory of all of them.
    pub place: PathBuf,
    /// What tells this environment from others.
    pub environment: String,
    /// Where a new one is put together: on the same file system, and swept after a run that was killed.
    pub scratch: PathBuf,
    /// The image, which may have a `var` of its own.
    pub seed: Arc<Image>,
}

impl Var {
    /// The directory, as the cell gets it, held to this budget; `None` while another run of the same environment has
    /// it, since two would write over each other's files.
    ///
    /// # Errors
    /// When it cannot be made or used, or holds more than the budget allows.
    pub async fn open(self, budget: &Budget) -> Result<Option<Writable>, FilesError> {
        let name = blake3::hash(self.environment.as_bytes()).to_hex();
        let directory = self.place.join(name.as_str());
        let made = tokio::task::spawn_blocking({
            let directory = directory.clone();
            move || self.make(&directory)
        });
        made.await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| FilesError::Make {
                place: directory.clone(),
                error,
            })?;
        match Writable::open(directory, Arc::new(budget.open(Resource::Var))).await {
            Ok(writable) => Ok(Some(writable)),
            Err(WritableError::InUse { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes it, if this is its first use: whole or not at all.
    fn make(&self, directory: &Path) -> io::Result<()> {
        if directory.exists() {
            return Ok(());
        }
        let new = tempfile::Builder::new()
            .prefix("var-")
            .tempdir_in(&self.scratch)?;
        if let Some(var) = self.seed.child(image::ROOT, "var") {
            copy(&self.seed, var, new.path())?;
        }
        match fs::rename(new.path(), directory) {
            // Another run of the same environment was first.
            Err(_) if directory.exists() => Ok(()),
            Ok(()) => {
                // It has gone from where it would be removed.
                let _ = new.keep();
                Ok(())
            }
            other => other,
        }
    }
}

/// Copies what is in a directory of the image: files, directories, and links as links.
fn copy(image: &Image, directory: u64, to: &Path) -> io::Result<()> {
    let mut ahead = vec![(directory, to.to_owned())];
    while let Some((directory, to)) = ahead.pop() {
        let mut entries = (0..).map_while(|index| image.child_at(directory, index));
        entries.try_for_each(|(name, number)| {
            let target = to.join(name);
            match image.node(number) {
                Some(Node::Directory) => {
                    fs::create_dir(&target)?;
                    ahead.push((number, target));
                    Ok(())
                }
                Some(Node::Link { target: says }) => std::os::unix::fs::symlink(says, target),
                Some(Node::File { .. }) => copy_file(image, number, &target),
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}

fn copy_file(image: &Image, number: u64, to: &Path) -> io::Result<()> {
    let file = image.open(number).map_err(io::Error::other)?;
    let mut copy = fs::File::create_new(to)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0_u64;
    loop {
        let read = file
            .read_at(offset, &mut buffer)
            .map_err(io::Error::other)?;
        match buffer.get(..read) {
            Some(piece) if !piece.is_empty() => copy.write_all(piece)?,
            _ => return Ok(()),
        }
        offset = offset.saturating_add(read as u64);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A `/tmp` that holds something, and where it is.
    async fn filled(place: &Path, budget: &Budget) -> (Tmp, PathBuf) {
        let tmp = Tmp::new(place, budget).await.unwrap();
        let directory = tmp.directory.path().to_owned();
        fs::create_dir(directory.join("some")).unwrap();
        fs::write(directory.join("some/file"), "text").unwrap();
        (tmp, directory)
    }

    #[tokio::test]
    async fn what_is_removed_is_given_back() {
        let place = tempfile::tempdir().unwrap();
        let budget = Budget::default();
        let (tmp, directory) = filled(place.path(), &budget).await;
        assert_ne!(budget.used().tmp_bytes, 0);
        assert_eq!(budget.used().files, 1);
        tmp.remove().await;
        assert!(!directory.exists());
        assert_eq!(budget.used().tmp_bytes, 0);
        assert_eq!(budget.used().files, 0);
    }
    /// Puts a file where the directory was, so that removing the directory fails.
    fn obstruct(directory: &Path) {
        fs::remove_dir_all(directory).unwrap();
        fs::write(directory, "no directory").unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_removed_stays_charged() {
        let place = tempfile::tempdir().unwrap();
        let budget = Budget::default();
        let (tmp, directory) = filled(place.path(), &budget).await;
        let charged = budget.used().tmp_bytes;
        obstruct(&directory);
        tmp.remove().await;
        assert_eq!(budget.used().tmp_bytes, charged);
        assert_eq!(budget.used().files, 1);
    }

    #[tokio::test]
    async fn a_removal_that_failed_is_tried_again() {
        let place = tempfile::tempdir().unwrap();
        let budget = Budget::default();
        let (tmp, directory) = filled(place.path(), &budget).await;
        obstruct(&directory);
        tokio::join!(tmp.remove(), async {
            tokio::time::sleep(PAUSE).await;
            fs::remove_file(&directory).unwrap();
        });
        assert_eq!(budget.used().tmp_bytes, 0);
        assert_eq!(budget.used().files, 0);
    }
}
