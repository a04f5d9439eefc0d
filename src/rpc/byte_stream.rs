//! `ByteStream`: bytes between whoever holds the capability and what the stream is over: a cell's pipe, or
//! content.
//!
//! Reads, writes and closing go on side by side: what the stream is over takes them all at once, and closing
//! ends what is under way. A read is capped whatever was asked for, because the buffer is the host's.

use bytes::Bytes;
use capnp::capability::Rc;
use cell::Charge;
use cell::stdio::{Reader, Writer};
use schema::system_capnp::byte_stream;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The most that one read returns, 1 MiB: what the schema promises.
pub const MAX_READ_BYTES: u32 = 1 << 20;

/// Reads and writes of one stream that may be under way. Each that waits costs the host a place in the list
/// of those to wake; no reader has a use for more.
const MAX_UNDER_WAY: usize = 16;

/// What a stream can be over.
pub trait Carrier: 'static {
    /// The next bytes, at most so many; empty at the end.
    fn read(&self, max_bytes: usize) -> impl Future<Output = capnp::Result<Bytes>>;

    /// Takes all of it.
    fn write(&self, data: &[u8]) -> impl Future<Output = capnp::Result<()>>;

    /// Takes no more. A second time changes nothing.
    fn close(&self) -> impl Future<Output = capnp::Result<()>>;
}

/// A stream over something.
pub struct ByteStream<C = End> {
    carrier: C,
    places: Semaphore,
    _counted: Charge,
}

/// The host's end of a cell's pipe.
pub enum End {
    /// What the cell writes.
    Reading(Reader),
    /// What the cell reads.
    Writing(Writer),
}

impl Carrier for End {
    async fn read(&self, max_bytes: usize) -> capnp::Result<Bytes> {
        match self {
            Self::Reading(reader) => Ok(reader.read(max_bytes).await),
            Self::Writing(_) => Err(for_writing_only()),
        }
    }

    async fn write(&self, data: &[u8]) -> capnp::Result<()> {
        match self {
            Self::Writing(writer) => writer.write(data).await.map_err(|_| {
                capnp::Error::disconnected(
                    "the stream is closed, or nobody reads it any more".into(),
                )
            }),
            Self::Reading(_) => Err(for_reading_only()),
        }
    }

    async fn close(&self) -> capnp::Result<()> {
        match self {
            Self::Reading(reader) => reader.close(),
            Self::Writing(writer) => writer.close(),
        }
        Ok(())
    }
}

/// Refuses to write.
pub fn for_reading_only() -> capnp::Error {
    capnp::Error::failed("this stream is for reading only".into())
}

/// Refuses to read.
pub fn for_writing_only() -> capnp::Error {
    capnp::Error::failed("this stream is for writing only".into())
}

impl<C: Carrier> ByteStream<C> {
    /// A stream that counts in a budget for as long as it is there.
    pub fn new(carrier: C, counted: Charge) -> Self {
        Self {
            carrier,
            _counted: counted,
            places: Semaphore::new(MAX_UNDER_WAY),
        }
    }

    /// Counts one more read or write, for as long as the result lives.
    fn enter(&self) -> capnp::Result<SemaphorePermit<'_>> {
        self.places.try_acquire().map_err(|_| {
            capnp::Error::overloaded(format!(
                "this stream has {MAX_UNDER_WAY} reads and writes under way; wait for one"
            ))
        })
    }

    async fn write_all(&self, data: &[u8]) -> capnp::Result<()> {
        let _place = self.enter()?;
        self.carrier.write(data).await
    }
}

impl ByteStream {
    /// Lets the cell go on writing when nobody holds this any more: what it writes then goes nowhere.
    pub fn discard_when_gone(&self) {
        if let End::Reading(reader) = &self.carrier {
            reader.discard_when_gone();
        }
    }
}

impl<C: Carrier> byte_stream::Server for ByteStream<C> {
    async fn read(
        self: Rc<Self>,
        params: byte_stream::ReadParams,
        mut results: byte_stream::ReadResults,
    ) -> capnp::Result<()> {
        let max_bytes = params.get()?.get_max_bytes();
        if max_bytes == 0 {
            return Err(capnp::Error::failed(
                "read: maxBytes is 0; ask for at least 1".into(),
            ));
        }
        let _place = self.enter()?;
        let max_bytes = max_bytes.min(MAX_READ_BYTES) as usize;
        let data = self.carrier.read(max_bytes).await?;
        results.get().set_data(&data);
        Ok(())
    }

    async fn write(
        self: Rc<Self>,
        params: byte_stream::WriteParams,
        _results: byte_stream::WriteResults,
    ) -> capnp::Result<()> {
        self.write_all(params.get()?.get_data()?).await
    }

    async fn close(
        self: Rc<Self>,
        _params: byte_stream::CloseParams,
        _results: byte_stream::CloseResults,
    ) -> capnp::Result<()> {
        self.carrier.close().await
    }

    async fn push(self: Rc<Self>, params: byte_stream::PushParams) -> capnp::Result<()> {
        self.write_all(params.get()?.get_data()?).await
    }

    async fn pump(
        self: Rc<Self>,
        params: byte_stream::PumpParams,
        mut results: byte_stream::PumpResults,
    ) -> capnp::Result<()> {
        let into = params.get()?.get_into()?;
        // It may be long until this returns, and they may be large.
        drop(params);
        let _place = self.enter()?;
        let mut total = 0u64;
        loop {
            let data = self.carrier.read(MAX_READ_BYTES as usize).await?;
            if data.is_empty() {
                break;
            }
            let mut request = into.push_request();
            request.get().set_data(&data);
            request.send().await?;
            total = total.saturating_add(data.len() as u64);
        }
        into.close_request().send().promise.await?;
        results.get().set_bytes(total);
        Ok(())
    }
}
