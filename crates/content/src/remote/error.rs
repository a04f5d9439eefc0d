//! What can go wrong with somebody else's store.

use std::io;
use std::time::Duration;

use super::Server;

/// The most of a server's own words that a message repeats, in characters. Enough for Kubo's longest,
/// and a page of HTML stays out of the terminal.
const MAX_QUOTED_CHARS: usize = 300;

/// A request that failed: who was asked, for what, and why it failed. One line that ends in what to do.
#[derive(Debug, thiserror::Error)]
#[error("{server} at {url:?}: {call}: {fault}; {}", self.advice())]
pub struct RemoteError {
    url: String,
    call: &'static str,
    server: Server,
    // Boxed, so that this error is a small one among others.
    fault: Box<Fault>,
}

/// Which part of a request was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The name was looked up, or the connection made.
    Connect,
    /// The request was sent, and the head of the answer had not come.
    Answer,
    /// The body had stopped moving.
    Progress,
    /// The whole had taken too long.
    Whole,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The address is not one that can be asked.
    #[error("this is no address of a server: {why}")]
    Address {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody is there.
    #[error("nothing answers ({why})")]
    Unreachable {
        /// The system's answer.
        why: String,
    },
    /// TLS could not be agreed on; most often the certificate is not for this name.
    #[error("no secure connection ({why})")]
    Tls {
        /// What was wrong.
        why: String,
    },
    /// A deadline passed.
    #[error("{}", late(*.phase, *.limit))]
    Late {
        /// What was waited for.
        phase: Phase,
        /// How long.
        limit: Duration,
    },
    /// The connection ended before the answer did.
    #[error("the connection was cut ({why})")]
    Cut {
        /// The system's answer.
        why: String,
    },
    /// The answer is not what this call answers.
    #[error("the answer makes no sense ({why:?})")]
    Garbled {
        /// What does not.
        why: String,
    },
    /// The answer is longer than any honest one.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer points elsewhere, where nobody said that we should go.
    #[error("the answer is a redirect to {to:?} (status {status})")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The place.
        to: String,
    },
    /// The server said no.
    #[error("it refused with status {status}: {message:?}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's own words, shortened.
        message: String,
    },
    /// The server gave up in the middle of its answer.
    #[error("it gave up in the middle of the answer: {message:?}")]
    GaveUp {
        /// The server's own words, shortened.
        message: String,
    },
    /// The server keeps what it was sent under another name than its bytes have.
    #[error("it was sent block {sent} and says that it kept {kept:?}")]
    OtherName {
        /// The block's name.
        sent: cid::Cid,
        /// The name in the answer.
        kept: String,
    },
    /// What was to be sent could not be read.
    #[error("reading what was to be sent: {0}")]
    Upload(#[source] io::Error),
}

impl RemoteError {
    pub(crate) fn new(server: Server, url: &str, call: &'static str, fault: Fault) -> Self {
        Self {
            url: url.to_owned(),
            call,
            server,
            fault: Box::new(fault),
        }
    }

    /// The address that was asked.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was asked for, such as `block/get`.
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// What went wrong.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Whether it is the server and not the question: nobody is there, whoever is does not answer, or
    /// asks to be left alone. Asking for something else at once is of no use.
    pub fn is_out_of_order(&self) -> bool {
        matches!(
            *self.fault,
            Fault::Unreachable { .. }
                | Fault::Tls { .. }
                | Fault::Late {
                    phase: Phase::Connect | Phase::Answer,
                    ..
                }
                | Fault::Refused {
                    status: 429 | 503,
                    ..
                }
        )
    }

    /// The error inside what a [`Download`](super::Download) said when it was read, or `error` back.
    pub fn from_read(error: io::Error) -> Result<Self, io::Error> {
        if error.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            match error.into_inner().map(|inner| inner.downcast::<Self>()) {
                Some(Ok(inner)) => Ok(*inner),
                _ => Err(io::Error::other("an error without its cause")),
            }
        } else {
            Err(error)
        }
    }

    fn advice(&self) -> &'static str {
        match (self.fault.as_ref(), self.server) {
            (Fault::Unreachable { .. }, Server::Kubo) => {
                "start it with `ipfs daemon`, or pass `--offline`"
            }
            (Fault::Unreachable { .. } | Fault::Tls { .. }, _) => {
                "check the address, or pass `--offline`"
            }
            (Fault::Address { .. }, Server::Kubo) => "write it as http://localhost:5001",
            (Fault::Address { .. }, Server::Gateway) => "write it as https://HOST",
            (Fault::Redirect { .. }, _) => "name the address that answers itself",
            (Fault::Late { .. } | Fault::Cut { .. } | Fault::GaveUp { .. }, _) => {
                "try again, or ask another source"
            }
            (Fault::Refused { .. }, Server::Kubo) => "see what the daemon logs",
            (Fault::Upload(_), _) => "nothing more was sent",
            _ => "check that the address is that of such a server",
        }
    }
}

/// The beginning of what a server said.
pub(crate) fn quoted(text: &str) -> String {
    let text = text.trim();
    let mut short: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn late(phase: Phase, limit: Duration) -> String {
    match phase {
        Phase::Connect => format!("no connection within {limit:?}"),
        Phase::Answer => format!("no answer within {limit:?}"),
        Phase::Progress => format!("it stopped moving for {limit:?}"),
        Phase::Whole => format!("not done within {limit:?}"),
    }
}
