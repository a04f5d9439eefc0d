//! The key that a node proves itself with, and the file that keeps it.
//!
//! The file holds an Ed25519 key in libp2p's protobuf encoding. Whoever reads it can pass for this node, so it is
//! mode 0600 in a directory of mode 0700, both owned by the user who runs the node. Anything else is refused rather
//! than repaired: a key that was open to others is to be judged by a person. Links are refused, because the file
//! they lead to is protected by another directory than the one that was checked.

use std::{
    fmt,
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use libp2p::{
    PeerId,
    identity::{KeyType, Keypair},
};
use rustix::{
    fs::{Mode, OFlags},
    process::geteuid,
};
use zeroize::Zeroizing;

use crate::SwarmError;

/// An encoded Ed25519 key takes 68 bytes. What is longer than this is no key, and is not read.
const MAX_KEY_BYTES: u64 = 1024;

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// The permission bits of group and others.
const OTHERS: u32 = 0o077;

/// A node's key pair. Printing it shows the peer id only.
#[derive(Clone)]
pub struct Identity {
    keypair: Keypair,
}

impl Identity {
    /// A new key that is kept nowhere: the node is somebody else each time.
    pub fn ephemeral() -> Self {
        Identity {
            keypair: Keypair::generate_ed25519(),
        }
    }

    /// Reads the key at `path`, or makes one and keeps it there. Directories that are missing are made, with mode
    /// 0700. Two processes that do this at once get the same key. It reads and writes files, so it blocks.
    ///
    /// # Errors
    /// [`SwarmError::KeyExposed`], [`SwarmError::KeyForeign`], [`SwarmError::KeyNotPlain`] and
    /// [`SwarmError::KeyMalformed`] for what is there and must not be used; [`SwarmError::KeyIo`] for what the
    /// system refuses.
    pub fn load_or_create(path: &Path) -> Result<Self, SwarmError> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        keep_private_directory(directory)?;
        if let Some(identity) = load(path)? {
            return Ok(identity);
        }
        if let Some(identity) = create(directory, path)? {
            return Ok(identity);
        }
        // Another process made one in between; it appears whole or not at all.
        load(path)?.ok_or_else(|| failed(path)(io::ErrorKind::NotFound.into()))
    }

    /// The id that peers know this key by.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// The secret half, for what else the node signs as itself. `None` if the key is of another kind than Ed25519,
    /// which it never is.
    pub fn secret(&self) -> Option<[u8; 32]> {
        let pair = self.keypair.clone().try_into_ed25519().ok()?;
        pair.secret().as_ref().try_into().ok()
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.keypair
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.peer_id()).finish()
    }
}

fn keep_private_directory(path: &Path) -> Result<(), SwarmError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
        .map_err(failed(path))?;
    let metadata = fs::symlink_metadata(path).map_err(failed(path))?;
    if !metadata.is_dir() {
        return Err(SwarmError::KeyNotPlain {
            path: path.to_owned(),
            found: "a symbolic link",
            wanted: "a directory",
        });
    }
    check_private(path, &metadata, DIR_MODE)
}

/// `None` if there is no such file.
fn load(path: &Path) -> Result<Option<Identity>, SwarmError> {
    let not_plain = |found| SwarmError::KeyNotPlain {
        path: path.to_owned(),
        found,
        wanted: "a key file",
    };
    // Without NONBLOCK, opening a named pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(not_plain("a symbolic link")),
        Err(error) => return Err(failed(path)(error.into())),
    };
    let metadata = file.metadata().map_err(failed(path))?;
    if !metadata.is_file() {
        return Err(not_plain("not a plain file"));
    }
    if metadata.nlink() != 1 {
        return Err(not_plain("a file with a second name (a hard link)"));
    }
    check_private(path, &metadata, FILE_MODE)?;

    let malformed = || SwarmError::KeyMalformed {
        path: path.to_owned(),
    };
    if metadata.len() > MAX_KEY_BYTES {
        return Err(malformed());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize));
    file.take(MAX_KEY_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed(path))?;
    let keypair = Keypair::from_protobuf_encoding(&bytes).map_err(|_| malformed())?;
    if keypair.key_type() != KeyType::Ed25519 {
        return Err(malformed());
    }
    Ok(Some(Identity { keypair }))
}

/// `None` if the file exists by now.
fn create(directory: &Path, path: &Path) -> Result<Option<Identity>, SwarmError> {
    let identity = Identity::ephemeral();
    let bytes = identity
        .keypair
        .to_protobuf_encoding()
        .map(Zeroizing::new)
        .map_err(|error| failed(path)(io::Error::other(error)))?;
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".key-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(FILE_MODE))
            .tempfile_in(directory)?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => File::open(directory)?.sync_all().map(|()| true),
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(refused) => Err(refused.error),
        }
    };
    let is_ours = write().map_err(failed(path))?;
    Ok(is_ours.then_some(identity))
}

fn check_private(path: &Path, metadata: &Metadata, wanted: u32) -> Result<(), SwarmError> {
    let path = || PathBuf::from(path);
    let user = geteuid().as_raw();
    if metadata.uid() != user {
        return Err(SwarmError::KeyForeign {
            path: path(),
            owner: metadata.uid(),
            user,
        });
    }
    let mode = metadata.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(SwarmError::KeyExposed {
            path: path(),
            mode,
            wanted,
        });
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SwarmError + '_ {
    move |source| SwarmError::KeyIo {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    /// A place for a key, in directories that do not exist yet.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/key");
        (root, path)
    }

    #[test]
    fn key_is_kept_and_closed_to_others() {
        let (root, path) = place();
        let first = Identity::load_or_create(&path).unwrap();
        let second = Identity::load_or_create(&path).unwrap();
        assert_eq!(first.peer_id(), second.peer_id());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&root.path().join("a")), 0o700);
        assert_eq!(mode(&root.path().join("a/b")), 0o700);
        let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "a temporary file was left behind");
    }

    #[test]
    fn throw_away_keys_differ() {
        assert_ne!(
            Identity::ephemeral().peer_id(),
            Identity::ephemeral().peer_id()
        );
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_key() {
        let (_root, path) = place();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || Identity::load_or_create(&path).unwrap().peer_id())
            })
            .collect();
        let mut peers: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        peers.dedup();
        assert_eq!(peers.len(), 1);
    }

    #[test]
    fn key_that_others_can_read_is_refused_with_the_cure() {
        let (_root, path) = place();
        Identity::load_or_create(&path).unwrap();
        set_mode(&path, 0o640);
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, SwarmError::KeyExposed { mode: 0o640, .. }));
        let cure = format!("`chmod 600 {}`", path.display());
        assert!(error.to_string().ends_with(&cure), "{error}");
    }

    #[test]
    fn directory_that_others_can_enter_is_refused_with_the_cure() {
        let (_root, path) = place();
        Identity::load_or_create(&path).unwrap();
        set_mode(path.parent().unwrap(), 0o755);
        let error = Identity::load_or_create(&path).unwrap_err();
        let cure = format!("`chmod 700 {}`", path.parent().unwrap().display());
        assert!(error.to_string().ends_with(&cure), "{error}");
    }

    #[test]
    fn links_and_other_things_are_refused() {
        let (root, path) = place();
        Identity::load_or_create(&path).unwrap();
        let directory = path.parent().unwrap();

        let soft = directory.join("soft");
        symlink(&path, &soft).unwrap();
        let dangling = directory.join("dangling");
        symlink(directory.join("nothing"), &dangling).unwrap();
        let folder = directory.join("folder");
        fs::create_dir(&folder).unwrap();
        let pipe = directory.join("pipe");
        let mkfifo = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(mkfifo.unwrap().success());
        let linked_directory = root.path().join("linked");
        symlink(directory, &linked_directory).unwrap();
        let hard = directory.join("hard");
        fs::hard_link(&path, &hard).unwrap();

        let through_link = linked_directory.join("key");
        for refused in [&soft, &dangling, &folder, &pipe, &through_link, &hard] {
            let error = Identity::load_or_create(refused).unwrap_err();
            assert!(
                matches!(error, SwarmError::KeyNotPlain { .. }),
                "{}: {error}",
                refused.display()
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_left_alone() {
        let (_root, path) = place();
        Identity::load_or_create(&path).unwrap();
        for content in [&b""[..], b"not a key", &[8, 1, 18, 0], &[0; 100_000]] {
            fs::write(&path, content).unwrap();
            let error = Identity::load_or_create(&path).unwrap_err();
            assert!(matches!(error, SwarmError::KeyMalformed { .. }), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn printing_shows_the_peer_id_and_no_secret() {
        let identity = Identity::ephemeral();
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity({:?})", identity.peer_id())
        );
    }
}
