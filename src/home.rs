//! Where a node keeps what outlives it: its key, its block store, its compiled code.
//!
//! One folder, `$WW_HOME` or `ww` under the user's data directory, that only its owner can enter.
//! It is never inside an environment, so nothing in it can become part of an image. What this
//! module refuses: a home that is reached through a file, and a machine on which neither the
//! variable nor a home directory says where it should be.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Only the owner may enter, list or write.
const OWNER_ONLY: u32 = 0o700;

/// Why there is no home.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `$WW_HOME` nor the user's data directory is known.
    #[error("no place to keep ww's data: set WW_HOME to a folder, or HOME to your home directory")]
    Unknown,
    /// A folder of the home cannot be made.
    #[error("cannot make {path}: {source}; set WW_HOME to a folder that you can write to", path = .path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The folder of this user's `ww`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// Finds the home, `$WW_HOME` or else `ww` under the user's data directory (on Linux
    /// `$XDG_DATA_HOME` or `~/.local/share`), and makes it if it is not there.
    ///
    /// # Errors
    /// [`Error::Unknown`] if nothing says where it is, [`Error::Create`] if it cannot be made.
    pub fn open() -> Result<Self, Error> {
        let root = match std::env::var_os("WW_HOME").filter(|home| !home.is_empty()) {
            Some(home) => PathBuf::from(home),
            None => directories::BaseDirs::new()
                .ok_or(Error::Unknown)?
                .data_dir()
                .join("ww"),
        };
        Self::at(&root)
    }

    /// The home in this folder, which is made, for its owner alone, if it is not there. A folder
    /// that exists keeps its permissions; those below it are the owner's alone in any case.
    ///
    /// # Errors
    /// [`Error::Create`] if it cannot be made.
    pub fn at(root: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(|source| Error::Create {
            path: root.to_path_buf(),
            source,
        })?;
        Ok(Self {
            root: private_folder(root)?,
        })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The embedded block store: what was published or fetched.
    ///
    /// # Errors
    /// [`Error::Create`] if the folder cannot be made.
    pub fn store(&self) -> Result<PathBuf, Error> {
        private_folder(self.root.join("store"))
    }

    /// Compiled code. May be deleted at any time; it is made again.
    ///
    /// # Errors
    /// [`Error::Create`] if the folder cannot be made.
    pub fn cache(&self) -> Result<PathBuf, Error> {
        private_folder(self.root.join("cache"))
    }

    /// What belongs to the nodes that run at the moment: a directory each, see `scratch`.
    ///
    /// # Errors
    /// [`Error::Create`] if the folder cannot be made.
    pub fn run(&self) -> Result<PathBuf, Error> {
        private_folder(self.root.join("run"))
    }

    /// What environments keep under /var: a directory each.
    ///
    /// # Errors
    /// [`Error::Create`] if the folder cannot be made.
    pub fn var(&self) -> Result<PathBuf, Error> {
        private_folder(self.root.join("var"))
    }

    /// The folder that holds the node's key. The key is the node's to make and to protect; here
    /// is only where.
    ///
    /// # Errors
    /// [`Error::Create`] if the folder cannot be made.
    pub fn key(&self) -> Result<PathBuf, Error> {
        Ok(private_folder(self.root.join("keys"))?.join("node"))
    }
}

/// Makes a folder that only its owner can enter, and those above it as they usually are.
fn private_folder(path: PathBuf) -> Result<PathBuf, Error> {
    let made = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(
            |()| match DirBuilder::new().mode(OWNER_ONLY).create(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
                other => other,
            },
        );
    match made {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Create { path, source }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_folder_is_made_for_its_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(&place.path().join("a/home")).unwrap();
        let key = home.key().unwrap();
        for folder in [
            home.root().to_path_buf(),
            home.store().unwrap(),
            home.cache().unwrap(),
            home.run().unwrap(),
            key.parent().unwrap().to_path_buf(),
        ] {
            let mode = folder.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, OWNER_ONLY, "{}", folder.display());
        }
        assert!(!key.exists());
    }

    #[test]
    fn opening_twice_is_the_same_home() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("home");
        assert_eq!(Home::at(&path).unwrap(), Home::at(&path).unwrap());
    }

    #[test]
    fn a_file_in_its_place_is_refused_by_name() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("home");
        std::fs::write(&path, "").unwrap();
        let error = Home::at(&path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
}
