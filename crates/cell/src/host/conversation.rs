//! The guest's end of its conversation, through `wetware:streams` or through `wetware:rpc`.
//!
//! The conversation is taken once, by whichever package asks first. Asking again is the guest's
//! mistake and never a trap: `rpc.connect` says `taken`, and the streams of a further connection (or
//! of a second call on the first one) fail their first operation with an error that says so and are
//! closed from then on. What the guest sends is checked to be correctly framed messages of the
//! allowed size before the host sees a byte of it.

use super::State;
use super::bindings::wetware::rpc::rpc;
use super::bindings::wetware::streams::streams;
use crate::framing::{self, FramingError, Splitter};
use crate::queue::{Drained, ReadEnd, Refusal, WriteEnd};
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::Arc;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, InputStream, OutputStream, Pollable, StreamError,
    StreamResult, subscribe,
};

/// The most that one write to a byte stream carries, in bytes, as with standard output.
const MAX_WRITE_BYTES: usize = 64 << 10;

const TAKEN: &str = "the cell's conversation was taken before; there is one for each cell";

/// The conversation of one cell, until the guest takes it.
pub(crate) struct Conversation {
    ends: Option<(ReadEnd, WriteEnd)>,
}

impl Conversation {
    pub(crate) fn new(input: ReadEnd, output: WriteEnd) -> Self {
        Self {
            ends: Some((input, output)),
        }
    }

    fn take(&mut self) -> (Option<ReadEnd>, Option<WriteEnd>) {
        self.ends.take().unzip()
    }
}

/// `wetware:streams/streams.connection`: the streams that it has not given away yet.
pub struct StreamsConnection {
    input: Option<ReadEnd>,
    output: Option<WriteEnd>,
}

/// `wetware:rpc/rpc.connection`.
pub struct RpcConnection {
    input: ReadEnd,
    /// Shared with a `send` that waits, which holds no borrow of the table meanwhile.
    output: Arc<WriteEnd>,
}

impl streams::Host for State {
    fn create_connection(&mut self) -> wasmtime::Result<Resource<StreamsConnection>> {
        let (input, output) = self.conversation.take();
        Ok(self.table.push(StreamsConnection { input, output })?)
    }
}

impl streams::HostConnection for State {
    fn get_input_stream(
        &mut self,
        connection: Resource<StreamsConnection>,
    ) -> wasmtime::Result<Resource<DynInputStream>> {
        let stream: DynInputStream = match self.table.get_mut(&connection)?.input.take() {
            Some(end) => Box::new(Input::new(end)),
            None => Box::new(Taken::default()),
        };
        Ok(self.table.push(stream)?)
    }

    fn get_output_stream(
        &mut self,
        connection: Resource<StreamsConnection>,
    ) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = match self.table.get_mut(&connection)?.output.take() {
            Some(end) => Box::new(Output::new(end)),
            None => Box::new(Taken::default()),
        };
        Ok(self.table.push(stream)?)
    }

    fn drop(&mut self, connection: Resource<StreamsConnection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl rpc::Host for State {
    fn connect(&mut self) -> wasmtime::Result<Result<Resource<RpcConnection>, rpc::Error>> {
        let (Some(input), Some(output)) = self.conversation.take() else {
            return Ok(Err(rpc::Error::Taken));
        };
        let connection = RpcConnection {
            input,
            output: Arc::new(output),
        };
        Ok(Ok(self.table.push(connection)?))
    }
}

impl rpc::HostConnection for State {
    async fn send(
        &mut self,
        connection: Resource<RpcConnection>,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<(), rpc::Error>> {
        let output = self.table.get(&connection)?.output.clone();
        let limit = output.message_bytes();
        if message.len() > limit {
            return Ok(Err(rpc::Error::TooLarge(limit as u64)));
        }
        match framing::check_one_message(&message, limit) {
            Ok(()) => {}
            Err(FramingError::TooLarge { .. }) => {
                return Ok(Err(rpc::Error::TooLarge(limit as u64)));
            }
            Err(_) => return Ok(Err(rpc::Error::Malformed)),
        }
        // This guest is the queue's only writer, so the room that it waited for stays.
        poll_fn(|cx| output.poll_fits(cx, message.len())).await;
        Ok(output.push(message).map_err(|refusal| match refusal {
            Refusal::Closed | Refusal::Full { .. } => rpc::Error::Closed,
            Refusal::TooLarge => rpc::Error::TooLarge(limit as u64),
        }))
    }

    fn receive(
        &mut self,
        connection: Resource<RpcConnection>,
    ) -> wasmtime::Result<Result<Vec<u8>, rpc::Error>> {
        Ok(match self.table.get(&connection)?.input.drain() {
            Drained::Messages(messages) => Ok(messages),
            Drained::Empty => Ok(Vec::new()),
            Drained::Closed => Err(rpc::Error::Closed),
        })
    }

    fn subscribe(
        &mut self,
        connection: Resource<RpcConnection>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, connection)
    }

    fn drop(&mut self, connection: Resource<RpcConnection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

#[async_trait]
impl Pollable for RpcConnection {
    async fn ready(&mut self) {
        poll_fn(|cx| self.input.poll_readable(cx)).await;
    }
}

/// The host's messages as a stream of bytes.
struct Input {
    end: ReadEnd,
    /// What is left of a message that did not fit into a read.
    rest: Bytes,
}

impl Input {
    fn new(end: ReadEnd) -> Self {
        Self {
            end,
            rest: Bytes::new(),
        }
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        if self.rest.is_empty() {
            poll_fn(|cx| self.end.poll_readable(cx)).await;
        }
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        while self.rest.is_empty() {
            match self.end.try_pop() {
                Drained::Messages(message) => self.rest = message.into(),
                Drained::Empty => return Ok(Bytes::new()),
                Drained::Closed => return Err(StreamError::Closed),
            }
        }
        Ok(self.rest.split_to(size.min(self.rest.len())))
    }
}

/// The guest's bytes, cut into messages.
struct Output {
    end: Option<WriteEnd>,
    splitter: Splitter,
    /// What the last `check_write` granted and no write has used, in bytes.
    permit: usize,
}

impl Output {
    fn new(end: WriteEnd) -> Self {
        Self {
            splitter: Splitter::new(end.message_bytes()),
            end: Some(end),
            permit: 0,
        }
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        if let Some(end) = &self.end
            && end.free_bytes() == Some(0)
        {
            poll_fn(|cx| end.poll_relaxed(cx)).await;
        }
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let Some(end) = &self.end else {
            return Err(StreamError::Closed);
        };
        if bytes.len() > self.permit {
            return Err(StreamError::trap("a write beyond what check-write allowed"));
        }
        self.permit -= bytes.len();
        let mut closed = false;
        let fed = self.splitter.feed(&bytes, |message| {
            closed |= end.push_admitted(message).is_err();
        });
        if let Err(reason) = fed {
            self.end = None;
            return Err(StreamError::LastOperationFailed(reason.into()));
        }
        if closed {
            self.end = None;
            return Err(StreamError::Closed);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let free = self.end.as_ref().and_then(WriteEnd::free_bytes);
        self.permit = free.ok_or(StreamError::Closed)?.min(MAX_WRITE_BYTES);
        Ok(self.permit)
    }
}

/// Stands in for a stream that somebody else has: fails once with the reason, then is closed.
#[derive(Default)]
struct Taken {
    told: bool,
}

impl Taken {
    fn refuse<T>(&mut self) -> StreamResult<T> {
        if std::mem::replace(&mut self.told, true) {
            Err(StreamError::Closed)
        } else {
            Err(StreamError::LastOperationFailed(wasmtime::Error::msg(
                TAKEN,
            )))
        }
    }
}

#[async_trait]
impl Pollable for Taken {
    async fn ready(&mut self) {}
}

impl InputStream for Taken {
    fn read(&mut self, _: usize) -> StreamResult<Bytes> {
        self.refuse()
    }
}

impl OutputStream for Taken {
    fn write(&mut self, _: Bytes) -> StreamResult<()> {
        self.refuse()
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.refuse()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.refuse()
    }
}
