//! The way from one vat of this process to another: whole messages, through a queue that is bounded by
//! the connections at its ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use capnp::capability::Client;
use futures::future::poll_fn;
use tokio::sync::mpsc;
use vat::{Closed, Connection, Limits, Outbox};

/// What a queued message costs beside its bytes, so that empty messages are bounded too.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// How long messages are left in the queue while too much of what came before is under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// One end of a connection between two vats of this process. `Send`, so that it can be carried there.
pub struct PairEnd {
    outgoing: Outgoing,
    incoming: Incoming,
}

struct Outgoing {
    messages: mpsc::UnboundedSender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

struct Incoming {
    messages: mpsc::UnboundedReceiver<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

/// The two ends of a connection.
pub fn pair() -> (PairEnd, PairEnd) {
    let (to_right, at_right) = one_way();
    let (to_left, at_left) = one_way();
    let left = PairEnd {
        outgoing: to_right,
        incoming: at_left,
    };
    let right = PairEnd {
        outgoing: to_left,
        incoming: at_right,
    };
    (left, right)
}

fn one_way() -> (Outgoing, Incoming) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let outgoing = Outgoing {
        messages: sender,
        bytes: bytes.clone(),
    };
    let incoming = Incoming {
        messages: receiver,
        bytes,
    };
    (outgoing, incoming)
}

impl Outbox for Outgoing {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        self.bytes.fetch_add(cost(&message), Ordering::Relaxed);
        self.messages.send(message).map_err(|_| Closed)
    }

    fn backlog(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Incoming {
    async fn next(&mut self) -> Option<Vec<u8>> {
        let message = self.messages.recv().await?;
        self.bytes.fetch_sub(cost(&message), Ordering::Relaxed);
        Some(message)
    }
}

fn cost(message: &[u8]) -> usize {
    message.len().saturating_add(MESSAGE_OVERHEAD_BYTES)
}

impl PairEnd {
    /// Joins this vat to the one at the other end. The second part carries messages until either has
    /// gone; it keeps the connection.
    pub fn connect(self) -> (Client, impl Future<Output = ()>) {
        let Self { outgoing, incoming } = self;
        let connection = Connection::new(outgoing, Limits::default(), None);
        let bootstrap = connection.bootstrap();
        (bootstrap, carry(incoming, connection, None))
    }

    /// Gives the vat at the other end a capability, once it asks for anything at all.
    pub async fn serve(self, bootstrap: Client) {
        let Self {
            outgoing,
            mut incoming,
        } = self;
        let Some(first) = incoming.next().await else {
            return;
        };
        let connection = Connection::new(outgoing, Limits::default(), Some(bootstrap));
        carry(incoming, connection, Some(first)).await;
    }
}

async fn carry(mut incoming: Incoming, connection: Connection, first: Option<Vec<u8>>) {
    let inbox = connection.inbox();
    let mut next = first;
    loop {
        let message = match next.take() {
            Some(message) => message,
            None => match incoming.next().await {
                Some(message) => message,
                None => break,
            },
        };
        if inbox.receive(&message).is_err() {
            break;
        }
        // Patience may end; then calls are refused instead.
        let _ = tokio::time::timeout(PATIENCE, poll_fn(|context| inbox.poll_room(context))).await;
    }
    let reason = capnp::Error::disconnected("the other vat has gone".into());
    connection.disconnect(reason);
}
