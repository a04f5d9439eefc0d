//! What the key of a name has signed: a path, how often that has changed, and until when it holds.
//!
//! A record is a message of protocol buffers around data in dag-cbor. The signature of version 2 is over the data,
//! and only the data is read. The other fields are for readers that know version 1 alone: what is in them must be
//! the same, and their signature proves nothing here. Fields with unknown numbers are passed over, so that a
//! record's bytes are not one form but many; what they say is.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use ipld_core::ipld::Ipld;

use super::{Key, Name, NameError};
use crate::path::shown;
use crate::unixfs::wire::{Field, Malformed, Reader, once, put_bytes_field, put_varint_field};
use crate::{Codec, ContentError, ContentPath, dag};

/// The largest record, in bytes: what the specification of IPNS lets every reader take.
pub const MAX_RECORD_BYTES: usize = 10 * 1024;

/// The highest sequence: Kubo reads it as a signed number of 64 bits.
pub const MAX_SEQUENCE: u64 = i64::MAX as u64;

/// The longest text of a time that is looked at, in bytes. With nanoseconds it takes 30.
const MAX_TIME_TEXT_BYTES: usize = 40;

/// How far after 1970 a record may hold at most, when it is made here: far beyond everybody's patience, and still four
/// digits of a year.
pub(super) const LIMIT_YEARS: u64 = 1000;

/// What the signature of version 2 is over, before the data.
const DOMAIN: &[u8] = b"ipns-signature:";

/// The only kind of validity, an end of life: in the data, and in the signature of version 1.
const EOL: u64 = 0;
const EOL_TEXT: &[u8] = b"EOL";

/// Which readers a record is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// All of them, as with Kubo: what is signed stands beside it again for those of version 1.
    #[default]
    Both,
    /// Those of version 2. The record takes about half the bytes.
    V2Only,
}

/// A record whose signature has been verified. It may have expired: whoever resolves with it asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    name: Name,
    bytes: Vec<u8>,
    said: Said,
}

/// What the data says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    value: Vec<u8>,
    validity: Vec<u8>,
    eol: SystemTime,
    sequence: u64,
    ttl: u64,
}

/// The fields of the message.
#[derive(Default)]
struct Fields<'a> {
    value: Option<&'a [u8]>,
    signature_v1: Option<&'a [u8]>,
    validity_type: Option<u64>,
    validity: Option<&'a [u8]>,
    sequence: Option<u64>,
    ttl: Option<u64>,
    public_key: Option<&'a [u8]>,
    signature_v2: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
}

impl Record {
    /// Signs that the name of `key` stands for `value` until `eol`, and that this need not be asked again for `ttl`.
    ///
    /// Errors: [`NameError::SequenceExhausted`] beyond [`MAX_SEQUENCE`], [`NameError::TooLong`] for times beyond
    /// what can be written, [`NameError::RecordTooBig`].
    pub fn create(
        key: &Key,
        value: &ContentPath,
        sequence: u64,
        eol: SystemTime,
        ttl: Duration,
        form: Form,
    ) -> Result<Self, NameError> {
        let name = key.name();
        if sequence > MAX_SEQUENCE {
            let limit = MAX_SEQUENCE;
            return Err(NameError::SequenceExhausted { name, limit });
        }
        let too_long = || NameError::TooLong {
            limit_years: LIMIT_YEARS,
        };
        let said = Said {
            value: value.to_string().into_bytes(),
            validity: time_text(eol).ok_or_else(too_long)?.into_bytes(),
            eol,
            sequence,
            ttl: i64::try_from(ttl.as_nanos())
                .ok()
                .and_then(|ttl| ttl.try_into().ok())
                .ok_or_else(too_long)?,
        };
        let data = said.encode();
        let signature = key.sign(&[DOMAIN, &data].concat());
        let mut bytes = Vec::new();
        if form == Form::Both {
            put_bytes_field(&mut bytes, 1, &said.value);
            let old = [&said.value[..], &said.validity, EOL_TEXT].concat();
            put_bytes_field(&mut bytes, 2, &key.sign(&old));
            put_varint_field(&mut bytes, 3, EOL);
            put_bytes_field(&mut bytes, 4, &said.validity);
            put_varint_field(&mut bytes, 5, said.sequence);
            put_varint_field(&mut bytes, 6, said.ttl);
        }
        put_bytes_field(&mut bytes, 8, &signature);
        put_bytes_field(&mut bytes, 9, &data);
        check_size(&bytes)?;
        Ok(Self { name, bytes, said })
    }

    /// Reads a record that came from anywhere, and verifies that the key of `name` has signed it. Whether it has
    /// expired is another question: [`Record::check_live`].
    ///
    /// Errors: [`NameError::RecordTooBig`], [`NameError::RecordMalformed`], [`NameError::RecordUnsigned`],
    /// [`NameError::KeyDiffers`], [`NameError::SignatureWrong`], [`NameError::FieldDiffers`],
    /// [`NameError::ValidityKind`].
    pub fn verify(name: &Name, bytes: &[u8]) -> Result<Self, NameError> {
        check_size(bytes)?;
        let name = *name;
        let malformed = |why| NameError::RecordMalformed { name, why };
        let fields = Fields::decode(bytes).map_err(|Malformed(why)| malformed(why))?;
        let (Some(signature), Some(data)) = (fields.signature_v2, fields.data) else {
            return Err(NameError::RecordUnsigned { name });
        };
        if fields
            .public_key
            .is_some_and(|key| key != name.public_key())
        {
            return Err(NameError::KeyDiffers { name });
        }
        if !name.has_signed(&[DOMAIN, data].concat(), signature) {
            return Err(NameError::SignatureWrong { name });
        }
        let said = Said::decode(&name, data)?;
        if let Some(field) = fields.differs(&said) {
            return Err(NameError::FieldDiffers { name, field });
        }
        let bytes = bytes.to_vec();
        Ok(Self { name, bytes, said })
    }

    /// The name whose key has signed it.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The record as it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the name stands for.
    ///
    /// Errors: [`NameError::DnsLink`], and [`NameError::ValueInvalid`] for whatever else is no path that can be
    /// followed. Such a record is valid nevertheless, and older ones are rolled back by it.
    pub fn value(&self) -> Result<ContentPath, NameError> {
        let invalid = |why: String| NameError::ValueInvalid {
            name: self.name,
            why: shown(&why).into(),
        };
        let text =
            std::str::from_utf8(&self.said.value).map_err(|error| invalid(error.to_string()))?;
        text.parse().map_err(|error| match error {
            ContentError::Name(dns_link @ NameError::DnsLink { .. }) => dns_link,
            error => invalid(error.to_string()),
        })
    }

    /// How often the name has changed, about: of two records, the one with the higher sequence holds.
    pub fn sequence(&self) -> u64 {
        self.said.sequence
    }

    /// Until when it holds.
    pub fn eol(&self) -> SystemTime {
        self.said.eol
    }

    /// How long whoever has it need not ask for a newer one.
    pub fn ttl(&self) -> Duration {
        Duration::from_nanos(self.said.ttl)
    }

    /// Refuses a record that does not hold any more: [`NameError::Expired`].
    pub fn check_live(&self, now: SystemTime) -> Result<(), NameError> {
        if now <= self.said.eol {
            return Ok(());
        }
        let at = String::from_utf8_lossy(&self.said.validity).into();
        Err(NameError::Expired {
            name: self.name,
            at,
        })
    }

    /// Of two records the higher holds: the sequence decides, then the end of life.
    pub(super) fn rank(&self) -> (u64, SystemTime) {
        (self.said.sequence, self.said.eol)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = String::from_utf8_lossy(&self.said.value);
        f.debug_struct("Record")
            .field("name", &self.name)
            .field("value", &value)
            .field("sequence", &self.said.sequence)
            .field("eol", &self.said.eol)
            .finish_non_exhaustive()
    }
}

impl<'a> Fields<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match (number, field) {
                (1, Field::Bytes(value)) => once(&mut fields.value, value)?,
                (2, Field::Bytes(value)) => once(&mut fields.signature_v1, value)?,
                (3, Field::Varint(value)) => once(&mut fields.validity_type, value)?,
                (4, Field::Bytes(value)) => once(&mut fields.validity, value)?,
                (5, Field::Varint(value)) => once(&mut fields.sequence, value)?,
                (6, Field::Varint(value)) => once(&mut fields.ttl, value)?,
                (7, Field::Bytes(value)) => once(&mut fields.public_key, value)?,
                (8, Field::Bytes(value)) => once(&mut fields.signature_v2, value)?,
                (9, Field::Bytes(value)) => once(&mut fields.data, value)?,
                (1..=9, _) => return Err(Malformed("a field has the wrong wire type")),
                _ => {}
            }
        }
        Ok(fields)
    }

    /// A field of version 1 that a reader of that version would take for something else than what is signed.
    fn differs(&self, said: &Said) -> Option<&'static str> {
        // A record of version 1 has them all; a number that is 0 may be left out.
        let is_v1 = self.value.is_some() || self.signature_v1.is_some();
        let bytes = |field: Option<&[u8]>, said: &[u8]| match field {
            Some(field) => field != said,
            None => is_v1,
        };
        let number = |field: Option<u64>, said: u64| match field {
            Some(field) => field != said,
            None => is_v1 && said != 0,
        };
        if bytes(self.value, &said.value) {
            Some("value")
        } else if bytes(self.validity, &said.validity) {
            Some("validity")
        } else if number(self.validity_type, EOL) {
            Some("kind of validity")
        } else if number(self.sequence, said.sequence) {
            Some("sequence")
        } else if number(self.ttl, said.ttl) {
            Some("time to live")
        } else {
            None
        }
    }
}

impl Said {
    /// In the canonical form of dag-cbor.
    fn encode(&self) -> Vec<u8> {
        let number = |value: u64| Ipld::Integer(value.into());
        let data = Ipld::Map(BTreeMap::from([
            ("Value".to_owned(), Ipld::Bytes(self.value.clone())),
            ("Validity".to_owned(), Ipld::Bytes(self.validity.clone())),
            ("ValidityType".to_owned(), number(EOL)),
            ("Sequence".to_owned(), number(self.sequence)),
            ("TTL".to_owned(), number(self.ttl)),
        ]));
        // Into memory, of bytes and small numbers: there is nothing that could fail.
        serde_ipld_dagcbor::to_vec(&data).unwrap_or_default()
    }

    /// Other keys than the five are somebody's own, signed with the rest, and passed over.
    fn decode(name: &Name, data: &[u8]) -> Result<Self, NameError> {
        let name = *name;
        let malformed = |why| NameError::RecordMalformed { name, why };
        let Ok(Ipld::Map(mut data)) = dag::decode(Codec::DagCbor, data) else {
            return Err(malformed("its data is no map in dag-cbor"));
        };
        let mut bytes = |key, why| match data.remove(key) {
            Some(Ipld::Bytes(value)) => Ok(value),
            _ => Err(malformed(why)),
        };
        let value = bytes("Value", "its value is missing")?;
        let validity = bytes("Validity", "its validity is missing")?;
        let mut number = |key, why| match data.remove(key) {
            Some(Ipld::Integer(value)) => u64::try_from(value).map_err(|_| malformed(why)),
            _ => Err(malformed(why)),
        };
        let kind = number("ValidityType", "its kind of validity is missing")?;
        if kind != EOL {
            return Err(NameError::ValidityKind { name });
        }
        let sequence = number("Sequence", "its sequence is missing or negative")?;
        if sequence > MAX_SEQUENCE {
            let limit = MAX_SEQUENCE;
            return Err(NameError::SequenceExhausted { name, limit });
        }
        let ttl = number("TTL", "its time to live is missing or negative")?;
        let eol = parse_time(&validity)
            .ok_or_else(|| malformed("its validity is no time of RFC 3339 in UTC"))?;
        Ok(Self {
            value,
            validity,
            eol,
            sequence,
            ttl,
        })
    }
}

fn check_size(bytes: &[u8]) -> Result<(), NameError> {
    let limit = MAX_RECORD_BYTES;
    match bytes.len() {
        bytes if bytes > limit => Err(NameError::RecordTooBig { bytes, limit }),
        _ => Ok(()),
    }
}

/// With nanoseconds, in UTC. `None` before 1970, and [`LIMIT_YEARS`] or more after that.
fn time_text(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let limit = LIMIT_YEARS.saturating_mul(365 * 24 * 60 * 60);
    (since.as_secs() < limit).then(|| humantime::format_rfc3339_nanos(time).to_string())
}

fn parse_time(text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?;
    let is_short = text.len() <= MAX_TIME_TEXT_BYTES;
    is_short
        .then(|| humantime::parse_rfc3339(text).ok())
        .flatten()
}
