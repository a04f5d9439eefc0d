//! Standard input and output of a cell: bounded pipes in memory.
//!
//! [`pipe`] is back-pressured: a writer waits while it is full. [`ring`] never holds its writer
//! back: it forgets the oldest bytes and counts them, so that a cell whose errors nobody reads does
//! not hang. One end of each belongs to the host and one to a cell (or both to the host, or to two
//! cells); neither end blocks a thread, and nothing is allocated before the first byte.
//!
//! The host's ends take `&self`: a read, a write and a `close` may be under way at the same time,
//! and closing ends the others instead of waiting for them. Dropping an end closes it. A reader gets
//! what was written before the end; a writer whose reader has gone fails with `BrokenPipe`, which a
//! guest sees as a closed stream.

mod guest;

use crate::wakers::Wakers;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use guest::{GuestStdin, GuestStdout};

/// What a cell reads as its standard input.
#[derive(Default)]
pub enum Stdin {
    /// Nothing: the end at once.
    #[default]
    Empty,
    /// What the host writes to the other end.
    Pipe(Reader),
}

/// Where a cell's standard output or standard error goes.
#[derive(Default)]
pub enum Stdout {
    /// Nowhere.
    #[default]
    Discard,
    /// To the host, which holds the cell back by not reading.
    Pipe(Writer),
    /// To the host, as far as it keeps up.
    Ring(Ring),
}

/// A pipe that holds at most `capacity` bytes (at least one) and makes its writer wait beyond that.
pub fn pipe(capacity: usize) -> (Reader, Writer) {
    let pipe = Pipe::new(capacity);
    (Reader(pipe.clone()), Writer(pipe))
}

/// A pipe that keeps the newest `capacity` bytes (at least one) and never makes its writer wait.
pub fn ring(capacity: usize) -> (Reader, Ring) {
    let pipe = Pipe::new(capacity);
    (Reader(pipe.clone()), Ring(pipe))
}

struct Pipe {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    dropped: u64,
    writer_gone: bool,
    reader_gone: bool,
    /// Whether what is written goes nowhere once the reader has gone, instead of failing.
    discard: bool,
    readers: Wakers,
    writers: Wakers,
}

impl State {
    /// Whether a write fails.
    fn is_broken(&self) -> bool {
        self.writer_gone || self.reader_gone && !self.discard
    }
}

impl Pipe {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_take<T>(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut VecDeque<u8>) -> T,
        end: impl FnOnce() -> T,
    ) -> Poll<T> {
        let mut state = self.lock();
        if state.bytes.is_empty() {
            if state.writer_gone || state.reader_gone {
                return Poll::Ready(end());
            }
            state.readers.register(cx.waker());
            return Poll::Pending;
        }
        let taken = take(&mut state.bytes);
        let woken = state.writers.take();
        drop(state);
        woken.wake();
        Poll::Ready(taken)
    }

    fn poll_put(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.is_broken() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.reader_gone {
            return Poll::Ready(Ok(data.len()));
        }
        let free = self.capacity.saturating_sub(state.bytes.len());
        if free == 0 && !data.is_empty() {
            state.writers.register(cx.waker());
            return Poll::Pending;
        }
        let count = free.min(data.len());
        state.bytes.extend(data.get(..count).unwrap_or_default());
        let woken = state.readers.take();
        drop(state);
        woken.wake();
        Poll::Ready(Ok(count))
    }

    /// Adds all of `data` and forgets the oldest bytes beyond the capacity. False when nobody reads.
    fn put_over(&self, data: &[u8]) -> bool {
        let mut state = self.lock();
        if state.is_broken() {
            return false;
        }
        if state.reader_gone {
            return true;
        }
        let skipped = data.len().saturating_sub(self.capacity);
        let (_, kept) = data.split_at(skipped);
        let excess = (state.bytes.len() + kept.len()).saturating_sub(self.capacity);
        state.bytes.drain(..excess);
        state.bytes.extend(kept);
        state.dropped += (skipped + excess) as u64;
        let woken = state.readers.take();
        drop(state);
        woken.wake();
        true
    }

    fn close_writer(&self) {
        let mut state = self.lock();
        state.writer_gone = true;
        let (readers, writers) = (state.readers.take(), state.writers.take());
        drop(state);
        readers.wake();
        writers.wake();
    }

    fn close_reader(&self) {
        let mut state = self.lock();
        state.reader_gone = true;
        state.bytes = VecDeque::new();
        let (readers, writers) = (state.readers.take(), state.writers.take());
        drop(state);
        readers.wake();
        writers.wake();
    }
}

fn take_front(bytes: &mut VecDeque<u8>, max: usize) -> Bytes {
    let count = max.min(bytes.len());
    let mut taken = BytesMut::with_capacity(count);
    let (head, tail) = bytes.as_slices();
    let of_head = head.len().min(count);
    taken.extend_from_slice(head.get(..of_head).unwrap_or_default());
    taken.extend_from_slice(tail.get(..count - of_head).unwrap_or_default());
    bytes.drain(..count);
    taken.freeze()
}

/// The end of a pipe or a ring that reads.
pub struct Reader(Arc<Pipe>);

impl Reader {
    /// The next bytes, at least one and at most `max` (0 counts as 1); empty at the end. Cancelling
    /// loses nothing.
    pub async fn read(&self, max: usize) -> Bytes {
        let max = max.max(1);
        poll_fn(|cx| {
            self.0
                .poll_take(cx, |bytes| take_front(bytes, max), Bytes::new)
        })
        .await
    }

    /// Bytes that a ring has forgotten so far, because they were not read in time.
    pub fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    /// Lets the writer go on when this has been closed or dropped: what it writes then goes nowhere.
    pub fn discard_when_gone(&self) {
        self.0.lock().discard = true;
    }

    /// Stops reading: what is left is thrown away, a read under way ends, the writer fails.
    pub fn close(&self) {
        self.0.close_reader();
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let max = buf.remaining();
        let bytes = ready!(
            self.0
                .poll_take(cx, |bytes| take_front(bytes, max), Bytes::new)
        );
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.close_reader();
    }
}

/// The end of a pipe that writes, and waits while there is no room.
pub struct Writer(Arc<Pipe>);

impl Writer {
    /// Writes all of `data`. Cancelling may leave a part of it written.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader has gone or this end is closed.
    pub async fn write(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let count = poll_fn(|cx| self.0.poll_put(cx, data)).await?;
            (_, data) = data.split_at(count);
        }
        Ok(())
    }

    /// Ends the stream: the reader gets what was written, and then the end.
    pub fn close(&self) {
        self.0.close_writer();
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_put(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.close_writer();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.close_writer();
    }
}

/// The end of a ring that writes, and never waits.
pub struct Ring(Arc<Pipe>);

impl Ring {
    /// Writes all of `data`, over the oldest bytes where there is no room.
    pub fn write(&self, data: &[u8]) {
        self.0.put_over(data);
    }

    /// Ends the stream: the reader gets what is left, and then the end.
    pub fn close(&self) {
        self.0.close_writer();
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.0.close_writer();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use futures::executor::block_on;
    use proptest::prelude::*;

    #[test]
    fn a_full_pipe_holds_its_writer_back_until_it_is_read() {
        let (reader, writer) = pipe(4);
        block_on(writer.write(b"abcd")).unwrap();
        let mut blocked = Box::pin(writer.write(b"ef"));
        assert!((&mut blocked).now_or_never().is_none());
        assert_eq!(block_on(reader.read(3)), "abc");
        block_on(blocked).unwrap();
        assert_eq!(block_on(reader.read(9)), "def");
    }

    #[test]
    fn closing_ends_a_read_that_is_under_way() {
        let (reader, writer) = pipe(4);
        let mut reading = Box::pin(reader.read(1));
        assert!((&mut reading).now_or_never().is_none());
        reader.close();
        assert!(block_on(reading).is_empty());
        assert!(block_on(writer.write(b"x")).is_err());
    }

    #[test]
    fn a_writer_may_outlive_its_reader_without_noticing() {
        let (reader, writer) = pipe(4);
        block_on(writer.write(b"abcd")).unwrap();
        reader.discard_when_gone();
        let mut blocked = Box::pin(writer.write(b"ef"));
        assert!((&mut blocked).now_or_never().is_none(), "it is still read");
        drop(reader);
        block_on(blocked).unwrap();
        block_on(writer.write(&[0; 100])).unwrap();
        let (reader, ring) = ring(4);
        reader.discard_when_gone();
        drop(reader);
        ring.write(b"nowhere");
    }

    #[test]
    fn what_was_written_before_the_end_is_read_before_the_end() {
        let (reader, writer) = pipe(4);
        block_on(writer.write(b"ab")).unwrap();
        drop(writer);
        assert_eq!(block_on(reader.read(9)), "ab");
        assert!(block_on(reader.read(9)).is_empty());
    }

    proptest! {
        #[test]
        fn a_ring_keeps_the_newest_bytes_and_counts_the_others(
            capacity in 1usize..50,
            writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..10),
        ) {
            let (reader, ring) = ring(capacity);
            for write in &writes {
                ring.write(write);
            }
            drop(ring);
            let all = writes.concat();
            let lost = all.len().saturating_sub(capacity);
            prop_assert_eq!(reader.dropped(), lost as u64);
            prop_assert_eq!(&block_on(reader.read(1000))[..], &all[lost..]);
        }
    }
}
