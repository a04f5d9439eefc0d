//! The way in: bytes that are read, and messages that are taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::AsyncRead;

use super::queue::Queue;
use super::splitter::Splitter;
use super::{Timer, Timers, UNFINISHED};
use crate::connection::Inbox;
use crate::limits::Limits;

/// Messages and reads before others on the thread get their turn. Some hundreds of microseconds.
const STEPS_IN_A_ROW: usize = 64;

/// What is taken from a peer that is held back, in bytes, each time that its pause is over.
const MOUTHFUL_BYTES: usize = 64 << 10;

pub(super) struct Incoming {
    splitter: Splitter,
    ended: bool,
    /// What may still be taken from a peer that is held back, in bytes.
    mouthful: usize,
    /// Whether a message has begun, and it has been waited for the rest.
    waiting_for_the_rest: bool,
    /// Whether a pause has begun and is not over.
    pausing: bool,
    /// Whether that is because of what the peer leaves unread.
    unread_too_much: bool,
    /// What may be left unread by the peer before it is held back, in bytes.
    unread: usize,
}

impl Incoming {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            splitter: Splitter::new(limits),
            ended: false,
            mouthful: 0,
            waiting_for_the_rest: false,
            pausing: false,
            unread_too_much: false,
            unread: limits.outgoing_bytes / 2,
        }
    }

    /// Reads, and takes messages in. Ready when there is nothing more to be read, and why.
    pub(super) fn poll_receive(
        &mut self,
        inbox: &Inbox,
        queue: &Queue,
        mut reader: Pin<&mut impl AsyncRead>,
        timers: &mut Timers<'_>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        for _ in 0..STEPS_IN_A_ROW {
            if queue.is_closed() {
                return Poll::Ready(Ok(()));
            }
            let whole = match self.splitter.whole() {
                Ok(whole) => whole,
                Err(error) => {
                    inbox.refuse(error);
                    return Poll::Ready(Ok(()));
                }
            };
            match whole {
                Some(bytes) => {
                    ready!(self.poll_room(inbox, queue, timers, context));
                    self.mouthful = self.mouthful.saturating_sub(bytes);
                    // Whether it has ended the connection is to be seen by the queue.
                    let _ = inbox.receive(self.splitter.take(bytes));
                    self.waiting_for_the_rest = false;
                }
                None => match self.poll_read(reader.as_mut(), context) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => return self.poll_patience(timers, context).map(Err),
                },
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when the peer has been waited for long enough, and what to say about it.
    fn poll_patience(
        &mut self,
        timers: &mut Timers<'_>,
        context: &mut Context<'_>,
    ) -> Poll<io::Error> {
        if self.splitter.is_between_messages() {
            return Poll::Pending;
        }
        let begin = !std::mem::replace(&mut self.waiting_for_the_rest, true);
        timers(Timer::Unfinished, context, begin).map(|()| {
            let message = format!("a message that it began is not whole after {UNFINISHED:?}");
            io::Error::new(io::ErrorKind::TimedOut, message)
        })
    }

    /// Ready when a message may be taken.
    fn poll_room(
        &mut self,
        inbox: &Inbox,
        queue: &Queue,
        timers: &mut Timers<'_>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.unread_too_much = queue.bytes() > self.unread;
        if !self.unread_too_much && inbox.poll_room(context).is_ready() {
            self.pausing = false;
            self.mouthful = 0;
            return Poll::Ready(());
        }
        if self.mouthful == 0 {
            let begin = !std::mem::replace(&mut self.pausing, true);
            ready!(timers(Timer::HoldBack, context, begin));
            self.pausing = false;
            self.mouthful = MOUTHFUL_BYTES;
        }
        Poll::Ready(())
    }

    /// Whether a pause can end at once, because the peer has read.
    pub(super) fn may_go_on(&self, queue: &Queue) -> bool {
        self.pausing && self.unread_too_much && queue.bytes() <= self.unread
    }

    fn poll_read(
        &mut self,
        reader: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(reader.poll_read(context, self.splitter.space()))?;
        self.splitter.filled(bytes);
        if bytes > 0 {
            return Poll::Ready(Ok(()));
        }
        self.ended = true;
        let message = match self.splitter.is_between_messages() {
            true => "it has hung up",
            false => "it has hung up in the middle of a message",
        };
        Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, message)))
    }

    /// Reads and forgets, until the peer hangs up: a socket that is closed while something is unread
    /// takes back what was written last.
    pub(super) fn poll_drain(
        &mut self,
        mut reader: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        for _ in 0..STEPS_IN_A_ROW {
            if self.ended {
                return Poll::Ready(());
            }
            let read = ready!(reader.as_mut().poll_read(context, self.splitter.space()));
            self.ended = !matches!(read, Ok(1..));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
