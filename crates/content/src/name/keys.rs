//! The keys that names are made of, each a file of its own.
//!
//! A file holds a key as libp2p writes it, so that Kubo can import it. It is called after the name that somebody
//! gave the key, in base32: such names come from strangers, and are never the name of a file themselves. The key
//! `self` is in no file; it is the node's, and is given from outside.

use std::sync::Arc;

use cid::multibase::Base;

use super::directory::{Directory, Held};
use super::key::PRIVATE_KEY_BYTES;
use super::{Key, KeyError, Name};
use crate::ContentError;
use crate::path::shown;

/// The name of the node's own key.
pub const SELF: &str = "self";

/// The longest name of a key, in bytes: in base32 it still is the name of a file.
pub const MAX_KEY_NAME_BYTES: usize = 128;

/// The most keys. All of them are read to list them, and each may have a record that cannot be thrown away.
pub const MAX_KEYS: usize = 256;

/// How the names of key files begin.
const PREFIX: &str = "key_";

/// A key, without the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyInfo {
    /// What somebody called it.
    pub name: String,
    /// The IPNS name that it speaks for.
    pub id: Name,
}

/// Key pairs by name. Cheap to clone; processes may share the directory.
#[derive(Clone, Debug)]
pub struct Keys {
    directory: Arc<Directory>,
    own: Option<Key>,
}

impl Keys {
    /// Opens the keys in a directory, which is made (0700) if it is not there.
    ///
    /// Errors: [`ContentError::StoreNotPrivate`], [`NameError::Busy`](super::NameError::Busy), [`ContentError::Io`].
    pub fn open(path: impl Into<std::path::PathBuf>) -> Result<Self, ContentError> {
        let directory = Arc::new(Directory::open(path.into())?);
        let own = None;
        Ok(Self { directory, own })
    }

    /// The same keys, and the node's own under the name [`SELF`].
    pub fn with_self(self, key: Key) -> Self {
        let own = Some(key);
        Self { own, ..self }
    }

    /// Makes a key and keeps it under a name.
    ///
    /// Errors: [`KeyError::NameInvalid`], [`KeyError::Reserved`], [`KeyError::Exists`], [`KeyError::TooMany`],
    /// [`KeyError::Random`], and [`ContentError::Io`].
    pub fn generate(&self, name: &str) -> Result<KeyInfo, ContentError> {
        let held = self.directory.lock()?;
        let file = self.vacant(&held, name)?;
        if self.files()?.len() >= MAX_KEYS {
            return Err(KeyError::TooMany { limit: MAX_KEYS }.into());
        }
        let key = Key::generate()?;
        self.directory.write(&held, &file, &key.to_protobuf())?;
        Ok(KeyInfo {
            name: name.to_owned(),
            id: key.name(),
        })
    }

    /// Every key: `self` first, the others by name.
    ///
    /// Errors: [`KeyError::Corrupt`], [`ContentError::Io`], and files that others can read.
    pub fn list(&self) -> Result<Vec<KeyInfo>, ContentError> {
        let mut keys = Vec::new();
        for (name, file) in self.files()? {
            if let Some(key) = self.read(&file)? {
                let id = key.name();
                keys.push(KeyInfo { name, id });
            }
        }
        keys.sort();
        if let Some(own) = &self.own {
            let (name, id) = (SELF.to_owned(), own.name());
            keys.insert(0, KeyInfo { name, id });
        }
        Ok(keys)
    }

    /// Gives a key another name.
    ///
    /// Errors: [`KeyError::NotFound`], and those of [`Keys::generate`] for the new name.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), ContentError> {
        let held = self.directory.lock()?;
        let taken = self.taken(from)?;
        let vacant = self.vacant(&held, to)?;
        self.directory.rename(&held, &taken, &vacant)
    }

    /// Throws a key away. Nobody can publish under its name any more.
    ///
    /// Errors: [`KeyError::NotFound`], [`KeyError::Reserved`], [`KeyError::NameInvalid`], [`ContentError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), ContentError> {
        let held = self.directory.lock()?;
        let taken = self.taken(name)?;
        self.directory.remove(&held, &taken)
    }

    /// The IPNS name of a key; an empty name is that of `self`. Errors: as [`Keys::get`].
    pub fn id(&self, name: &str) -> Result<Name, ContentError> {
        self.get(name).map(|key| key.name())
    }

    /// The key of this name; an empty one is that of `self`.
    ///
    /// Errors: [`KeyError::NotFound`], [`KeyError::NoSelf`], [`KeyError::NameInvalid`], [`KeyError::Corrupt`],
    /// [`ContentError::Io`], and a file that others can read.
    pub fn get(&self, name: &str) -> Result<Key, ContentError> {
        if matches!(name, "" | SELF) {
            let own = self.own.clone();
            return own.ok_or_else(|| KeyError::NoSelf.into());
        }
        let key = self.read(&file_of(name)?)?;
        key.ok_or_else(|| not_found(name).into())
    }

    /// The file of a key that is there.
    fn taken(&self, name: &str) -> Result<String, ContentError> {
        let file = file_of(name)?;
        match self.directory.has(&file)? {
            true => Ok(file),
            false => Err(not_found(name).into()),
        }
    }

    /// The file of a key that is not there, and cannot be while the lock is held.
    fn vacant(&self, _held: &Held, name: &str) -> Result<String, ContentError> {
        let file = file_of(name)?;
        match self.directory.has(&file)? {
            true => Err(KeyError::Exists { name: name.into() }.into()),
            false => Ok(file),
        }
    }

    /// Names of keys and their files; what else lies there is passed over.
    fn files(&self) -> Result<Vec<(String, String)>, ContentError> {
        let files = self.directory.files()?.into_iter();
        let named = files.filter_map(|file| name_of(&file).map(|name| (name, file)));
        Ok(named.collect())
    }

    fn read(&self, file: &str) -> Result<Option<Key>, ContentError> {
        let Some(contents) = self.directory.read(file, PRIVATE_KEY_BYTES)? else {
            return Ok(None);
        };
        let path = || self.directory.file(file);
        let key = Key::from_protobuf(&contents.bytes);
        key.map(Some)
            .ok_or_else(|| KeyError::Corrupt { path: path() }.into())
    }
}

fn file_of(name: &str) -> Result<String, KeyError> {
    let invalid = |why| KeyError::NameInvalid {
        name: shown(name).into(),
        why,
    };
    if name == SELF {
        Err(KeyError::Reserved)
    } else if name.is_empty() {
        Err(invalid("it is empty"))
    } else if name.len() > MAX_KEY_NAME_BYTES {
        Err(invalid("it is longer than 128 bytes"))
    } else if name.chars().any(char::is_control) {
        Err(invalid("it has a control character"))
    } else if name.contains('/') {
        Err(invalid("it has a slash"))
    } else {
        Ok(format!("{PREFIX}{}", Base::Base32Lower.encode(name)))
    }
}

/// The name of the key that a file is of.
fn name_of(file: &str) -> Option<String> {
    let name = Base::Base32Lower.decode(file.strip_prefix(PREFIX)?).ok()?;
    let name = String::from_utf8(name).ok()?;
    file_of(&name).is_ok_and(|own| own == file).then_some(name)
}

fn not_found(name: &str) -> KeyError {
    KeyError::NotFound {
        name: shown(name).into(),
    }
}
