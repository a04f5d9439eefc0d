//! The pins of one holder: what lies below a name and a slash, and nothing else.

use cid::Cid;

use super::{Asker, Pin, PinError, Pins, check_name};
use crate::ContentError;
use crate::store::Writing;

/// The most pins in a namespace, so that no holder of one uses up what a store may have.
pub const MAX_NAMESPACE_PINS: usize = 1024;

/// Pins whose names begin with one prefix, seen without it. Whoever holds this can neither see nor change
/// other pins; whoever holds the namespace `a` does see and change those of `a/b`.
#[derive(Clone, Debug)]
pub struct Namespace {
    pins: Pins,
    /// With its slash.
    prefix: String,
    asker: Asker,
}

impl Namespace {
    pub(super) fn new(pins: &Pins, name: &str, asker: Asker) -> Result<Self, ContentError> {
        check_name(name)?;
        if name.split('/').any(str::is_empty) {
            let (name, why) = (name.into(), "a part of a namespace is empty");
            return Err(PinError::NameInvalid { name, why }.into());
        }
        Ok(Self {
            pins: pins.clone(),
            prefix: format!("{name}/"),
            asker,
        })
    }

    /// As [`Pins::add`]. Errors: those, and [`PinError::TooMany`] beyond [`MAX_NAMESPACE_PINS`] here
    /// and [`MAX_HOLDER_PINS`](super::MAX_HOLDER_PINS) in the store.
    pub fn add(&self, writing: &Writing, pin: &Pin) -> Result<(), ContentError> {
        let pin = Pin {
            name: self.full(&pin.name)?,
            ..pin.clone()
        };
        let others = self.pins.list()?.into_iter().filter(|other| {
            other.name.starts_with(&self.prefix) && (&other.name, other.cid) != (&pin.name, pin.cid)
        });
        let limit = MAX_NAMESPACE_PINS;
        if others.count() >= limit {
            return Err(PinError::TooMany { limit }.into());
        }
        self.pins.write(self.asker, writing, &pin)
    }

    /// As [`Pins::remove`].
    pub fn remove(&self, name: &str, cid: &Cid) -> Result<(), ContentError> {
        self.pins.unlink(&self.full(name)?, cid)
    }

    /// As [`Pins::list`], without the prefix.
    pub fn list(&self) -> Result<Vec<Pin>, ContentError> {
        let pins = self.pins.list()?.into_iter().filter_map(|pin| {
            let name = pin.name.strip_prefix(&self.prefix)?.to_owned();
            Some(Pin { name, ..pin })
        });
        Ok(pins.collect())
    }

    fn full(&self, name: &str) -> Result<String, PinError> {
        let full = format!("{}{name}", self.prefix);
        check_name(&full).map(|()| full)
    }
}
