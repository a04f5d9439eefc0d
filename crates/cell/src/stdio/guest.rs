//! The guest's ends of standard input and output, as WASI streams.
//!
//! A guest may open each as often as it likes: all its handles are the same stream. WASI lets a
//! handle hold a permit to write while another handle fills the pipe, so each write is checked
//! against its own permit, and the pipe may exceed its capacity by one such write.

use super::{Pipe, Reader, Ring, Stdin, Stdout, Writer};
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// The most that one write carries, in bytes. It is what WASI hosts grant by custom: enough to make
/// the cost of a call vanish, little enough to be copied within a tick.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// A guest's standard input.
pub(crate) struct GuestStdin {
    /// Shared, so that the pipe closes when the last of the guest's handles and this have gone.
    reader: Option<Arc<Reader>>,
    terminal: bool,
}

impl GuestStdin {
    pub(crate) fn new(stdin: Stdin, terminal: bool) -> Self {
        let reader = match stdin {
            Stdin::Empty => None,
            Stdin::Pipe(reader) => Some(Arc::new(reader)),
        };
        Self { reader, terminal }
    }
}

impl IsTerminal for GuestStdin {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdinStream for GuestStdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(Input(self.reader.clone()))
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(Input(self.reader.clone()))
    }
}

struct Input(Option<Arc<Reader>>);

impl Input {
    fn pipe(&self) -> Option<&Pipe> {
        self.0.as_deref().map(|reader| &*reader.0)
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        let Some(pipe) = self.pipe() else { return };
        std::future::poll_fn(|cx| {
            let mut state = pipe.lock();
            if !state.bytes.is_empty() || state.writer_gone || state.reader_gone {
                return Poll::Ready(());
            }
            state.readers.register(cx.waker());
            Poll::Pending
        })
        .await;
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let pipe = self.pipe().ok_or(StreamError::Closed)?;
        let mut state = pipe.lock();
        if state.bytes.is_empty() {
            return if state.writer_gone || state.reader_gone {
                Err(StreamError::Closed)
            } else {
                Ok(Bytes::new())
            };
        }
        let taken = super::take_front(&mut state.bytes, size);
        let woken = state.writers.take();
        drop(state);
        woken.wake();
        Ok(taken)
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(pipe) = self.pipe() else {
            return Poll::Ready(Ok(()));
        };
        let max = buf.remaining();
        pipe.poll_take(cx, |bytes| super::take_front(bytes, max), Bytes::new)
            .map(|bytes| {
                buf.put_slice(&bytes);
                Ok(())
            })
    }
}

/// A guest's standard output or standard error.
pub(crate) struct GuestStdout {
    sink: Sink,
    terminal: bool,
}

#[derive(Clone)]
enum Sink {
    Discard,
    Pipe(Arc<Writer>),
    Ring(Arc<Ring>),
}

impl GuestStdout {
    pub(crate) fn new(stdout: Stdout, terminal: bool) -> Self {
        let sink = match stdout {
            Stdout::Discard => Sink::Discard,
            Stdout::Pipe(writer) => Sink::Pipe(Arc::new(writer)),
            Stdout::Ring(ring) => Sink::Ring(Arc::new(ring)),
        };
        Self { sink, terminal }
    }

    fn output(&self) -> Output {
        Output {
            sink: self.sink.clone(),
            permit: 0,
        }
    }
}

impl IsTerminal for GuestStdout {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdoutStream for GuestStdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.output())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.output())
    }
}

struct Output {
    sink: Sink,
    /// What the last `check_write` granted and no write has used, in bytes.
    permit: usize,
}

impl Output {
    /// How much may be written now; `None` when nobody reads.
    fn free(&self) -> Option<usize> {
        let pipe = match &self.sink {
            Sink::Discard => return Some(MAX_WRITE_BYTES),
            Sink::Ring(ring) => {
                let state = ring.0.lock();
                return (!state.is_broken()).then_some(MAX_WRITE_BYTES);
            }
            Sink::Pipe(writer) => &writer.0,
        };
        let state = pipe.lock();
        let free = pipe.capacity.saturating_sub(state.bytes.len());
        (!state.is_broken()).then_some(free.min(MAX_WRITE_BYTES))
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        let Sink::Pipe(writer) = &self.sink else {
            return;
        };
        std::future::poll_fn(|cx| {
            let mut state = writer.0.lock();
            if state.reader_gone || state.bytes.len() < writer.0.capacity {
                return Poll::Ready(());
            }
            state.writers.register(cx.waker());
            Poll::Pending
        })
        .await;
    }
}

impl OutputStream for Output {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        if data.len() > self.permit {
            return Err(StreamError::trap("a write beyond what check-write allowed"));
        }
        self.permit -= data.len();
        match &self.sink {
            Sink::Discard => Ok(()),
            Sink::Ring(ring) if ring.0.put_over(&data) => Ok(()),
            Sink::Ring(_) => Err(StreamError::Closed),
            Sink::Pipe(writer) => {
                let mut state = writer.0.lock();
                if state.is_broken() {
                    return Err(StreamError::Closed);
                }
                if state.reader_gone {
                    return Ok(());
                }
                if state.bytes.len() > writer.0.capacity {
                    let reason = "another handle of this stream has filled it";
                    return Err(StreamError::LastOperationFailed(wasmtime::Error::msg(
                        reason,
                    )));
                }
                state.bytes.extend(data.iter());
                let woken = state.readers.take();
                drop(state);
                woken.wake();
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.permit = self.free().ok_or(StreamError::Closed)?;
        Ok(self.permit)
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &self.sink {
            Sink::Discard => Poll::Ready(Ok(data.len())),
            Sink::Ring(ring) if ring.0.put_over(data) => Poll::Ready(Ok(data.len())),
            Sink::Ring(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Sink::Pipe(writer) => writer.0.poll_put(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stdio::{pipe, ring};

    fn output(sink: Stdout) -> Box<dyn OutputStream> {
        GuestStdout::new(sink, false).p2_stream()
    }

    #[test]
    fn a_guest_may_outlive_whoever_reads_what_it_writes() {
        let (reader, writer) = pipe(16);
        let (errors, written) = ring(16);
        let (mut out, mut err) = (output(Stdout::Pipe(writer)), output(Stdout::Ring(written)));
        reader.discard_when_gone();
        errors.discard_when_gone();
        drop((reader, errors));
        for stream in [&mut out, &mut err] {
            for _ in 0..10 {
                assert!(stream.check_write().unwrap() >= 10);
                stream.write(Bytes::from_static(b"0123456789")).unwrap();
            }
        }
    }

    #[test]
    fn a_guest_is_told_that_nobody_reads_any_more() {
        let (reader, writer) = pipe(16);
        let mut out = output(Stdout::Pipe(writer));
        drop(reader);
        assert!(matches!(out.check_write(), Err(StreamError::Closed)));
    }
}
