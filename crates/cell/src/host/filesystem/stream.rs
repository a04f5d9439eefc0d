//! Streams of files: each keeps its file counted, and a write is a change of a writable tree.

use super::change::{self, At};
use super::tree::{Opened, Underway};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use thiserror::Error;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::{
    DynInputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

/// The most that one write takes, in bytes: as wasmtime-wasi's own streams.
const WRITE_BYTES: usize = 64 << 10;

/// What a write may always bring, however many others are under way: what the blocking calls of
/// `wasi:io/streams` bring.
const LEAST_WRITE_BYTES: usize = 4096;

/// What one cell's streams together are allowed to bring in writes of the larger size, in bytes. Those
/// of the smaller come to as much as 16 MiB with the default limit of handles.
const PENDING_BYTES: usize = 1 << 20;

/// Why a stream's operation failed, for `filesystem-error-code` to tell.
#[derive(Debug, Error)]
#[error("the file cannot be written: {0}")]
pub(super) struct WriteFailed(pub(super) ErrorCode);

/// What the writes of one cell that are under way may hold.
#[derive(Clone, Default)]
pub(super) struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn grant(&self) -> Grant {
        let more = |held: usize| Some(held + WRITE_BYTES).filter(|sum| *sum <= PENDING_BYTES);
        let counted = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let (bytes, counted) = match counted {
            Ok(_) => (WRITE_BYTES, WRITE_BYTES),
            Err(_) => (LEAST_WRITE_BYTES, 0),
        };
        let pending = self.clone();
        Grant {
            pending,
            bytes,
            counted,
        }
    }
}

/// What the next write of a stream may bring.
struct Grant {
    pending: Pending,
    bytes: usize,
    counted: usize,
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.pending.0.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// Writes to a file, one piece after another.
pub(super) struct Output {
    opened: Arc<Opened>,
    at: At,
    state: State,
    pending: Pending,
    grant: Option<Grant>,
}

enum State {
    Ready,
    /// Tells how many bytes it has written.
    Writing(Underway<u64>),
    Failed(ErrorCode),
    Closed,
}

impl Output {
    pub(super) fn new(opened: Arc<Opened>, at: At, pending: Pending) -> Self {
        Self {
            opened,
            at,
            state: State::Ready,
            pending,
            grant: None,
        }
    }

    /// Whether it is open; a failure is told once and closes it.
    fn check(&mut self) -> StreamResult<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Failed(code) => {
                let error = wasmtime::Error::new(WriteFailed(code));
                Err(StreamError::LastOperationFailed(error))
            }
            State::Closed => Err(StreamError::Closed),
            open => {
                self.state = open;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.check()?;
        let pending = &self.pending;
        let grant = self.grant.take().unwrap_or_else(|| pending.grant());
        if !matches!(self.state, State::Ready) || bytes.len() > grant.bytes {
            return Err(StreamError::trap("more is written than check-write told"));
        }
        let (opened, at) = (self.opened.clone(), self.at);
        let task = self.opened.tree.start(move |tree| {
            let _grant = grant;
            change::write(tree, opened.file(), &bytes, at)?;
            Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
        });
        self.state = State::Writing(task);
        Ok(())
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        self.write(bytes)?;
        self.ready().await;
        self.check()
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        if !matches!(self.state, State::Ready) {
            return Ok(0);
        }
        let pending = &self.pending;
        Ok(self.grant.get_or_insert_with(|| pending.grant()).bytes)
    }

    async fn cancel(&mut self) {
        // One that has begun is waited for, so that a guest cannot pile them up.
        if let State::Writing(task) = std::mem::replace(&mut self.state, State::Closed) {
            task.cancel().await;
        }
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        let State::Writing(task) = &mut self.state else {
            return;
        };
        self.state = match task.await {
            Ok(written) => {
                if let At::Offset(offset) = &mut self.at {
                    *offset = offset.saturating_add(written);
                }
                State::Ready
            }
            Err(code) => State::Failed(code),
        };
    }
}

/// A stream of wasmtime-wasi's that reads a file, which counts as long as the stream is there.
pub(super) struct Input {
    stream: DynInputStream,
    _counted: Arc<dyn Send + Sync>,
}

impl Input {
    /// Has this stream keep its file counted, which it is as long as `counted` is there.
    pub(super) fn wrap(stream: &mut DynInputStream, counted: Arc<dyn Send + Sync>) {
        let nothing = Box::new(wasmtime_wasi::p2::pipe::ClosedInputStream);
        *stream = Box::new(Self {
            stream: std::mem::replace(stream, nothing),
            _counted: counted,
        });
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.stream.read(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.stream.blocking_read(size).await
    }

    fn skip(&mut self, size: usize) -> StreamResult<usize> {
        self.stream.skip(size)
    }

    async fn blocking_skip(&mut self, size: usize) -> StreamResult<usize> {
        self.stream.blocking_skip(size).await
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}
