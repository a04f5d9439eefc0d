//! What a name stands for.
//!
//! What is kept here is asked first, and is the answer for as long as the record says that nobody need ask again.
//! Then every source is asked, and the best of what they and we have holds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::records::{Kept, MAX_HOLDER_NAMES, MAX_NAMES};
use super::{Keys, Name, NameError, Record, Records};
use crate::{ContentError, ContentPath, IpfsPath};

/// The most names that may stand between a path and its content, the same as Kubo's.
pub const MAX_HOPS: usize = 32;

/// For how long a record is not asked for again at most, whatever it says itself: a day.
pub const MAX_FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// Somebody who may know records of names.
pub trait RecordSource: Send + Sync {
    /// The newest record of `name` that it knows, as bytes, which are not believed. It may block, and must have a
    /// deadline.
    fn record(&self, name: &Name) -> Result<Option<Vec<u8>>, ContentError>;
}

/// Names and what they stand for. Cheap to clone.
#[derive(Clone)]
pub struct Names {
    keys: Keys,
    records: Arc<Records>,
    sources: Arc<[Arc<dyn RecordSource>]>,
    /// How many names there may be for another to be kept.
    limit: usize,
}

impl Names {
    /// Names of `keys` and of others, whose records are in `records`.
    pub fn new(keys: Keys, records: Records) -> Self {
        Self {
            keys,
            records: Arc::new(records),
            sources: Arc::new([]),
            limit: MAX_NAMES,
        }
    }

    /// The same names, with others who may know records, in the order in which they are asked.
    pub fn with_sources(self, sources: Vec<Arc<dyn RecordSource>>) -> Self {
        Self {
            sources: sources.into(),
            ..self
        }
    }

    /// The same names, with the node's own key.
    pub fn with_self(self, key: super::Key) -> Self {
        Self {
            keys: self.keys.with_self(key),
            ..self
        }
    }

    /// The same names for somebody who was given them as a capability: what is put or resolved by them takes no more
    /// than [`MAX_HOLDER_NAMES`] of the room.
    pub fn for_holder(self) -> Self {
        Self {
            limit: MAX_HOLDER_NAMES,
            ..self
        }
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The records that are kept here.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The latest record of a name that can be had, which holds now.
    ///
    /// Errors: [`NameError::Expired`], [`NameError::NotFound`], [`NameError::RecordCorrupt`]; and when there is
    /// nothing else, what was wrong with the first answer that was refused, such as [`NameError::RolledBack`].
    pub fn resolve(&self, name: &Name) -> Result<Record, ContentError> {
        self.resolve_at(name, SystemTime::now())
    }

    /// Takes a record that came from elsewhere, and says which is the best then.
    ///
    /// Errors: as [`Record::verify`] and [`Records::keep`], and [`NameError::Expired`] for one that tells no more than
    /// that older ones do not hold.
    pub fn put(&self, name: &Name, record: &[u8]) -> Result<Record, ContentError> {
        self.put_at(name, record, SystemTime::now())
    }

    /// The path with every name in it resolved, those that names stand for too.
    ///
    /// Errors: as [`Names::resolve`] and [`Record::value`], [`NameError::Loop`], [`NameError::TooManyHops`], and
    /// [`ContentError::PathInvalid`] if all the names together make too long a path.
    pub fn resolve_path(&self, path: &ContentPath) -> Result<IpfsPath, ContentError> {
        let mut path = path.clone();
        let mut passed = Vec::new();
        loop {
            let (name, names) = match path {
                ContentPath::Ipfs(path) => return Ok(path),
                ContentPath::Ipns { name, names } => (name, names),
            };
            if passed.contains(&name) {
                return Err(NameError::Loop { name }.into());
            }
            if passed.len() == MAX_HOPS {
                return Err(NameError::TooManyHops { limit: MAX_HOPS }.into());
            }
            passed.push(name);
            path = self.resolve(&name)?.value()?.followed_by(&names)?;
        }
    }

    fn resolve_at(&self, name: &Name, now: SystemTime) -> Result<Record, ContentError> {
        if let Some(Kept { record, confirmed }) = self.records.kept(name)? {
            let fresh = record.ttl().min(MAX_FRESH);
            // A time that has yet to come was written under another clock.
            let is_fresh = now.duration_since(confirmed).is_ok_and(|age| age < fresh);
            if is_fresh && record.check_live(now).is_ok() {
                return Ok(record);
            }
        }
        let mut refused = None;
        for source in &*self.sources {
            let answer = match source.record(name) {
                Ok(Some(record)) => self.put_at(name, &record, now).map(drop),
                Ok(None) => Ok(()),
                Err(why) => Err(why),
            };
            refused = refused.or(answer.err());
        }
        // Read again: what they gave may not hold any more, and be newer nevertheless.
        let holds = match self.records.best(name)? {
            Some(best) => best.check_live(now).map(|()| best),
            None => Err(NameError::NotFound { name: *name }),
        };
        holds.map_err(|why| refused.unwrap_or_else(|| why.into()))
    }

    fn put_at(&self, name: &Name, record: &[u8], now: SystemTime) -> Result<Record, ContentError> {
        let record = Record::verify(name, record)?;
        // Kept first: one that has expired still says that older ones do not hold.
        let best = self.records.keep_at(&record, self.limit, now)?;
        record.check_live(now)?;
        Ok(best)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
