//! Where a cell finds programs that it does not bring along: in its image, by path, and in this node's own store, by
//! CID.
//!
//! Nobody else is asked for them: whoever may run programs may not thereby reach the network. What is fetched by
//! somebody who may, or was pushed here, is there.

use std::sync::Arc;

use content::Repo;
use content::read::File;
use image::{Image, ImageError};

/// The largest component that is read, 64 MiB, as for the first cell's.
pub const MAX_COMPONENT_BYTES: u64 = image::MAX_ENTRY_BYTES;

/// Where the programs of a cell are.
#[derive(Clone)]
pub struct Programs {
    image: Arc<Image>,
    repo: Option<Repo>,
}

/// Why a program was not read.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The image does not have it.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The store does not have it, or it is no file.
    #[error("{0}; only what is in this node's store can be loaded by its CID")]
    Content(#[from] content::ContentError),
    /// It is larger than any component.
    #[error("{bytes} bytes are too many for a component; at most {MAX_COMPONENT_BYTES} are read")]
    TooBig {
        /// Its size.
        bytes: u64,
    },
    /// There is no store.
    #[error("this cell has no store to load programs from by their CIDs")]
    NoStore,
}

impl Programs {
    /// Those of an image, and of a store if there is one.
    pub fn new(image: Arc<Image>, repo: Option<Repo>) -> Self {
        Self { image, repo }
    }

    /// The component at a path in the image. Blocks.
    ///
    /// # Errors
    /// [`ProgramError::Image`].
    pub fn by_path(&self, path: &str) -> Result<Vec<u8>, ProgramError> {
        Ok(self.image.read(path, MAX_COMPONENT_BYTES)?)
    }

    /// The component that is the file of this binary CID. Blocks.
    ///
    /// # Errors
    /// All but [`ProgramError::Image`].
    pub fn by_cid(&self, cid: &[u8]) -> Result<Vec<u8>, ProgramError> {
        let repo = self.repo.as_ref().ok_or(ProgramError::NoStore)?;
        let file = File::open(repo.embedded().clone(), &content::cid_from_bytes(cid)?)?;
        let bytes = file.bytes();
        if bytes > MAX_COMPONENT_BYTES {
            return Err(ProgramError::TooBig { bytes });
        }
        let mut wasm = vec![0; usize::try_from(bytes).unwrap_or_default()];
        file.read_exact_at(0, &mut wasm)?;
        Ok(wasm)
    }
}
