//! The body of an answer as it comes: in pieces, bounded, and moving.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::deadlines::LEAST_PROGRESS_BYTES;
use super::endpoint::{Asked, read_fault};
use super::watch::Watch;
use super::{Fault, Phase, RemoteError};

/// A stream from a server, such as a CAR. Reading blocks, but ends with an error when the stream stops
/// moving; the error inside is a [`RemoteError`] (see [`RemoteError::from_read`]). Nothing in it has been
/// verified. Dropping it ends the request.
pub struct Download {
    body: ureq::BodyReader<'static>,
    asked: Asked,
    watch: Watch,
    /// Time spent waiting for the server, and what came in it, since it was last seen to move.
    waited: Duration,
    came: u64,
    left: u64,
    limit: u64,
}

impl Download {
    pub(super) fn new(body: ureq::Body, asked: Asked, watch: Watch, limit: u64) -> Self {
        watch.body_begins();
        Self {
            body: body.into_with_config().limit(u64::MAX).reader(),
            asked,
            watch,
            waited: Duration::ZERO,
            came: 0,
            left: limit,
            limit,
        }
    }

    /// This stream's error, for what is read from it and turns out not to be what was asked for.
    pub(crate) fn error(&self, fault: Fault) -> RemoteError {
        self.asked.error(fault)
    }

    fn failed(&self, fault: Fault) -> io::Error {
        io::Error::other(self.asked.error(fault))
    }

    /// A server that sends just enough to be heard of is as bad as one that is silent.
    fn check_pace(&mut self) -> io::Result<()> {
        let progress = self.asked.deadlines.progress;
        if self.waited < progress {
            return Ok(());
        }
        if self.came < LEAST_PROGRESS_BYTES {
            return Err(self.failed(Fault::Late {
                phase: Phase::Progress,
                limit: progress,
            }));
        }
        self.waited = Duration::ZERO;
        self.came = 0;
        Ok(())
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let asked = Instant::now();
        let count = match self.body.read(buffer) {
            Ok(count) => count,
            Err(error) => return Err(self.failed(read_fault(error, &self.asked.deadlines))),
        };
        if count == 0 {
            return match self.watch.trailing_error() {
                Some(message) => Err(self.failed(Fault::GaveUp {
                    message: super::error::quoted(&message),
                })),
                None => Ok(0),
            };
        }
        self.left = match self.left.checked_sub(count as u64) {
            Some(left) => left,
            None => return Err(self.failed(Fault::TooLong { limit: self.limit })),
        };
        self.waited += asked.elapsed();
        self.came += count as u64;
        self.check_pace()?;
        Ok(count)
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Download({}, {})", self.asked.url, self.asked.call)
    }
}
