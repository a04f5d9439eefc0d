//! How whole messages travel between two vats: the seam between Cap'n Proto and what carries it.
//!
//! A [`Transport`] moves framed messages and knows nothing of what is in them. There are two: the
//! conversation with a cell, and [`pair`], which joins two vats of this process. Both are bounded in
//! bytes; a peer that does not read what it asked for is cut off rather than buffered for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::mpsc;

/// Two-way, ordered, reliable delivery of framed messages.
pub trait Transport: 'static {
    /// Queues one framed message, at once.
    ///
    /// # Errors
    /// `disconnected` when the other side has gone, `overloaded` when it has left too much unread,
    /// `failed` when the message is larger than it accepts.
    fn send(&mut self, message: Vec<u8>) -> capnp::Result<()>;

    /// The next framed message, or `None` once the other side has gone and all is read.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>>;
}

/// A cell's conversation, as the host sees it.
pub struct CellTransport {
    sender: cell::Sender,
    receiver: cell::Receiver,
}

impl CellTransport {
    /// Takes the host's end of a cell's conversation.
    pub fn new(connection: cell::Connection) -> Self {
        let (sender, receiver) = connection.split();
        Self { sender, receiver }
    }
}

impl Transport for CellTransport {
    fn send(&mut self, message: Vec<u8>) -> capnp::Result<()> {
        self.sender.send(message).map_err(|error| match error {
            cell::SendError::Closed => capnp::Error::disconnected(error.to_string()),
            cell::SendError::Overloaded { .. } => capnp::Error::overloaded(error.to_string()),
            cell::SendError::TooLarge { .. } => capnp::Error::failed(error.to_string()),
        })
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.receiver.poll_receive(context)
    }
}

/// Bytes that may wait in one direction between two vats of a process. A vat that is this far behind
/// is stuck, not busy: at memory speed this is some milliseconds of work.
const PAIR_BYTES: usize = 32 << 20;

/// What a queued message costs beside its bytes, so that empty messages are bounded too.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// One end of a connection between two vats of this process. `Send`, so that it can be carried there.
pub struct PairEnd {
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    outgoing_bytes: Arc<AtomicUsize>,
    incoming: mpsc::UnboundedReceiver<Vec<u8>>,
    incoming_bytes: Arc<AtomicUsize>,
}

/// The two ends of a connection in memory, each direction bounded to 32 MiB.
pub fn pair() -> (PairEnd, PairEnd) {
    let (left_sender, right_receiver) = mpsc::unbounded_channel();
    let (right_sender, left_receiver) = mpsc::unbounded_channel();
    let rightward = Arc::new(AtomicUsize::new(0));
    let leftward = Arc::new(AtomicUsize::new(0));
    let left = PairEnd {
        outgoing: left_sender,
        outgoing_bytes: rightward.clone(),
        incoming: left_receiver,
        incoming_bytes: leftward.clone(),
    };
    let right = PairEnd {
        outgoing: right_sender,
        outgoing_bytes: leftward,
        incoming: right_receiver,
        incoming_bytes: rightward,
    };
    (left, right)
}

impl Transport for PairEnd {
    fn send(&mut self, message: Vec<u8>) -> capnp::Result<()> {
        let cost = message.len().saturating_add(MESSAGE_OVERHEAD_BYTES);
        let queued = self.outgoing_bytes.fetch_add(cost, Ordering::Relaxed);
        if queued.saturating_add(cost) > PAIR_BYTES {
            self.outgoing_bytes.fetch_sub(cost, Ordering::Relaxed);
            return Err(capnp::Error::overloaded(format!(
                "another vat has left {queued} bytes unread; the limit is {PAIR_BYTES}"
            )));
        }
        self.outgoing
            .send(message)
            .map_err(|_| capnp::Error::disconnected("the other vat has gone".into()))
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let received = std::task::ready!(self.incoming.poll_recv(context));
        if let Some(message) = &received {
            let cost = message.len().saturating_add(MESSAGE_OVERHEAD_BYTES);
            self.incoming_bytes.fetch_sub(cost, Ordering::Relaxed);
        }
        Poll::Ready(received)
    }
}
