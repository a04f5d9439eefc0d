//! The RPC interface of a Kubo daemon (`/api/v0`), as far as we call it.
//!
//! Nothing that a daemon answers is used as it is: blocks are verified by the stores that ask for them,
//! and names are computed here and compared, never asked for. See [`remote`](crate::remote) for how an
//! answer is bounded in size and time.
//!
//! What is asked: `version` and `id` (is it there, and who), `block/get`, `block/put`, `block/stat`,
//! `dag/export` and `dag/import` (a whole DAG as a CAR, in one request), `pin/add`, `pin/rm`, `pin/ls`.
//!
//! Kubo tells "there is none" from other errors by its words alone, so these words are looked for
//! ([`ABSENT`], [`NOT_PINNED`]); should they change, an absence turns into an error, never an error
//! into an absence.

mod answers;
mod multipart;

use std::io::Read;
use std::time::Duration;

use cid::Cid;

use self::answers::Lines;
use self::multipart::Multipart;
use crate::remote::{Answer, Deadlines, Download, Endpoint, Fault, RemoteError, Server};
use crate::{Block, MAX_BLOCK_BYTES, parse_cid};

/// The longest small answer, in bytes. The longest honest one is `id`, with some dozens of addresses.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// How Kubo and its relatives say that a block is not there.
const ABSENT: [&str; 2] = ["not found", "could not find"];
/// How they say that something is not pinned.
const NOT_PINNED: &str = "not pinned";

/// Where the daemon may look for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Among its own alone.
    Local,
    /// Among its peers too, for as long as [`Deadlines::answer`].
    Network,
}

/// What becomes of the roots of a CAR that is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// They are pinned, and with them all that is below.
    Pinned,
    /// Nothing: the daemon may collect them when it likes.
    Unpinned,
}

/// A client of one Kubo daemon. Calls block; any number of threads may call at once.
#[derive(Clone, Debug)]
pub struct Kubo {
    endpoint: Endpoint,
}

impl Kubo {
    /// The daemon at `url`, such as `http://localhost:5001`. Nobody is asked yet.
    ///
    /// Errors: [`Fault::Address`] for what is no `http://` or `https://` address, has credentials or a
    /// query in it.
    pub fn new(url: &str, deadlines: Deadlines) -> Result<Self, RemoteError> {
        let endpoint = Endpoint::new(Server::Kubo, url, deadlines)?;
        Ok(Self { endpoint })
    }

    /// The address of the daemon.
    pub fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// The version that the daemon says it has: the cheapest way to see whether it is there.
    pub fn version(&self) -> Result<String, RemoteError> {
        let answer = self.post("version", &[])?;
        Ok(answers::parse::<answers::Version>(&answer)?.version)
    }

    /// The daemon's peer id, as text; it has not been checked to be one.
    pub fn id(&self) -> Result<String, RemoteError> {
        let answer = self.post("id", &[])?;
        Ok(answers::parse::<answers::Id>(&answer)?.id)
    }

    /// The bytes that the daemon has under `cid`, **not verified**; `None` if it has none there. Never
    /// more than [`MAX_BLOCK_BYTES`], else [`Fault::TooLong`].
    pub fn block_get(&self, cid: &Cid, reach: Reach) -> Result<Option<Vec<u8>>, RemoteError> {
        let cid = cid.to_string();
        let timeout = duration(self.endpoint.deadlines().answer);
        let query = [
            ("arg", cid.as_str()),
            ("offline", offline(reach)),
            ("timeout", &timeout),
        ];
        let answer = self.endpoint.post(
            "block/get",
            "/api/v0/block/get",
            &query,
            MAX_BLOCK_BYTES as u64,
        );
        Ok(unless_absent(answer)?.map(|answer| answer.bytes))
    }

    /// Gives the daemon `block`, and makes sure that it keeps it under its name. It is not pinned.
    ///
    /// Errors: [`Fault::OtherName`] if the daemon answers with a CID of other bytes or codec.
    pub fn block_put(&self, block: &Block) -> Result<(), RemoteError> {
        let mut bytes = block.bytes().as_ref();
        let codec = codec_name(block.cid());
        let mut body = Multipart::new(&mut bytes);
        let timeout = duration(self.endpoint.deadlines().call);
        let query = [
            ("cid-codec", codec),
            ("mhtype", "sha2-256"),
            // The daemon's own bound is 1 MiB; ours is the exchange's.
            ("allow-big-block", "true"),
            ("pin", "false"),
            ("cid-base", "base32"),
            ("timeout", &timeout),
        ];
        let answer = self.upload("block/put", "/api/v0/block/put", &query, &mut body)?;
        let mut lines = Lines::new(answer);
        let kept = match lines.next::<answers::Put>()? {
            Some(put) => put.key,
            None => return Err(lines.garbled("an empty answer")),
        };
        match parse_cid(&kept) {
            Ok(cid) if cid.hash() == block.cid().hash() && cid.codec() == block.cid().codec() => {
                Ok(())
            }
            _ => Err(lines.error(Fault::OtherName {
                sent: *block.cid(),
                kept,
            })),
        }
    }

    /// The size in bytes of the block that the daemon itself has under `cid`, or `None`. Its peers are
    /// not asked, and the block is not read.
    pub fn block_stat(&self, cid: &Cid) -> Result<Option<u64>, RemoteError> {
        let cid = cid.to_string();
        let answer = self.post("block/stat", &[("arg", &cid), ("offline", "true")]);
        match unless_absent(answer)? {
            Some(answer) => Ok(Some(answers::parse::<answers::Stat>(&answer)?.size)),
            None => Ok(None),
        }
    }

    /// All that is below `root`, as a CAR, **not verified**, of at most `limit` bytes. The daemon looks
    /// for what it does not have.
    pub fn dag_export(&self, root: &Cid, limit: u64) -> Result<Download, RemoteError> {
        let root = root.to_string();
        let timeout = duration(self.endpoint.deadlines().stream);
        let query = [
            ("arg", root.as_str()),
            ("progress", "false"),
            ("timeout", &timeout),
        ];
        self.endpoint
            .post_stream("dag/export", "/api/v0/dag/export", &query, limit)
    }

    /// Gives the daemon all blocks of a CAR, which is read as it is sent. Returns the roots that the
    /// daemon says it pinned; none for [`Roots::Unpinned`].
    ///
    /// Errors: [`Fault::Upload`] if `car` cannot be read; [`Fault::GaveUp`] if a root could not be
    /// pinned, most often because the CAR does not hold all that is below it.
    pub fn dag_import(&self, mut car: impl Read, roots: Roots) -> Result<Vec<Cid>, RemoteError> {
        let mut body = Multipart::new(&mut car);
        let timeout = duration(self.endpoint.deadlines().stream);
        let query = [
            (
                "pin-roots",
                match roots {
                    Roots::Pinned => "true",
                    Roots::Unpinned => "false",
                },
            ),
            ("allow-big-block", "true"),
            ("cid-base", "base32"),
            ("timeout", &timeout),
        ];
        let answer = self.upload("dag/import", "/api/v0/dag/import", &query, &mut body)?;
        let mut lines = Lines::new(answer);
        let mut pinned = Vec::new();
        while let Some(line) = lines.next::<answers::Imported>()? {
            let Some(root) = line.root else { continue };
            if !root.pin_error.is_empty() {
                return Err(lines.gave_up(&root.pin_error));
            }
            let cid = parse_cid(&root.cid.text).map_err(|error| lines.garbled(error))?;
            pinned.push(cid);
        }
        // A daemon that pins without being asked has done nothing that we may tell of.
        if roots == Roots::Unpinned {
            pinned.clear();
        }
        Ok(pinned)
    }

    /// Pins all that is below `cid`; the daemon fetches what it does not have, for as long as it
    /// reports progress. Pinning again is no error.
    pub fn pin_add(&self, cid: &Cid) -> Result<(), RemoteError> {
        let text = cid.to_string();
        let timeout = duration(self.endpoint.deadlines().stream);
        let query = [
            ("arg", text.as_str()),
            ("recursive", "true"),
            ("progress", "true"),
            ("timeout", &timeout),
        ];
        let answer =
            self.endpoint
                .post_stream("pin/add", "/api/v0/pin/add", &query, MAX_ANSWER_BYTES)?;
        let mut lines = Lines::new(answer);
        while let Some(line) = lines.next::<answers::Pins>()? {
            if line.names(cid) {
                return Ok(());
            }
        }
        Err(lines.garbled("it does not say that it pinned"))
    }

    /// Removes the pin of `cid`; `false` if there was none.
    pub fn pin_rm(&self, cid: &Cid) -> Result<bool, RemoteError> {
        let cid = cid.to_string();
        match self.post("pin/rm", &[("arg", &cid), ("recursive", "true")]) {
            Ok(_) => Ok(true),
            Err(error) if says(&error, &[NOT_PINNED]) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether `cid` is pinned with all that is below it.
    pub fn pin_ls(&self, cid: &Cid) -> Result<bool, RemoteError> {
        let text = cid.to_string();
        match self.post("pin/ls", &[("arg", &text), ("type", "recursive")]) {
            Ok(answer) => Ok(answers::parse::<answers::Keys>(&answer)?.has(cid)),
            Err(error) if says(&error, &[NOT_PINNED]) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn post(&self, call: &'static str, arguments: &[(&str, &str)]) -> Result<Answer, RemoteError> {
        let timeout = duration(self.endpoint.deadlines().call);
        let mut query = arguments.to_vec();
        query.push(("timeout", &timeout));
        self.endpoint
            .post(call, &format!("/api/v0/{call}"), &query, MAX_ANSWER_BYTES)
    }

    fn upload(
        &self,
        call: &'static str,
        path: &str,
        query: &[(&str, &str)],
        body: &mut Multipart<'_>,
    ) -> Result<Download, RemoteError> {
        let content_type = body.content_type();
        let sent = ureq::SendBody::from_reader(body);
        let answer = self
            .endpoint
            .upload(call, path, query, &content_type, sent, MAX_ANSWER_BYTES);
        match body.take_failure() {
            Some(error) => Err(RemoteError::new(
                Server::Kubo,
                self.url(),
                call,
                Fault::Upload(error),
            )),
            None => answer,
        }
    }
}

fn unless_absent(answer: Result<Answer, RemoteError>) -> Result<Option<Answer>, RemoteError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if says(&error, &ABSENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the daemon refused with one of these phrases. The CID that it repeats cannot contain one.
fn says(error: &RemoteError, phrases: &[&str]) -> bool {
    match error.fault() {
        Fault::Refused {
            status: 500,
            message,
        } => phrases.iter().any(|phrase| message.contains(phrase)),
        _ => false,
    }
}

fn offline(reach: Reach) -> &'static str {
    match reach {
        Reach::Local => "true",
        Reach::Network => "false",
    }
}

fn codec_name(cid: &Cid) -> &'static str {
    match cid.codec() {
        0x70 => "dag-pb",
        0x71 => "dag-cbor",
        0x0129 => "dag-json",
        _ => "raw",
    }
}

/// The time that the daemon is given, as Go reads it: less than we wait, so that a sound one says itself
/// that it gave up, and one that says nothing is known to be out of order.
fn duration(ours: Duration) -> String {
    format!("{}ms", (ours * 3 / 4).as_millis().max(1))
}
