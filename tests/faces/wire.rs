//! A connection between a host and a client, both on this thread, whose messages are carried in memory.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use capnp::capability::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vat::{Closed, Connection, Inbox, Limits, Outbox};

/// As long as the host's own patience with a cell.
const PATIENCE: Duration = Duration::from_secs(1);

struct Mail {
    messages: mpsc::UnboundedSender<Vec<u8>>,
    bytes: Rc<Cell<usize>>,
}

impl Outbox for Mail {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        self.bytes.set(self.bytes.get() + message.len());
        self.messages.send(message).map_err(|_| Closed)
    }

    fn backlog(&self) -> usize {
        self.bytes.get()
    }
}

/// The two ends, and what carries between them.
pub struct Wire {
    pub host: Connection,
    pub client: Connection,
    carriers: JoinSet<()>,
}

impl Wire {
    /// Joins a client to a host that gives it this.
    pub fn new(bootstrap: Client, host: Limits) -> Self {
        let client = Limits {
            message_bytes: host.message_bytes,
            ..Limits::default()
        };
        let (to_host, at_host) = post();
        let (to_client, at_client) = post();
        let host = Connection::new(to_client, host, Some(bootstrap));
        let client = Connection::new(to_host, client, None);
        let mut carriers = JoinSet::new();
        carriers.spawn_local(carry(at_host, host.inbox()));
        carriers.spawn_local(carry(at_client, client.inbox()));
        Self {
            host,
            client,
            carriers,
        }
    }

    /// The client hangs up: nothing is carried any more. The host learns of it at once.
    pub async fn cut(mut self) -> (Connection, Connection) {
        self.carriers.shutdown().await;
        let gone = || capnp::Error::disconnected("the client has gone".into());
        self.host.inbox().close(gone());
        self.client.inbox().close(gone());
        (self.host, self.client)
    }
}

type Post = (mpsc::UnboundedReceiver<Vec<u8>>, Rc<Cell<usize>>);

fn post() -> (Mail, Post) {
    let (messages, receiver) = mpsc::unbounded_channel();
    let bytes = Rc::new(Cell::new(0));
    let mail = Mail {
        messages,
        bytes: bytes.clone(),
    };
    (mail, (receiver, bytes))
}

async fn carry((mut messages, bytes): Post, inbox: Inbox) {
    while let Some(message) = messages.recv().await {
        bytes.set(bytes.get() - message.len());
        if inbox.receive(&message).is_err() {
            return;
        }
        let _ = tokio::time::timeout(PATIENCE, poll_fn(|context| inbox.poll_room(context))).await;
    }
}
