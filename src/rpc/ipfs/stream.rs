//! What a `ByteStream` of content is over: a file that is read, a CAR that is made as it is read, a file that is
//! written.
//!
//! Nothing is read ahead of whoever reads, and no thread waits for them. One piece of work goes on at a time for each
//! stream; an error ends it, and is told again to whoever asks again, so that no end is taken for a whole.

use std::sync::Arc;

use bytes::Bytes;
use content::ContentError;
use content::read::File;
use tokio::sync::Mutex;

use super::failed;
use crate::ipfs::Places;
use crate::rpc::byte_stream::{self, Carrier};

/// What gives bytes, and may block while it does.
type Source = Box<dyn FnMut(usize) -> Result<Bytes, ContentError> + Send>;

/// Content that is read.
pub struct Reading {
    places: Places,
    state: Mutex<State>,
}

enum State {
    Open(Source),
    /// Out for a piece of work. Left so by a read that was given up.
    Away,
    Failed(String),
    Closed,
}

impl Reading {
    /// What `source` gives, until it gives nothing.
    pub fn new(
        places: Places,
        source: impl FnMut(usize) -> Result<Bytes, ContentError> + Send + 'static,
    ) -> Self {
        Self {
            places,
            state: Mutex::new(State::Open(Box::new(source))),
        }
    }

    /// So many bytes of a file, from an offset on.
    pub fn file(places: Places, file: File, mut offset: u64, mut left: u64) -> Self {
        Self::new(places, move |max_bytes| {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(max_bytes);
            let mut buffer = vec![0; wanted];
            let read = file.read_at(offset, &mut buffer)?;
            buffer.truncate(read);
            offset = offset.saturating_add(read as u64);
            left = left.saturating_sub(read as u64);
            Ok(buffer.into())
        })
    }
}

impl Carrier for Reading {
    async fn read(&self, max_bytes: usize) -> capnp::Result<Bytes> {
        let mut state = self.state.lock().await;
        let mut source = match std::mem::replace(&mut *state, State::Away) {
            State::Open(source) => source,
            State::Closed => {
                *state = State::Closed;
                return Ok(Bytes::new());
            }
            State::Failed(why) => {
                let error = failed("read", &why);
                *state = State::Failed(why);
                return Err(error);
            }
            State::Away => {
                return Err(failed(
                    "read",
                    "an earlier read of this stream was given up half-way",
                ));
            }
        };
        let read = self.places.run(move || {
            let bytes = source(max_bytes)?;
            Ok((source, bytes))
        });
        match read.await {
            Ok((_, bytes)) if bytes.is_empty() => {
                *state = State::Closed;
                Ok(bytes)
            }
            Ok((source, bytes)) => {
                *state = State::Open(source);
                Ok(bytes)
            }
            Err(error) => {
                let why = error.to_string();
                let error = failed("read", &why);
                *state = State::Failed(why);
                Err(error)
            }
        }
    }

    async fn write(&self, _data: &[u8]) -> capnp::Result<()> {
        Err(byte_stream::for_reading_only())
    }

    async fn close(&self) -> capnp::Result<()> {
        *self.state.lock().await = State::Closed;
        Ok(())
    }
}
