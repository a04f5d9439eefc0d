//! What is to stay: pins, each a name for a CID, kept beside the blocks.
//!
//! The surprising case first: a pin is the *pair* of a name and a CID. The same CID under two names is
//! there until both are removed, and one name may hold several CIDs, as the empty name does, which is
//! that of a pin that nobody named. A recursive pin keeps everything below its CID, a direct one the one
//! block. Pinning looks at no block; [`verify`] does.
//!
//! A pin is a small file, written beside its place, flushed and renamed into it, so that it is there
//! whole or not at all, for any number of processes at once. Names come from strangers and are never the
//! name of a file: a file is called after the hash of name and CID, and says both inside.
//!
//! Names below [`RUNNING`] are those of what running nodes hold, and nobody else's.
//!
//! Refused: names that are too long, or that a terminal or a person could take for something else, more
//! pins than [`MAX_PINS`] or for a holder [`MAX_HOLDER_PINS`], removing what is not there, and a pin whose file is not what was written.

mod error;
mod namespace;
mod record;
mod verify;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cid::Cid;

pub use self::error::PinError;
pub use self::namespace::{MAX_NAMESPACE_PINS, Namespace};
pub use self::verify::{Fault, Health, MAX_NAMED_FAULTS, verify};
use crate::block::digest;
use crate::store::{Lock, Writing};
use crate::{Codec, ContentError};

/// The longest name of a pin, in bytes, the same as Kubo's.
pub const MAX_NAME_BYTES: usize = 255;

/// The most pins in a store. All of them are read to list them and for each collection, which takes a
/// fifth of a second for this many.
pub const MAX_PINS: usize = 1 << 14;

/// How many pins there may be in a store when a [`Namespace`], or somebody who has a capability for it, adds another:
/// three quarters. What is beyond stays for the operator, whose commands would fail for good otherwise.
pub const MAX_HOLDER_PINS: usize = MAX_PINS / 4 * 3;

/// The pins that there is room for beyond [`MAX_PINS`], for what running nodes hold, so that nobody can keep one from
/// starting. No more than that is in their namespace.
const RUNNING_PINS: usize = MAX_NAMESPACE_PINS;

/// The namespace of what running nodes hold. [`Repo::hold`](crate::Repo::hold) and
/// [`Repo::let_go`](crate::Repo::let_go) alone change what is in it: a pin of anybody else there would be let go with
/// those of the dead, and whoever could remove one could let go what a node runs from. It is listed as any other.
pub const RUNNING: &str = "ww.running";

/// For whom something is pinned, which says how much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Whoever has the machine.
    Operator,
    /// Whoever was given a part of it.
    Holder,
    /// A running node, for what it runs.
    Node,
}

impl Asker {
    /// How many pins there may be in all.
    fn limit(self) -> usize {
        match self {
            Self::Operator => MAX_PINS,
            Self::Holder => MAX_HOLDER_PINS,
            Self::Node => MAX_PINS + RUNNING_PINS,
        }
    }
}

/// How much a pin keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// The block and everything below it.
    Recursive,
    /// The block alone.
    Direct,
}

/// A name for a CID that is to stay. Pins are ordered by name, then by CID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin {
    /// The name; empty for a pin without one.
    pub name: String,
    /// What is kept.
    pub cid: Cid,
    /// How much of it.
    pub depth: Depth,
}

impl Pin {
    /// A pin of everything below `cid`.
    pub fn recursive(name: impl Into<String>, cid: Cid) -> Self {
        let (name, depth) = (name.into(), Depth::Recursive);
        Self { name, cid, depth }
    }

    /// A pin of the one block `cid`.
    pub fn direct(name: impl Into<String>, cid: Cid) -> Self {
        let (name, depth) = (name.into(), Depth::Direct);
        Self { name, cid, depth }
    }
}

/// The pins of an embedded store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pins {
    pins: PathBuf,
    incoming: PathBuf,
    lock: Arc<Lock>,
}

impl Pins {
    pub(crate) fn new(pins: &Path, incoming: &Path, lock: &Arc<Lock>) -> Self {
        Self {
            pins: pins.to_owned(),
            incoming: incoming.to_owned(),
            lock: Arc::clone(lock),
        }
    }

    /// Keeps what `pin` says, from now on and after any crash. A pin of that name and CID is replaced.
    /// `writing` must have been held since the first block of the graph was put.
    ///
    /// Errors: [`PinError::NameInvalid`], [`PinError::Reserved`], [`PinError::TooMany`], [`PinError::OtherStore`],
    /// [`ContentError::Io`], and refusals of hash and codec.
    pub fn add(&self, writing: &Writing, pin: &Pin) -> Result<(), ContentError> {
        self.add_for(Asker::Operator, writing, pin)
    }

    /// As [`Pins::add`], with the room that there is for this one.
    pub(crate) fn add_for(
        &self,
        asker: Asker,
        writing: &Writing,
        pin: &Pin,
    ) -> Result<(), ContentError> {
        check_reserved(&pin.name)?;
        self.write(asker, writing, pin)
    }

    /// As [`Pins::add_for`], below [`RUNNING`] too.
    fn write(&self, asker: Asker, writing: &Writing, pin: &Pin) -> Result<(), ContentError> {
        if !writing.is_of(&self.lock) {
            return Err(PinError::OtherStore.into());
        }
        check_name(&pin.name)?;
        Codec::of(&pin.cid)?;
        digest(&pin.cid)?;
        let place = self.place(&pin.name, &pin.cid);
        let failed = |error| ContentError::io(&place, "writing the pin")(error);
        let limit = asker.limit();
        if !place.try_exists().map_err(failed)? && self.files()?.len() >= limit {
            return Err(PinError::TooMany { limit }.into());
        }
        let mut incoming = tempfile::NamedTempFile::new_in(&self.incoming).map_err(failed)?;
        incoming.write_all(&record::encode(pin)?).map_err(failed)?;
        // A torn pin would stop every collection, so unlike a block it is worth a flush.
        incoming.as_file().sync_all().map_err(failed)?;
        incoming
            .persist(&place)
            .map_err(|error| failed(error.error))?;
        File::open(&self.pins)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }

    /// Lets go of `cid` under `name`. What no other pin keeps goes with the next collection.
    ///
    /// Errors: [`PinError::NotPinned`], [`PinError::Reserved`], and [`ContentError::Io`].
    pub fn remove(&self, name: &str, cid: &Cid) -> Result<(), ContentError> {
        check_reserved(name)?;
        self.unlink(name, cid)
    }

    /// As [`Pins::remove`], below [`RUNNING`] too.
    fn unlink(&self, name: &str, cid: &Cid) -> Result<(), ContentError> {
        let place = self.place(name, cid);
        fs::remove_file(&place).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PinError::NotPinned {
                name: name.into(),
                cid: *cid,
            }
            .into(),
            _ => ContentError::io(&place, "removing the pin")(error),
        })
    }

    /// Every pin, by name and then by CID.
    ///
    /// Errors: [`PinError::Corrupt`] with the file that is no pin, and [`ContentError::Io`].
    pub fn list(&self) -> Result<Vec<Pin>, ContentError> {
        let mut pins = Vec::new();
        for file in self.files()? {
            pins.extend(self.read(&file)?);
        }
        pins.sort();
        Ok(pins)
    }

    /// The pins below `NAME/`, for somebody who is to see and change no others, and has the room of a holder.
    ///
    /// Errors: [`PinError::NameInvalid`], also for an empty name and for one that begins or ends in a
    /// slash or has two of them in a row, and [`PinError::Reserved`].
    pub fn namespace(&self, name: &str) -> Result<Namespace, ContentError> {
        check_reserved(name)?;
        Namespace::new(self, name, Asker::Holder)
    }

    /// The pins below [`RUNNING`].
    pub(crate) fn running(&self) -> Result<Namespace, ContentError> {
        Namespace::new(self, RUNNING, Asker::Node)
    }

    /// The files of pins. Others that lie beside them are passed over.
    fn files(&self) -> Result<Vec<PathBuf>, ContentError> {
        let failed = |error| ContentError::io(&self.pins, "listing the pins")(error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.pins).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_str().is_some_and(record::is_file_name) {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    /// The pin in `file`; `None` if it was removed meanwhile.
    fn read(&self, file: &Path) -> Result<Option<Pin>, ContentError> {
        let failed = |error| ContentError::io(file, "reading the pin")(error);
        let open = match File::open(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        open.take(record::MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let corrupt = || PinError::Corrupt {
            path: file.to_owned(),
        };
        let pin = record::decode(&bytes).ok_or_else(corrupt)?;
        // A file under another name than its own could not be removed.
        let is_its_own = self.place(&pin.name, &pin.cid) == file;
        if is_its_own && check_name(&pin.name).is_ok() {
            Ok(Some(pin))
        } else {
            Err(corrupt().into())
        }
    }

    fn place(&self, name: &str, cid: &Cid) -> PathBuf {
        self.pins.join(record::file_name(name, cid))
    }
}

/// Refuses what is for running nodes.
fn check_reserved(name: &str) -> Result<(), PinError> {
    match name.split('/').next() {
        Some(RUNNING) => Err(PinError::Reserved),
        _ => Ok(()),
    }
}

/// Refuses what a person or a terminal could take for something else than a name.
fn check_name(name: &str) -> Result<(), PinError> {
    let invalid = |why| PinError::NameInvalid {
        name: name.chars().take(MAX_NAME_BYTES).collect(),
        why,
    };
    if name.len() > MAX_NAME_BYTES {
        Err(invalid("it is too long"))
    } else if name.chars().any(char::is_control) {
        Err(invalid("it has a control character"))
    } else if name.split('/').any(|part| matches!(part, "." | "..")) {
        Err(invalid("`.` and `..` lead nowhere in it"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
