//! What Kubo answers in JSON: one value, or one a line.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use cid::Cid;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::parse_cid;
use crate::remote::{Answer, Download, Fault, RemoteError};

/// The longest line, in bytes. An honest one names a CID and a message.
const MAX_LINE_BYTES: u64 = 64 * 1024;

#[derive(Deserialize)]
pub(super) struct Version {
    #[serde(rename = "Version")]
    pub(super) version: String,
}

#[derive(Deserialize)]
pub(super) struct Id {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) struct Put {
    #[serde(rename = "Key")]
    pub(super) key: String,
}

#[derive(Deserialize)]
pub(super) struct Stat {
    #[serde(rename = "Size")]
    pub(super) size: u64,
}

/// A line of `dag/import`; others than about roots hold statistics.
#[derive(Deserialize)]
pub(super) struct Imported {
    #[serde(rename = "Root")]
    pub(super) root: Option<Root>,
}

#[derive(Deserialize)]
pub(super) struct Root {
    #[serde(rename = "Cid")]
    pub(super) cid: Link,
    #[serde(rename = "PinErrorMsg", default)]
    pub(super) pin_error: String,
}

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(rename = "/")]
    pub(super) text: String,
}

/// A line of `pin/add`: how far it is, or what it pinned.
#[derive(Deserialize)]
pub(super) struct Pins {
    #[serde(rename = "Pins", default)]
    pins: Vec<String>,
}

impl Pins {
    pub(super) fn names(&self, cid: &Cid) -> bool {
        self.pins.iter().any(|text| same(text, cid))
    }
}

#[derive(Deserialize)]
pub(super) struct Keys {
    #[serde(rename = "Keys", default)]
    keys: HashMap<String, serde::de::IgnoredAny>,
}

impl Keys {
    pub(super) fn has(&self, cid: &Cid) -> bool {
        self.keys.keys().any(|text| same(text, cid))
    }
}

/// Kubo may answer in another base or version than it was asked in.
fn same(text: &str, cid: &Cid) -> bool {
    parse_cid(text).is_ok_and(|named| named.hash() == cid.hash())
}

/// A small answer as a `T`, or [`Fault::Garbled`].
pub(super) fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, RemoteError> {
    serde_json::from_slice(&answer.bytes).map_err(|error| answer.garbled(error))
}

/// An answer with one JSON value a line, read as it comes.
pub(super) struct Lines {
    download: BufReader<Download>,
}

/// A line that says that the daemon gave up.
#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "Message")]
    message: String,
    #[serde(rename = "Type")]
    kind: String,
}

impl Lines {
    pub(super) fn new(download: Download) -> Self {
        Self {
            download: BufReader::new(download),
        }
    }

    /// The next line, or `None` at the end.
    ///
    /// Errors: [`Fault::GaveUp`] for a line that is an error, [`Fault::Garbled`], and what reading the
    /// stream says.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RemoteError> {
        let mut line = Vec::new();
        (&mut self.download)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|error| {
                RemoteError::from_read(error).unwrap_or_else(|error| self.garbled(error))
            })?;
        if line.is_empty() {
            return Ok(None);
        }
        if let Ok(failure) = serde_json::from_slice::<Failure>(&line)
            && failure.kind == "error"
        {
            return Err(self.gave_up(&failure.message));
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| self.garbled(error))
    }

    pub(super) fn error(&self, fault: Fault) -> RemoteError {
        self.download.get_ref().error(fault)
    }

    pub(super) fn garbled(&self, why: impl ToString) -> RemoteError {
        self.error(Fault::Garbled {
            why: crate::remote::quoted(&why.to_string()),
        })
    }

    pub(super) fn gave_up(&self, message: &str) -> RemoteError {
        self.error(Fault::GaveUp {
            message: crate::remote::quoted(message),
        })
    }
}
