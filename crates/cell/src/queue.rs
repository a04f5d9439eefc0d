//! What the host has said and a guest has not yet received: a bounded queue of whole messages.
//!
//! The host writes from any thread and never waits; one task reads, which is the cell's. The lock is
//! held for a few moves, never across a wait and never while bytes are copied. A message that is
//! received before the next one comes costs no allocation and no copy beyond its own buffer. A queue
//! that lost its reader throws away what it holds and refuses more; one that lost its writer gives
//! out what it holds and then ends.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

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
    /// There is nobody left to read it, or the writer said that there would be no more.
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
    /// The reader, while it waits. It is one task, so its latest waker is the one to wake.
    reader: Option<Waker>,
}

impl State {
    fn pop(&mut self) -> Option<Vec<u8>> {
        let message = self.messages.pop_front()?;
        self.charged -= message.len() + MESSAGE_OVERHEAD_BYTES;
        Some(message)
    }

    /// What an empty queue means.
    fn emptiness(&self) -> Drained {
        if self.writer_gone {
            Drained::Closed
        } else {
            Drained::Empty
        }
    }
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

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.messages.is_empty() || state.writer_gone {
            return Poll::Ready(());
        }
        match &mut state.reader {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
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

    /// What is queued, in bytes with the overhead of each message.
    pub(crate) fn queued(&self) -> usize {
        self.0.lock().charged
    }

    /// Adds a message, or says why not. Never waits.
    pub(crate) fn push(&self, message: Vec<u8>) -> Result<(), Refusal> {
        let mut state = self.0.lock();
        if state.reader_gone || state.writer_gone {
            return Err(Refusal::Closed);
        }
        if message.len() > self.0.message_bytes {
            return Err(Refusal::TooLarge);
        }
        if !self.0.has_room(&state, message.len()) {
            let queued = state.charged;
            return Err(Refusal::Full { queued });
        }
        state.charged += message.len() + MESSAGE_OVERHEAD_BYTES;
        state.messages.push_back(message);
        wake_reader(state);
        Ok(())
    }

    /// Ends the queue once it is read empty.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.writer_gone = true;
        wake_reader(state);
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        self.close();
    }
}

/// Outside of the lock.
fn wake_reader(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// The end that reads. Dropping it throws away what is queued and refuses more.
pub(crate) struct ReadEnd(Arc<Queue>);

impl ReadEnd {
    /// The next message that is there already, as [`Drained::Messages`].
    pub(crate) fn try_pop(&self) -> Drained {
        let mut state = self.0.lock();
        match state.pop() {
            Some(message) => Drained::Messages(message),
            None => state.emptiness(),
        }
    }

    /// All messages that are there already. One alone is given as it was sent, uncopied.
    pub(crate) fn drain(&self) -> Drained {
        let mut state = self.0.lock();
        let Some(mut all) = state.pop() else {
            return state.emptiness();
        };
        if state.messages.is_empty() {
            return Drained::Messages(all);
        }
        let rest = mem::take(&mut state.messages);
        state.charged = 0;
        drop(state);
        all.reserve_exact(rest.iter().map(Vec::len).sum());
        for message in rest {
            all.extend_from_slice(&message);
        }
        Drained::Messages(all)
    }

    /// Waits until there is a message, or the end.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(cx)
    }

    /// To look at this queue from elsewhere in the reader's task.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.0.clone())
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        state.charged = 0;
        state.reader = None;
        let lost = mem::take(&mut state.messages);
        drop(state);
        drop(lost);
    }
}

/// Sees whether there is something to read, and reads nothing.
pub(crate) struct Watch(Arc<Queue>);

impl Watch {
    /// Waits until there is a message, or the end.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(cx)
    }
}
