//! The host's end of a cell's one conversation, in whole messages.
//!
//! A message is a `Vec<u8>` in Cap'n Proto's standard stream framing, whichever of `wetware:streams`
//! and `wetware:rpc` the guest took. What a message means is not known here, and the host's own
//! messages are not checked: the guest defends itself. The guest's messages are framed correctly and
//! no larger than [`Limits::message_bytes`](crate::Limits::message_bytes); nothing else is promised
//! about them.
//!
//! Both directions are bounded by [`Limits::queued_bytes`](crate::Limits::queued_bytes). Towards the
//! guest a full queue is an error, because whoever sends there serves others as well; towards the
//! host a full queue holds the guest back.

use crate::queue::{ReadEnd, Refusal, WriteEnd};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use thiserror::Error;

/// The host's end of a conversation. Dropping it, or both of its halves, ends the conversation: the
/// guest's next call on it says `closed`.
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    pub(crate) fn new(outgoing: WriteEnd, incoming: ReadEnd) -> Self {
        Self {
            sender: Sender {
                queue: Arc::new(outgoing),
            },
            receiver: Receiver { queue: incoming },
        }
    }

    /// The two directions, which never wait for each other.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The cell has ended, or has dropped its end.
    #[error("the cell's end of the conversation is closed")]
    Closed,
    /// The message is larger than this cell's messages may be.
    #[error("a message of {bytes} bytes; this cell takes at most {limit}")]
    TooLarge {
        /// The message's size.
        bytes: usize,
        /// [`Limits::message_bytes`](crate::Limits::message_bytes).
        limit: usize,
    },
    /// The cell does not read as fast as it is written to.
    #[error("the cell has {queued} unread bytes queued, and at most {limit} are kept")]
    Overloaded {
        /// What is queued, in bytes with the overhead of each message.
        queued: usize,
        /// [`Limits::queued_bytes`](crate::Limits::queued_bytes).
        limit: usize,
    },
}

/// Sends messages to the guest. Clones are the same sender; the guest's input ends when the last one
/// is dropped.
#[derive(Clone)]
pub struct Sender {
    queue: Arc<WriteEnd>,
}

impl Sender {
    /// Queues one message. Never waits: see [`room`](Self::room).
    ///
    /// # Errors
    /// The conversation is over, the message is too large, or too much is queued already.
    pub fn send(&self, message: Vec<u8>) -> Result<(), SendError> {
        let bytes = message.len();
        self.queue.push(message).map_err(|refusal| match refusal {
            Refusal::Closed => SendError::Closed,
            Refusal::TooLarge => SendError::TooLarge {
                bytes,
                limit: self.queue.message_bytes(),
            },
            Refusal::Full { queued } => SendError::Overloaded {
                queued,
                limit: self.queue.queued_bytes(),
            },
        })
    }

    /// Waits until less than half of the bound is queued, or the conversation is over.
    pub async fn room(&self) {
        poll_fn(|cx| self.queue.poll_relaxed(cx)).await;
    }
}

/// Receives the guest's messages. Dropping it lets the guest's sends fail with `closed`.
pub struct Receiver {
    queue: ReadEnd,
}

impl Receiver {
    /// The next message; `None` once the cell has ended or closed its end, and everything that it
    /// sent before has been received. Cancelling loses nothing.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        poll_fn(|cx| self.queue.poll_pop(cx)).await
    }

    /// As [`receive`](Self::receive), for those who poll.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.queue.poll_pop(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::queue::{Drained, queue};
    use futures::FutureExt as _;
    use futures::executor::block_on;

    fn pair(message_bytes: usize, queued_bytes: usize) -> (Connection, ReadEnd, WriteEnd) {
        let (to_guest, guest_reads) = queue(message_bytes, queued_bytes);
        let (guest_writes, from_guest) = queue(message_bytes, queued_bytes);
        (
            Connection::new(to_guest, from_guest),
            guest_reads,
            guest_writes,
        )
    }

    #[test]
    fn a_sender_is_refused_rather_than_queued_without_bound() {
        let (connection, guest, _guest_writes) = pair(1000, 2000);
        let (sender, _receiver) = connection.split();
        assert_eq!(
            sender.send(vec![0; 1001]),
            Err(SendError::TooLarge {
                bytes: 1001,
                limit: 1000
            })
        );
        sender.send(vec![0; 1000]).unwrap();
        assert!(matches!(
            sender.send(vec![0; 1000]),
            Err(SendError::Overloaded { limit: 2000, .. })
        ));
        assert!(sender.room().now_or_never().is_none());
        assert!(matches!(guest.drain(), Drained::Messages(m) if m.len() == 1000));
        assert!(sender.room().now_or_never().is_some());
        sender.send(vec![0; 1000]).unwrap();
    }

    #[test]
    fn empty_messages_are_charged_too() {
        let (connection, _guest, _guest_writes) = pair(1000, 6400);
        let (sender, _receiver) = connection.split();
        let sent = (0..1000)
            .take_while(|_| sender.send(vec![]).is_ok())
            .count();
        assert_eq!(sent, 100);
    }

    #[test]
    fn what_the_guest_sent_before_its_end_is_received_before_the_end() {
        let (connection, _guest_reads, guest_writes) = pair(1000, 2000);
        let (_sender, mut receiver) = connection.split();
        guest_writes.push(vec![1]).unwrap();
        guest_writes.push(vec![2]).unwrap();
        drop(guest_writes);
        assert_eq!(block_on(receiver.receive()), Some(vec![1]));
        assert_eq!(block_on(receiver.receive()), Some(vec![2]));
        assert_eq!(block_on(receiver.receive()), None);
    }

    #[test]
    fn dropping_the_hosts_end_closes_both_directions() {
        let (connection, guest_reads, guest_writes) = pair(1000, 2000);
        let (sender, receiver) = connection.split();
        let clone = sender.clone();
        drop(sender);
        assert!(matches!(guest_reads.drain(), Drained::Empty));
        drop(clone);
        assert!(matches!(guest_reads.drain(), Drained::Closed));
        drop(receiver);
        assert_eq!(guest_writes.push(vec![1]), Err(Refusal::Closed));
    }
}
