//! The places that a cell may write to: `/tmp`, which is its own and goes with it, and `/var`, which is its
//! environment's and stays.
//!
//! Both are directories of the host's that no image can reach, held to the cell's budget.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cell::{Budget, Resource, Writable, WritableError};
use tempfile::TempDir;

/// A cell's `/tmp`.
pub struct Tmp {
    directory: TempDir,
    writable: Writable,
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
    /// It cannot be used.
    #[error(transparent)]
    Open(#[from] WritableError),
}

impl Tmp {
    /// An empty one below `place`, held to this budget.
    ///
    /// # Errors
    /// When the directory cannot be made or used.
    pub async fn new(place: &Path, budget: &Budget) -> Result<Self, FilesError> {
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
        })
    }

    /// As the cell gets it.
    pub fn writable(&self) -> Writable {
        self.writable.clone()
    }

    /// Removes it, once the cell has ended. Its bytes are given back to the budget when they are gone.
    pub async fn remove(self) {
        let Self {
            directory,
            writable,
        } = self;
        writable.settled().await;
        let removed = tokio::task::spawn_blocking(move || directory.close()).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, "a cell's /tmp cannot be removed");
        }
        drop(writable);
    }
}
