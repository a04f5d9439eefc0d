//! Saying what a name stands for.

use std::time::{Duration, SystemTime};

use super::record::LIMIT_YEARS;
use super::{Form, NameError, Names, Record};
use crate::{ContentError, ContentPath};

/// How long a record holds unless something else is said: a day.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long whoever has a record need not ask again, unless something else is said: five minutes.
pub const DEFAULT_TTL: Duration = Duration::from_secs(5 * 60);

/// How something is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishOptions {
    /// How long the record holds.
    pub lifetime: Duration,
    /// How long whoever has it need not ask for a newer one.
    pub ttl: Duration,
    /// Which readers it is for.
    pub form: Form,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            lifetime: DEFAULT_LIFETIME,
            ttl: DEFAULT_TTL,
            form: Form::default(),
        }
    }
}

impl Names {
    /// Lets the name of a key stand for a path, and returns when that will outlive a power failure. An empty key is
    /// `self`. The sequence is one more than the highest that was ever seen of the name, here; records that are only
    /// known elsewhere are not asked for. What the path leads to is not looked at.
    ///
    /// Errors: [`NameError::Loop`] for the name itself, [`NameError::TooLong`], [`NameError::SequenceExhausted`], and
    /// as [`Keys::get`](super::Keys::get) and [`Records::best`](super::Records::best).
    pub fn publish(
        &self,
        key: &str,
        value: &ContentPath,
        options: &PublishOptions,
    ) -> Result<Record, ContentError> {
        let key = self.keys().get(key)?;
        let name = key.name();
        if matches!(value, ContentPath::Ipns { name: to, .. } if *to == name) {
            return Err(NameError::Loop { name }.into());
        }
        let PublishOptions {
            lifetime,
            ttl,
            form,
        } = *options;
        self.records().advance(&name, |sequence| {
            let eol = SystemTime::now().checked_add(lifetime);
            let eol = eol.ok_or(NameError::TooLong {
                limit_years: LIMIT_YEARS,
            })?;
            Record::create(&key, value, sequence, eol, ttl, form)
        })
    }
}
