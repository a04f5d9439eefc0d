//! Where the socket is in the file system: made for its owner alone, and removed with the node.
//!
//! It is made and closed to others in a directory that only its owner can enter, and put in its place from there, so
//! that nobody else can ever reach it. Nothing that is in its place already is touched, unless it is what a
//! node that was killed has left.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

/// The longest path that a socket can have, in bytes: what fits into an address, with the NUL at its end. As in Linux;
/// others have a few less, and refuse for themselves.
pub const MAX_PATH_BYTES: usize = 107;

/// Where the socket is. Dropping it removes the socket.
pub struct Place {
    path: PathBuf,
    file: File,
}

/// Why a socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It does not fit into an address.
    #[error(
        "the path of a socket may have {MAX_PATH_BYTES} bytes, and the one to make {} needs {bytes}; choose a \
         shorter one, such as $XDG_RUNTIME_DIR/ww.sock", path.display()
    )]
    TooLong {
        /// The path that was given.
        path: PathBuf,
        /// The bytes of that path, or of the one beside it where the socket is made.
        bytes: usize,
    },
    /// It names no file.
    #[error("`{}` is no name for a socket; give a path such as $XDG_RUNTIME_DIR/ww.sock", .0.display())]
    NoName(PathBuf),
    /// It is a file, a directory or a link.
    #[error("{} is there already, and is no socket; choose another path, or move it away", .0.display())]
    NotASocket(PathBuf),
    /// It is a socket in use.
    #[error("somebody listens on {} already; choose another path, or stop that program", .0.display())]
    InUse(PathBuf),
    /// The system refuses.
    #[error("cannot make a socket at {}: {error}; its folder has to be there, and writable for you", path.display())]
    Io {
        /// The path that was given.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Place {
    /// Makes a socket at this path.
    ///
    /// # Errors
    /// [`PlaceError`]; nothing has been changed then.
    pub async fn make(path: &Path) -> Result<(Self, UnixListener), PlaceError> {
        let failed = |error| PlaceError::Io {
            path: path.to_owned(),
            error,
        };
        let folder = match (path.parent(), path.file_name()) {
            (Some(folder), Some(_)) if folder.as_os_str().is_empty() => Path::new("."),
            (Some(folder), Some(_)) => folder,
            _ => return Err(PlaceError::NoName(path.to_owned())),
        };
        fits(path, path)?;
        let workshop = tempfile::Builder::new()
            .prefix(".ww-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(folder)
            .map_err(failed)?;
        let made = workshop.path().join("new");
        fits(&made, path)?;
        make_room(path, &workshop).await?;
        let listener = UnixListener::bind(&made).map_err(failed)?;
        fs::set_permissions(&made, Permissions::from_mode(0o600)).map_err(failed)?;
        let file = File::at(&made).map_err(failed)?;
        // A link and not a move, because a link takes nobody's place.
        fs::hard_link(&made, path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => PlaceError::InUse(path.to_owned()),
            _ => failed(error),
        })?;
        let place = Self {
            path: path.to_owned(),
            file,
        };
        Ok((place, listener))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody may have put another one there.
        if File::at(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Which file it is, whatever its name.
#[derive(PartialEq, Eq)]
struct File {
    device: u64,
    inode: u64,
}

impl File {
    fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

fn fits(path: &Path, wanted: &Path) -> Result<(), PlaceError> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > MAX_PATH_BYTES {
        return Err(PlaceError::TooLong {
            path: wanted.to_owned(),
            bytes,
        });
    }
    Ok(())
}

/// Takes a socket away on which nobody listens.
async fn make_room(path: &Path, workshop: &TempDir) -> Result<(), PlaceError> {
    let failed = |error| PlaceError::Io {
        path: path.to_owned(),
        error,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(PlaceError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    if !is_abandoned(path).await {
        return Err(PlaceError::InUse(path.to_owned()));
    }
    // Another node may be doing the same, and have put its own one there meanwhile: what has been taken away
    // is looked at again.
    let taken = workshop.path().join("old");
    match fs::rename(path, &taken) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(failed)?,
    }
    if is_abandoned(&taken).await {
        return Ok(());
    }
    fs::hard_link(&taken, path).map_err(failed)?;
    Err(PlaceError::InUse(path.to_owned()))
}

/// Whether nobody listens on a socket. Does not wait for those who do.
async fn is_abandoned(path: &Path) -> bool {
    let connected = UnixStream::connect(path).await;
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
