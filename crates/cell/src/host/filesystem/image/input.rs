//! A stream that reads a file of the image, from one place on.

use super::seen::{READ_BYTES, Read, Seen};
use super::turns::Underway;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

/// Reads ahead what was asked for last, and no more.
pub(in super::super) struct Input {
    seen: Arc<Seen>,
    position: u64,
    state: State,
}

enum State {
    Idle,
    Reading(Underway<Vec<u8>>),
    Read(Bytes),
    Failed(io::Error),
    Closed,
}

impl Input {
    /// Of a file, from `position` on.
    pub(in super::super) fn new(seen: Arc<Seen>, position: u64) -> Result<Self, ErrorCode> {
        if seen.is_directory() {
            return Err(ErrorCode::IsDirectory);
        }
        Ok(Self {
            seen,
            position,
            state: State::Idle,
        })
    }

    /// Begins to read `size` bytes, if nothing is under way.
    fn begin(&mut self, size: usize) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        self.state = match self.seen.begin(size, self.position) {
            Ok(Read::End) => State::Closed,
            Ok(Read::Done(bytes)) => arrived(Ok(bytes)),
            Ok(Read::Begun(task)) => State::Reading(task),
            Err(code) => State::Failed(io::Error::other(code)),
        };
    }

    async fn arrives(&mut self) {
        if let State::Reading(task) = &mut self.state {
            self.state = arrived(task.await);
        }
    }

    fn take(&mut self, size: usize) -> StreamResult<Bytes> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Read(mut bytes) => {
                let taken = bytes.split_to(size.min(bytes.len()));
                self.position = self.position.saturating_add(taken.len() as u64);
                self.state = match bytes.is_empty() {
                    true => State::Idle,
                    false => State::Read(bytes),
                };
                Ok(taken)
            }
            State::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            State::Closed => Err(StreamError::Closed),
            waiting => {
                self.state = waiting;
                Ok(Bytes::new())
            }
        }
    }
}

/// Nothing is the end.
fn arrived(read: io::Result<Vec<u8>>) -> State {
    match read {
        Ok(bytes) if bytes.is_empty() => State::Closed,
        Ok(bytes) => State::Read(bytes.into()),
        Err(error) => State::Failed(error),
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size > 0 {
            self.begin(size);
        }
        self.take(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size > 0 {
            self.begin(size);
        }
        self.arrives().await;
        self.take(size)
    }

    async fn cancel(&mut self) {
        // One that has begun is waited for, so that a guest cannot pile them up.
        if let State::Reading(task) = std::mem::replace(&mut self.state, State::Closed) {
            task.cancel().await;
        }
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        self.begin(READ_BYTES);
        self.arrives().await;
    }
}
