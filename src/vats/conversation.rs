//! The conversation with a cell, as its vat sees it: a connection of the engine whose messages are
//! carried by the `cell` crate.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use capnp::capability::Client;
use cell::{Recipient, Sender};
use tokio::time::Sleep;
use vat::{Connection, Inbox, Limits, Outbox};

/// How long a cell is held back that has too much under way. What it waits for may be something that it has
/// yet to say; beyond this its calls are refused instead.
const PATIENCE: Duration = Duration::from_secs(1);

/// Joins this vat to a cell, which may have so many calls under way. `bootstrap` is what the cell gets when it asks; what is returned beside the
/// connection takes the cell's messages.
pub fn open(sender: Sender, calls: u32, bootstrap: Client) -> (Connection, Hearing) {
    let limits = Limits {
        message_bytes: sender.message_bytes(),
        answers: usize::try_from(calls).unwrap_or(usize::MAX),
        // The engine needs as much again for what the protocol cannot do without.
        outgoing_bytes: sender.queued_bytes() / 2,
        ..Limits::default()
    };
    let connection = Connection::new(Speaking(sender), limits, Some(bootstrap));
    let hearing = Hearing {
        inbox: connection.inbox(),
        patience: None,
    };
    (connection, hearing)
}

/// Messages for the cell.
struct Speaking(Sender);

impl Outbox for Speaking {
    fn send(&mut self, message: Vec<u8>) -> Result<(), vat::Closed> {
        self.0.send(message).map_err(|_| vat::Closed)
    }

    fn backlog(&self) -> usize {
        self.0.queued()
    }
}

/// Takes the cell's messages. Dropping it ends the connection.
pub struct Hearing {
    inbox: Inbox,
    /// Runs while the cell is held back.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Recipient for Hearing {
    fn deliver(&mut self, message: &[u8]) -> Result<(), cell::Closed> {
        self.inbox.receive(message).map_err(|_| cell::Closed)
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let polled = match self.inbox.poll_room(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self
                .patience
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)))
                .as_mut()
                .poll(context),
        };
        if polled.is_ready() {
            self.patience = None;
        }
        polled
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        let gone = capnp::Error::disconnected("the cell has closed its end".into());
        self.inbox.close(gone);
    }
}
