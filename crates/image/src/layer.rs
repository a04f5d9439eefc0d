//! One layer: a local directory, listed once and kept open. Reading a file later gives exactly what was
//! listed or an error, whatever has been put in its place; see [`content::tree`].

use std::io::Write;
use std::path::{Path, PathBuf};

use content::tree::{LocalTree, Tree, TreeError, TreePath};

use crate::{FHS, ImageError};

/// The FHS part of a directory, as it was when it was opened.
#[derive(Debug)]
pub struct Layer {
    path: PathBuf,
    local: LocalTree,
}

impl Layer {
    /// Opens the directory `path` and lists its FHS directories; the path itself may be a link, it is
    /// the user's word.
    ///
    /// Errors: [`ImageError::Missing`], [`ImageError::NotADirectory`], [`ImageError::Unreadable`],
    /// [`ImageError::NotFhs`], and [`ImageError::Layer`] for names, links, kinds and limits inside.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let local = LocalTree::open(path, &FHS).map_err(|error| match error {
            TreeError::Missing { path } => ImageError::Missing { path },
            TreeError::NotADirectory { path } => ImageError::NotADirectory { path },
            TreeError::Unreadable { path, source } => ImageError::Unreadable { path, source },
            source => ImageError::Layer {
                layer: path.to_owned(),
                source,
            },
        })?;
        if local.tree().is_empty() {
            return Err(ImageError::NotFhs {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            local,
        })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn tree(&self) -> &Tree {
        self.local.tree()
    }

    pub(crate) fn copy(&self, path: &TreePath, writer: &mut dyn Write) -> Result<(), ImageError> {
        let failed = |source| ImageError::Layer {
            layer: self.path.clone(),
            source,
        };
        self.local.copy(path, writer).map_err(failed)
    }
}
