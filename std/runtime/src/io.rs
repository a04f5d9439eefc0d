//! The standard streams without blocking: while one waits, the other tasks go on.
//!
//! [`Reader`] and [`Writer`] implement the traits of `futures`, and have the few methods that most
//! programs need. Nothing is buffered on the way out, and no more than a chunk, or the line that is
//! being read, on the way in.

use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use wasip2::cli;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::reactor::Readiness;

/// The longest line that [`Reader::next_line`] takes, in bytes: far beyond what people type, and small
/// beside a cell's memory.
pub const LINE_LIMIT: usize = 1024 * 1024;

/// How much is asked for at a time where the caller does not say: what hosts give at most in one go.
const CHUNK: usize = 64 * 1024;

/// Standard input. All readers of it take from the same bytes.
pub fn stdin() -> Reader {
    Reader {
        terminal: cli::terminal_stdin::get_terminal_stdin().is_some(),
        ..Reader::new(cli::stdin::get_stdin())
    }
}

/// Standard output. `print!` writes to the same place, but what it holds back until the line ends comes
/// later.
pub fn stdout() -> Writer {
    Writer {
        terminal: cli::terminal_stdout::get_terminal_stdout().is_some(),
        ..Writer::new(cli::stdout::get_stdout())
    }
}

/// Standard error.
pub fn stderr() -> Writer {
    Writer {
        terminal: cli::terminal_stderr::get_terminal_stderr().is_some(),
        ..Writer::new(cli::stderr::get_stderr())
    }
}

/// The reading end of a WASI stream. Cancelling a read loses nothing.
#[derive(Debug)]
pub struct Reader {
    // Before the stream, whose child its pollable is.
    readiness: Option<Readiness>,
    stream: InputStream,
    /// What was read from the stream and not yet given out.
    buffer: Vec<u8>,
    start: usize,
    terminal: bool,
}

impl Reader {
    /// Reads from a stream.
    pub fn new(stream: InputStream) -> Self {
        Self {
            readiness: None,
            stream,
            buffer: Vec::new(),
            start: 0,
            terminal: false,
        }
    }

    /// Whether a person sits at the other end.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The next bytes, at most `max`; waits until there is one. Empty means the end of the stream.
    ///
    /// # Errors
    /// The stream's own; and asking for no bytes, which would look like the end.
    pub async fn read_chunk(&mut self, max: usize) -> Result<Vec<u8>> {
        if max == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "asked for no bytes"));
        }
        if self.buffered().is_empty() {
            return poll_fn(|cx| self.poll_stream(cx, max)).await;
        }
        let chunk = self
            .buffered()
            .iter()
            .take(max)
            .copied()
            .collect::<Vec<_>>();
        self.start += chunk.len();
        Ok(chunk)
    }

    /// The next line, without its end (`\n` or `\r\n`); the last one may have none. `None` means the end
    /// of the stream.
    ///
    /// # Errors
    /// The stream's own; a line longer than [`LINE_LIMIT`], or not in UTF-8, is `InvalidData`.
    pub async fn next_line(&mut self) -> Result<Option<String>> {
        let mut searched = 0;
        loop {
            let fresh = self.buffered().get(searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                return self.take_line(searched + end, 1).map(Some);
            }
            searched = self.buffered().len();
            if searched > LINE_LIMIT {
                return Err(invalid("a line of more than 1 MiB"));
            }
            let chunk = poll_fn(|cx| self.poll_stream(cx, CHUNK)).await?;
            if chunk.is_empty() {
                return match searched {
                    0 => Ok(None),
                    length => self.take_line(length, 0).map(Some),
                };
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.extend(chunk);
        }
    }

    fn take_line(&mut self, length: usize, end: usize) -> Result<String> {
        let line = self.buffered().get(..length).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.start += length + end;
        String::from_utf8(line).map_err(|_| invalid("a line that is not in UTF-8"))
    }

    fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Bytes straight from the stream; empty at its end.
    fn poll_stream(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Result<Vec<u8>>> {
        loop {
            match self.stream.read(max as u64) {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Poll::Ready(Ok(chunk)),
                Err(StreamError::Closed) => return Poll::Ready(Ok(Vec::new())),
                Err(error) => return Poll::Ready(Err(failure(error))),
            }
            let stream = &self.stream;
            let readiness = self
                .readiness
                .get_or_insert_with(|| Readiness::new(stream.subscribe()));
            ready!(readiness.poll(cx));
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.buffered().is_empty() {
            let chunk = ready!(self.poll_stream(cx, buffer.len()))?;
            return Poll::Ready(Ok(fill(buffer, &chunk)));
        }
        let count = fill(buffer, self.buffered());
        self.start += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncBufRead for Reader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<&[u8]>> {
        let this = self.get_mut();
        if this.buffered().is_empty() {
            this.buffer = ready!(this.poll_stream(cx, CHUNK))?;
            this.start = 0;
        }
        Poll::Ready(Ok(this.buffered()))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.start = self.start.saturating_add(count).min(self.buffer.len());
    }
}

/// The writing end of a WASI stream. It holds nothing back, and waits while the stream has no room.
#[derive(Debug)]
pub struct Writer {
    // Before the stream, whose child its pollable is.
    readiness: Option<Readiness>,
    stream: OutputStream,
    flushing: bool,
    terminal: bool,
}

impl Writer {
    /// Writes to a stream.
    pub fn new(stream: OutputStream) -> Self {
        Self {
            readiness: None,
            stream,
            flushing: false,
            terminal: false,
        }
    }

    /// Whether a person sits at the other end.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes all of it; returns once the stream has taken it.
    ///
    /// # Errors
    /// The stream's own; `BrokenPipe` when nobody reads it any more.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| Pin::new(&mut *self).poll_write(cx, bytes)).await?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Returns once all that was written has been handed on by the host.
    ///
    /// # Errors
    /// As with [`write_all`](Writer::write_all).
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// How many bytes the stream takes now; waits until it is at least one.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        loop {
            match self.stream.check_write() {
                Ok(0) => {}
                Ok(room) => return Poll::Ready(Ok(usize::try_from(room).unwrap_or(usize::MAX))),
                Err(error) => return Poll::Ready(Err(failure(error))),
            }
            let stream = &self.stream;
            let readiness = self
                .readiness
                .get_or_insert_with(|| Readiness::new(stream.subscribe()));
            ready!(readiness.poll(cx));
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.poll_room(cx))?.min(bytes.len());
        let part = bytes.get(..room).unwrap_or_default();
        self.stream.write(part).map_err(failure)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.flushing {
            self.stream.flush().map_err(failure)?;
            self.flushing = true;
        }
        // A stream that flushes has no room until it is done.
        let outcome = ready!(self.poll_room(cx));
        self.flushing = false;
        Poll::Ready(outcome.map(drop))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}

fn fill(buffer: &mut [u8], bytes: &[u8]) -> usize {
    let mut count = 0;
    for (to, from) in buffer.iter_mut().zip(bytes) {
        *to = *from;
        count += 1;
    }
    count
}

fn failure(error: StreamError) -> Error {
    match error {
        StreamError::Closed => ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(error) => Error::other(error.to_debug_string()),
    }
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
