//! The way out: messages that wait for the stream to take them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use futures::io::AsyncWrite;

use crate::connection::{Closed, Outbox};

/// Messages are put together up to this many bytes, so that many small ones are one write.
const TOGETHER_BYTES: usize = 16 << 10;

/// What a message costs beside its bytes, at most: its place in the queue, and the allocator's share.
const MESSAGE_BYTES: usize = 64;

/// Messages that wait. The connection's limits bound it.
#[derive(Default)]
pub(super) struct Queue {
    pieces: RefCell<VecDeque<Vec<u8>>>,
    bytes: Cell<usize>,
    /// Nothing more will be sent.
    closed: Cell<bool>,
    /// Nobody will write.
    abandoned: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Queue {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Forgets whatever waits; nothing is taken any more.
    pub(super) fn abandon(&self) {
        self.abandoned.set(true);
        self.pieces.take();
        self.bytes.set(0);
    }

    /// Wakes whoever polls as soon as something is sent.
    pub(super) fn wake_when_sent(&self, context: &Context<'_>) {
        self.waker.set(Some(context.waker().clone()));
    }

    /// Whoever writes is running, and need not be woken.
    pub(super) fn forget_waker(&self) {
        self.waker.set(None);
    }

    fn push(&self, message: Vec<u8>) {
        let mut pieces = self.pieces.borrow_mut();
        self.bytes
            .set(self.bytes.get().saturating_add(message.len()));
        match pieces.back_mut() {
            Some(last) if last.len().saturating_add(message.len()) <= TOGETHER_BYTES => {
                last.extend_from_slice(&message);
            }
            _ => {
                self.bytes
                    .set(self.bytes.get().saturating_add(MESSAGE_BYTES));
                pieces.push_back(message);
            }
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn pop(&self) -> Option<Vec<u8>> {
        let piece = self.pieces.borrow_mut().pop_front();
        if piece.is_some() {
            self.written(MESSAGE_BYTES);
        }
        piece
    }

    fn written(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }
}

/// The connection's side of a queue.
pub(super) struct Sender(Rc<Queue>);

impl Sender {
    pub(super) fn new(queue: &Rc<Queue>) -> Self {
        Self(Rc::clone(queue))
    }
}

impl Outbox for Sender {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        if self.0.abandoned.get() {
            return Err(Closed);
        }
        self.0.push(message);
        self.0.wake();
        Ok(())
    }

    fn backlog(&self) -> usize {
        self.0.bytes()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.wake();
    }
}

/// The stream's side of a queue.
#[derive(Default)]
pub(super) struct Outgoing {
    /// What is being written, and how much of it has been.
    piece: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl Outgoing {
    /// Writes what there is, and flushes when there is no more.
    pub(super) fn poll_write<W: AsyncWrite>(
        &mut self,
        queue: &Queue,
        mut writer: Pin<&mut W>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(rest) = self
                .piece
                .get(self.written..)
                .filter(|rest| !rest.is_empty())
            {
                let bytes = ready!(writer.as_mut().poll_write(context, rest))?;
                if bytes == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.unflushed = true;
                self.written = self.written.saturating_add(bytes);
                queue.written(bytes);
            }
            self.written = 0;
            match queue.pop() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        self.piece = Vec::new();
        if self.unflushed {
            ready!(writer.poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what there is, and closes.
    pub(super) fn poll_close<W: AsyncWrite>(
        &mut self,
        queue: &Queue,
        mut writer: Pin<&mut W>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_write(queue, writer.as_mut(), context))?;
        writer.poll_close(context)
    }
}
