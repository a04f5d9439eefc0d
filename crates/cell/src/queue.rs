//! One direction of a cell's conversation: a bounded queue of whole messages between two tasks.
//!
//! Each direction has a queue and a lock of its own, held for a few moves and never across a wait,
//! so reading never waits for writing. Nothing is allocated before the first message. A queue that
//! lost its reader throws away what it holds and refuses more; one that lost its writer gives out
//! what it holds and then ends.

use crate::wakers::Wakers;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// What a queued message is charged beyond its bytes: its buffer's bookkeeping, and the slack of the
/// allocator. Without it a flood of empty messages would cost several times the bound.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// A new queue for messages of at most `message_bytes`, which holds `queued_bytes` of them.
pub(crate) fn queue(message_bytes: usize, queued_bytes: usize) -> (WriteEnd, ReadEnd) {
    let queue = Arc::new(Queue {
        message_bytes,
        queued_bytes,
        state: Mutex::default(),
    });
    (WriteEnd(queue.clone()), ReadEnd(queue))
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is nobody left to read it.
    Closed,
    /// It is larger than a message may be.
    TooLarge,
    /// The queue holds this many bytes already.
    Full { queued: usize },
}

/// What a reader found.
pub(crate) enum Drained {
    /// Messages, one straight after the other.
    Messages(Vec<u8>),
    /// Nothing yet.
    Empty,
    /// Nothing ever again.
    Closed,
}

struct Queue {
    message_bytes: usize,
    queued_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Vec<u8>>,
    /// What `messages` are charged, in bytes.
    charged: usize,
    writer_gone: bool,
    reader_gone: bool,
    readers: Wakers,
    writers: Wakers,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message of `bytes` may be added. An empty queue takes any message that is allowed
    /// at all, so that no setting of the two bounds can wedge a conversation.
    fn has_room(&self, state: &State, bytes: usize) -> bool {
        state.charged == 0
            || state.charged + bytes.saturating_add(MESSAGE_OVERHEAD_BYTES) <= self.queued_bytes
    }

    fn is_relaxed(&self, state: &State) -> bool {
        state.charged <= self.queued_bytes / 2
    }

    fn pop(&self, state: &mut State) -> Option<Vec<u8>> {
        let message = state.messages.pop_front()?;
        state.charged -= message.len() + MESSAGE_OVERHEAD_BYTES;
        Some(message)
    }
}

/// The end that writes. Dropping it ends the queue once it is read empty.
pub(crate) struct WriteEnd(Arc<Queue>);

impl WriteEnd {
    /// The largest message, in bytes.
    pub(crate) fn message_bytes(&self) -> usize {
        self.0.message_bytes
    }

    /// The bound on what is queued, in bytes.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.0.queued_bytes
    }

    /// Adds a message, or says why not. Never waits.
    pub(crate) fn push(&self, message: Vec<u8>) -> Result<(), Refusal> {
        let state = self.0.lock();
        if state.reader_gone {
            return Err(Refusal::Closed);
        }
        if message.len() > self.0.message_bytes {
            return Err(Refusal::TooLarge);
        }
        if !self.0.has_room(&state, message.len()) {
            let queued = state.charged;
            return Err(Refusal::Full { queued });
        }
        self.add(state, message);
        Ok(())
    }

    /// Adds a message that is part of a write already admitted, however full the queue is by now.
    pub(crate) fn push_admitted(&self, message: Vec<u8>) -> Result<(), Refusal> {
        let state = self.0.lock();
        if state.reader_gone {
            return Err(Refusal::Closed);
        }
        self.add(state, message);
        Ok(())
    }

    /// Waits until a message of `bytes` fits. Ready too when there is nobody left to read it.
    pub(crate) fn poll_fits(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let mut state = self.0.lock();
        if state.reader_gone || self.0.has_room(&state, bytes) {
            return Poll::Ready(());
        }
        state.writers.register(cx.waker());
        Poll::Pending
    }

    /// Waits until the queue is at most half full, or nobody is left to read it.
    pub(crate) fn poll_relaxed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.reader_gone || self.0.is_relaxed(&state) {
            return Poll::Ready(());
        }
        state.writers.register(cx.waker());
        Poll::Pending
    }

    /// How many bytes may be written now; `None` when there is nobody left to read them.
    pub(crate) fn free_bytes(&self) -> Option<usize> {
        let state = self.0.lock();
        (!state.reader_gone).then(|| self.0.queued_bytes.saturating_sub(state.charged))
    }

    fn add(&self, mut state: MutexGuard<'_, State>, message: Vec<u8>) {
        state.charged += message.len() + MESSAGE_OVERHEAD_BYTES;
        state.messages.push_back(message);
        let woken = state.readers.take();
        drop(state);
        woken.wake();
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.writer_gone = true;
        let woken = state.readers.take();
        drop(state);
        woken.wake();
    }
}

/// The end that reads. Dropping it throws away what is queued and refuses more.
pub(crate) struct ReadEnd(Arc<Queue>);

impl ReadEnd {
    /// The next message; `None` when there will be none.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut state = self.0.lock();
        match self.0.pop(&mut state) {
            Some(message) => {
                self.popped(state);
                Poll::Ready(Some(message))
            }
            None if state.writer_gone => Poll::Ready(None),
            None => {
                state.readers.register(cx.waker());
                Poll::Pending
            }
        }
    }

    /// The next message that is there already, as [`Drained::Messages`].
    pub(crate) fn try_pop(&self) -> Drained {
        let mut state = self.0.lock();
        match self.0.pop(&mut state) {
            Some(message) => {
                self.popped(state);
                Drained::Messages(message)
            }
            None if state.writer_gone => Drained::Closed,
            None => Drained::Empty,
        }
    }

    /// All messages that are there already.
    pub(crate) fn drain(&self) -> Drained {
        let mut state = self.0.lock();
        let Some(mut all) = self.0.pop(&mut state) else {
            return if state.writer_gone {
                Drained::Closed
            } else {
                Drained::Empty
            };
        };
        let rest: usize = state.messages.iter().map(Vec::len).sum();
        all.reserve_exact(rest);
        while let Some(message) = self.0.pop(&mut state) {
            all.extend_from_slice(&message);
        }
        self.popped(state);
        Drained::Messages(all)
    }

    /// Waits until there is a message, or the end.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if !state.messages.is_empty() || state.writer_gone {
            return Poll::Ready(());
        }
        state.readers.register(cx.waker());
        Poll::Pending
    }

    /// Writers are woken once half of the queue is free, not at every message.
    fn popped(&self, mut state: MutexGuard<'_, State>) {
        if self.0.is_relaxed(&state) {
            let woken = state.writers.take();
            drop(state);
            woken.wake();
        }
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        state.charged = 0;
        let lost = std::mem::take(&mut state.messages);
        let woken = state.writers.take();
        drop(state);
        drop(lost);
        woken.wake();
    }
}
