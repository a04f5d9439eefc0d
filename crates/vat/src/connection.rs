//! A connection to one peer: four tables, and the rules by which messages change them.
//!
//! | table | what is in it | module |
//! |---|---|---|
//! | questions | calls to the peer | [`questions`] |
//! | answers | calls from the peer | [`answers`] |
//! | exports | what the peer holds of ours | [`exports`] |
//! | imports | what we hold of the peer's | [`imports`] |
//!
//! Beside them stand [`embargoes`], and [`capabilities`], which turns references into descriptors and
//! back; [`receive`] says which message goes where. No borrow of the tables is held while somebody
//! else's code runs: hooks, servers, wakers and destructors may all come back here.

mod answers;
mod capabilities;
mod embargoes;
mod exports;
mod ids;
mod imports;
mod lingering;
mod questions;
mod receive;
mod send;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use capnp::Error;
use capnp::capability::{Client, FromClientHook};
use capnp::private::capability::ClientHook;

use crate::error::Violation;
use crate::limits::Limits;
use crate::message::FramingError;
use crate::outcome::Handle;
use crate::panics::caught;
use crate::reference::{self, Node};
use crate::vat;
use crate::waiters::{Place, Waiters};
use answers::Answers;
use embargoes::Embargoes;
use exports::Exports;
use imports::Imports;
use questions::Questions;
pub(crate) use questions::{Asked, QuestionName};

/// Where a connection's messages go.
///
/// Implementations queue, wake whoever sends, and return: they must not call into the connection.
/// Dropping it closes the way out, once everything queued has been read.
pub trait Outbox {
    /// Queues one message in the standard stream framing. It is within the connection's
    /// [`Limits::outgoing_bytes`] and [`Limits::message_bytes`].
    ///
    /// # Errors
    /// The peer is gone; the connection ends.
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed>;

    /// How much has been queued and not been read, in bytes, with whatever each message costs.
    fn backlog(&self) -> usize;
}

/// The peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;

/// A connection to a peer. Dropping it ends the connection.
pub struct Connection {
    shared: Rc<Shared>,
}

/// Where a connection's messages come in. Clones are the same; it does not keep the connection.
#[derive(Clone)]
pub struct Inbox(Weak<Shared>);

/// What a connection holds at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls to the peer that are not over.
    pub questions: usize,
    /// Calls from the peer that are not over.
    pub answers: usize,
    /// Capabilities that the peer holds.
    pub exports: usize,
    /// Capabilities that are held from the peer.
    pub imports: usize,
    /// Promises whose last calls the peer has not sent back.
    pub embargoes: usize,
    /// Parameters that have not been answered and results that have not been released, in bytes.
    pub bytes_in_flight: usize,
}

/// The state of a connection.
pub(crate) struct Shared {
    tables: RefCell<Tables>,
    limits: Limits,
    bootstrap: Option<Rc<dyn ClientHook>>,
}

struct Tables {
    /// Gone once the connection has ended.
    outbox: Option<Box<dyn Outbox>>,
    ended: Option<Error>,
    closed: Waiters,
    room: Option<Waker>,
    questions: Questions,
    answers: Answers,
    exports: Exports,
    imports: Imports,
    embargoes: Embargoes,
}

/// What the peer is to be told in its turn.
pub(crate) enum Notice {
    /// Nobody cares for a question any more.
    Finish(QuestionName),
    /// Nobody holds an import any more.
    Release(u32),
    /// All calls on the way to a node have been sent.
    Loopback(Rc<Node>, u32),
}

impl Connection {
    /// Joins this vat to a peer. `bootstrap` is what the peer gets when it asks.
    pub fn new(outbox: impl Outbox + 'static, limits: Limits, bootstrap: Option<Client>) -> Self {
        let shared = Rc::new(Shared {
            tables: RefCell::new(Tables {
                outbox: Some(Box::new(outbox)),
                ended: None,
                closed: Waiters::default(),
                room: None,
                questions: Questions::default(),
                answers: Answers::default(),
                exports: Exports::default(),
                imports: Imports::default(),
                embargoes: Embargoes::default(),
            }),
            limits,
            bootstrap: bootstrap.map(|client| Rc::from(client.hook)),
        });
        Self { shared }
    }

    /// Where the peer's messages are to be given.
    pub fn inbox(&self) -> Inbox {
        Inbox(Rc::downgrade(&self.shared))
    }

    /// What the peer gives to whoever asks. Calls can be made on it at once; if there is nothing to be
    /// had, they fail and say so.
    pub fn bootstrap<C: FromClientHook>(&self) -> C {
        let hook = match self.shared.ask_bootstrap() {
            Ok(handle) => handle.capability(&[]),
            Err(error) => reference::broken(error),
        };
        C::new(hook)
    }

    /// Ends the connection: every call under way fails with the reason, in both directions, and so does
    /// everything held from the peer. The peer is told why.
    pub fn disconnect(&self, reason: Error) {
        self.shared.abort(reason);
    }

    /// What the connection holds at the moment.
    pub fn usage(&self) -> Usage {
        let mut tables = self.shared.tables.borrow_mut();
        Usage {
            questions: tables.questions.len(),
            answers: tables.answers.len(),
            exports: tables.exports.len(),
            imports: tables.imports.len(),
            embargoes: tables.embargoes.len(),
            bytes_in_flight: tables.answers.bytes_in_flight(0),
        }
    }

    /// Why the connection ended; waits until it does.
    pub fn ended(&self) -> impl Future<Output = Error> {
        Ended {
            connection: Rc::clone(&self.shared),
            place: Place::default(),
        }
    }
}

/// Waits for a connection to end. Does not keep it from ending.
struct Ended {
    connection: Rc<Shared>,
    place: Place,
}

impl Future for Ended {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Error> {
        let Self { connection, place } = &mut *self;
        let mut tables = connection.tables.borrow_mut();
        match &tables.ended {
            Some(reason) => Poll::Ready(reason.clone()),
            None => {
                tables.closed.register(place, context);
                Poll::Pending
            }
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut tables = self.connection.tables.borrow_mut();
        tables.closed.forget(&mut self.place);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.disconnect(Error::disconnected("the connection was dropped".into()));
    }
}

impl Inbox {
    /// Takes one message in the standard stream framing, and does what it asks for: a method that does
    /// not wait for anything has run, and its results are in the outbox, when this returns. Not to be
    /// called from within a method.
    ///
    /// # Errors
    /// The connection has ended, perhaps by this message.
    pub fn receive(&self, message: &[u8]) -> Result<(), Closed> {
        let shared = self.0.upgrade().ok_or(Closed)?;
        // Reading is the library's, and what comes is a stranger's.
        if let Err(panicked) = caught(|| shared.receive(message)) {
            shared.abort(panicked);
        }
        vat::run();
        match shared.is_open() {
            true => Ok(()),
            false => Err(Closed),
        }
    }

    /// Ready while less than [`Limits::bytes_in_flight`] is, or when the connection has ended. Whoever
    /// can hold the peer back does so meanwhile, but not for ever: what the peer waits for may be
    /// something that it has yet to say.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = self.0.upgrade() else {
            return Poll::Ready(());
        };
        let mut tables = shared.tables.borrow_mut();
        let room = shared.limits.bytes_in_flight;
        let full = tables.answers.bytes_in_flight(room) > room;
        if tables.ended.is_some() || !full {
            return Poll::Ready(());
        }
        tables.room = Some(context.waker().clone());
        Poll::Pending
    }

    /// The peer has sent what is not a message.
    pub(crate) fn refuse(&self, error: FramingError) {
        if let Some(shared) = self.0.upgrade() {
            shared.fail(&error.into());
        }
    }

    /// The peer has gone, or the way to it is broken.
    pub fn close(&self, reason: Error) {
        if let Some(shared) = self.0.upgrade() {
            shared.end(reason);
        }
    }
}

impl Shared {
    fn is_open(&self) -> bool {
        self.tables.borrow().ended.is_none()
    }

    fn open(&self) -> Result<(), Error> {
        match &self.tables.borrow().ended {
            Some(reason) => Err(reason.clone()),
            None => Ok(()),
        }
    }

    /// Ends the connection because of what the peer did.
    fn fail(self: &Rc<Self>, violation: &Violation) {
        self.abort(Error::failed(violation.to_string()));
    }

    /// Ends the connection, and says why.
    fn abort(self: &Rc<Self>, reason: Error) {
        self.send_abort(&reason);
        self.end(reason);
    }

    /// Ends the connection. Everything on its tables is lost.
    fn end(self: &Rc<Self>, reason: Error) {
        let mut tables = self.tables.borrow_mut();
        if tables.ended.is_some() {
            return;
        }
        let reason = Error {
            kind: capnp::ErrorKind::Disconnected,
            ..reason
        };
        tables.ended = Some(reason.clone());
        let outbox = tables.outbox.take();
        let room = tables.room.take();
        let closed = tables.closed.take();
        let questions = std::mem::take(&mut tables.questions);
        let answers = std::mem::take(&mut tables.answers);
        let exports = std::mem::take(&mut tables.exports);
        let imports = std::mem::take(&mut tables.imports);
        let embargoes = std::mem::take(&mut tables.embargoes);
        drop(tables);
        drop(outbox);
        exports.unwatch();
        if questions.fail(&reason) {
            reference::close_roads(self);
        }
        imports.fail(&reason);
        embargoes.fail(&reason);
        answers.end(&reason);
        vat::discard(exports);
        if let Some(room) = room {
            room.wake();
        }
        closed.wake();
    }

    pub(crate) fn notify(self: &Rc<Self>, notice: Notice) {
        match notice {
            Notice::Finish(name) => self.finish(name),
            Notice::Release(id) => self.release(id),
            Notice::Loopback(node, embargo) => self.send_back(&node, embargo),
        }
    }

    fn ask_bootstrap(self: &Rc<Self>) -> Result<Handle, Error> {
        self.open()?;
        self.send_bootstrap()
    }
}
