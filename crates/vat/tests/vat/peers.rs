//! Peers on one thread, joined in memory: two connections of this engine, or one and one of
//! `capnp-rpc`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use capnp::capability::Client;
use futures::StreamExt as _;
use futures::channel::mpsc;
use vat::{Closed, Connection, Limits, Outbox};

/// Messages on their way, and how many bytes they have.
pub struct Pipe {
    sender: mpsc::UnboundedSender<Vec<u8>>,
    backlog: Rc<Cell<usize>>,
}

impl Outbox for Pipe {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        self.backlog.set(self.backlog.get() + message.len());
        self.sender.unbounded_send(message).map_err(|_| Closed)
    }

    fn backlog(&self) -> usize {
        self.backlog.get()
    }
}

pub struct Arriving {
    pub receiver: mpsc::UnboundedReceiver<Vec<u8>>,
    pub backlog: Rc<Cell<usize>>,
}

impl Arriving {
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let message = self.receiver.next().await?;
        self.backlog.set(self.backlog.get() - message.len());
        Some(message)
    }
}

pub fn pipe() -> (Pipe, Arriving) {
    let (sender, receiver) = mpsc::unbounded();
    let backlog = Rc::new(Cell::new(0));
    let arriving = Arriving {
        receiver,
        backlog: backlog.clone(),
    };
    (Pipe { sender, backlog }, arriving)
}

/// Two connections of this engine, each the other's peer. The tasks that carry messages end with them.
pub fn joined(
    limits: &Limits,
    left: Option<Client>,
    right: Option<Client>,
) -> (Connection, Connection) {
    let (to_right, at_right) = pipe();
    let (to_left, at_left) = pipe();
    let left = Connection::new(to_right, limits.clone(), left);
    let right = Connection::new(to_left, limits.clone(), right);
    carry(at_left, &left);
    carry(at_right, &right);
    (left, right)
}

pub fn carry(mut arriving: Arriving, connection: &Connection) {
    let inbox = connection.inbox();
    tokio::task::spawn_local(async move {
        while let Some(message) = arriving.next().await {
            if inbox.receive(&message).is_err() {
                break;
            }
        }
        inbox.close(capnp::Error::disconnected("the peer has gone".into()));
    });
}

/// A peer that writes and reads messages itself.
pub struct Raw {
    pub inbox: vat::Inbox,
    pub sent: Rc<RefCell<VecDeque<Vec<u8>>>>,
}

struct Kept {
    sent: Rc<RefCell<VecDeque<Vec<u8>>>>,
}

impl Outbox for Kept {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        self.sent.borrow_mut().push_back(message);
        Ok(())
    }

    fn backlog(&self) -> usize {
        self.sent.borrow().iter().map(Vec::len).sum()
    }
}

pub fn raw(limits: &Limits, bootstrap: Option<Client>) -> (Raw, Connection) {
    let sent = Rc::new(RefCell::new(VecDeque::new()));
    let connection = Connection::new(Kept { sent: sent.clone() }, limits.clone(), bootstrap);
    let inbox = connection.inbox();
    (Raw { inbox, sent }, connection)
}

/// Runs a test on a vat of its own.
pub fn on_a_vat(test: impl std::future::Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, vat::run_until(test));
}
