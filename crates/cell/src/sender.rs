//! What the host says to a guest: the sending end of the queue that the guest receives from.
//!
//! A message is a `Vec<u8>` in Cap'n Proto's standard stream framing, whichever of `wetware:streams`
//! and `wetware:rpc` the guest took. The host's messages are not checked: the guest defends itself.
//! What a guest has not received yet is bounded by
//! [`Limits::queued_bytes`](crate::Limits::queued_bytes), and a full queue is an error and never a
//! wait, because whoever sends here serves others as well.

use crate::queue::{Refusal, WriteEnd};
use std::sync::Arc;
use thiserror::Error;

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The cell has ended, or has dropped its end, or this end was closed.
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

/// Sends messages to one guest, from any thread. Clones are the same sender; the guest's input ends
/// when one of them is closed or the last one is dropped, after what was sent before.
#[derive(Clone)]
pub struct Sender {
    queue: Arc<WriteEnd>,
}

impl Sender {
    pub(crate) fn new(queue: WriteEnd) -> Self {
        Self {
            queue: Arc::new(queue),
        }
    }

    /// Queues one message. Never waits. A queue that is empty takes any message that is not too
    /// large.
    ///
    /// # Errors
    /// The conversation is over, the message is too large, or too much is queued already.
    pub fn send(&self, message: Vec<u8>) -> Result<(), SendError> {
        let bytes = message.len();
        self.queue.push(message).map_err(|refusal| match refusal {
            Refusal::Closed => SendError::Closed,
            Refusal::TooLarge => SendError::TooLarge {
                bytes,
                limit: self.message_bytes(),
            },
            Refusal::Full { queued } => SendError::Overloaded {
                queued,
                limit: self.queued_bytes(),
            },
        })
    }

    /// Ends the guest's input, for all clones. The guest can still receive what is queued; after that
    /// it is told `closed`.
    pub fn close(&self) {
        self.queue.close();
    }

    /// What the guest has not received yet, in bytes with an overhead for each message.
    pub fn queued(&self) -> usize {
        self.queue.queued()
    }

    /// The largest message, in bytes: [`Limits::message_bytes`](crate::Limits::message_bytes).
    pub fn message_bytes(&self) -> usize {
        self.queue.message_bytes()
    }

    /// The bound on what is queued, in bytes:
    /// [`Limits::queued_bytes`](crate::Limits::queued_bytes).
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::queue::{Drained, ReadEnd, queue};

    fn pair(message_bytes: usize, queued_bytes: usize) -> (Sender, ReadEnd) {
        let (to_guest, guest_reads) = queue(message_bytes, queued_bytes);
        (Sender::new(to_guest), guest_reads)
    }

    #[test]
    fn a_sender_is_refused_rather_than_queued_without_bound() {
        let (sender, guest) = pair(1000, 2000);
        assert_eq!(
            (sender.message_bytes(), sender.queued_bytes()),
            (1000, 2000)
        );
        assert_eq!(
            sender.send(vec![0; 1001]),
            Err(SendError::TooLarge {
                bytes: 1001,
                limit: 1000
            })
        );
        assert_eq!(sender.queued(), 0);
        sender.send(vec![0; 1000]).unwrap();
        let queued = sender.queued();
        assert!(queued >= 1000);
        assert_eq!(
            sender.send(vec![0; 1000]),
            Err(SendError::Overloaded {
                queued,
                limit: 2000
            })
        );
        assert!(matches!(guest.drain(), Drained::Messages(m) if m.len() == 1000));
        assert_eq!(sender.queued(), 0);
        sender.send(vec![0; 1000]).unwrap();
    }

    #[test]
    fn empty_messages_are_charged_too() {
        let (sender, _guest) = pair(1000, 6400);
        let sent = (0..1000)
            .take_while(|_| sender.send(vec![]).is_ok())
            .count();
        assert_eq!(sent, 100);
    }

    #[test]
    fn an_empty_queue_takes_whatever_is_not_too_large() {
        let (sender, _guest) = pair(1000, 10);
        sender.send(vec![0; 1000]).unwrap();
        assert!(sender.send(vec![]).is_err());
    }

    #[test]
    fn the_input_ends_with_the_last_sender_or_with_a_close_and_after_what_was_sent() {
        let (sender, guest) = pair(1000, 2000);
        let clone = sender.clone();
        drop(sender);
        assert!(matches!(guest.drain(), Drained::Empty));
        clone.send(vec![1]).unwrap();
        drop(clone);
        assert!(matches!(guest.drain(), Drained::Messages(m) if m == [1]));
        assert!(matches!(guest.drain(), Drained::Closed));

        let (sender, guest) = pair(1000, 2000);
        let clone = sender.clone();
        sender.send(vec![2]).unwrap();
        sender.close();
        assert_eq!(clone.send(vec![3]), Err(SendError::Closed));
        assert!(matches!(guest.drain(), Drained::Messages(m) if m == [2]));
        assert!(matches!(guest.drain(), Drained::Closed));
    }

    #[test]
    fn what_a_guest_that_went_had_not_received_is_forgotten() {
        let (sender, guest) = pair(1000, 2000);
        sender.send(vec![1]).unwrap();
        drop(guest);
        assert_eq!(sender.queued(), 0);
        assert_eq!(sender.send(vec![1]), Err(SendError::Closed));
    }
}
