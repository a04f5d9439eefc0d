//! `wetware:streams`: the conversation as a pair of byte streams.
//!
//! Asking for a conversation that was taken before is the guest's mistake and never a trap: the
//! streams of a further connection (or of a second call on the first one) fail their first operation
//! with an error that says so and are closed from then on.

use super::State;
use super::conversation::Outgoing;
use crate::framing::{FramingError, Splitter};
use crate::queue::{Drained, ReadEnd};
use crate::recipient::Closed;
use bindings::wetware::streams::streams;
use bytes::Bytes;
use std::future::poll_fn;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/io", "../../wit/streams"],
        inline: "
            package wetware:cell;
            world imports {
                import wetware:streams/streams@0.1.0;
            }
        ",
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wetware:streams/streams.connection": super::Connection,
        },
        imports: { default: trappable },
        require_store_data_send: true,
    });
}

/// The most that one write to a byte stream carries, in bytes, as with standard output.
const MAX_WRITE_BYTES: usize = 64 << 10;

const TAKEN: &str = "the cell's conversation was taken before; there is one for each cell";

/// Provides the interface.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    streams::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// The resource `connection`: the streams that it has not given away yet.
pub struct Connection {
    input: Option<ReadEnd>,
    output: Option<Outgoing>,
}

impl streams::Host for State {
    fn create_connection(&mut self) -> wasmtime::Result<Resource<Connection>> {
        let (input, output) = self.conversation.take().unzip();
        Ok(self.table.push(Connection { input, output })?)
    }
}

impl streams::HostConnection for State {
    fn get_input_stream(
        &mut self,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<Resource<DynInputStream>> {
        let stream: DynInputStream = match self.table.get_mut(&connection)?.input.take() {
            Some(end) => Box::new(Input::new(end)),
            None => Box::new(Taken::default()),
        };
        Ok(self.table.push(stream)?)
    }

    fn get_output_stream(
        &mut self,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = match self.table.get_mut(&connection)?.output.take() {
            Some(outgoing) => Box::new(Output::new(outgoing)),
            None => Box::new(Taken::default()),
        };
        Ok(self.table.push(stream)?)
    }

    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
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
    /// `None` once the stream is closed.
    outgoing: Option<Outgoing>,
    splitter: Splitter,
    /// What the last `check_write` granted and no write has used, in bytes.
    permit: usize,
}

impl Output {
    fn new(outgoing: Outgoing) -> Self {
        Self {
            splitter: Splitter::new(outgoing.message_bytes()),
            outgoing: Some(outgoing),
            permit: 0,
        }
    }
}

impl From<FramingError> for StreamError {
    fn from(error: FramingError) -> Self {
        StreamError::LastOperationFailed(error.into())
    }
}

impl From<Closed> for StreamError {
    fn from(_: Closed) -> Self {
        StreamError::Closed
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        if let Some(outgoing) = &self.outgoing {
            poll_fn(|cx| outgoing.poll_free(cx)).await;
        }
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let Some(outgoing) = &self.outgoing else {
            return Err(StreamError::Closed);
        };
        if bytes.len() > self.permit {
            return Err(StreamError::trap("a write beyond what check-write allowed"));
        }
        self.permit -= bytes.len();
        let written = self.splitter.feed(&bytes, |message| {
            outgoing.deliver(message).map_err(StreamError::Trap)??;
            Ok(())
        });
        if written.is_err() {
            self.outgoing = None;
        }
        written
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let outgoing = self.outgoing.as_ref().ok_or(StreamError::Closed)?;
        self.permit = if outgoing.is_free() {
            MAX_WRITE_BYTES
        } else {
            0
        };
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
