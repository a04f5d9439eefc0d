//! Cap'n Proto RPC that survives strangers.
//!
//! This is the host's side of a conversation with somebody that it does not trust: a sandboxed program,
//! a peer on a network, a plugin behind a socket. It speaks the standard protocol, level 1 of
//! [`rpc.capnp`](https://capnproto.org/rpc.html), to whatever implementation is at the other end, and
//! works with the clients and servers that `capnpc` generates, through the `capnp` crate's hook traits.
//! It promises three things that matter when the other side is out to hurt:
//!
//! * **Bounded.** Every table, queue and message that the peer can make grow has a [limit](Limits).
//!   Where one is hit, one call fails with the limit's name, or one connection ends with it; no other
//!   connection notices.
//! * **Iterative.** Nothing recurses over what a peer supplies: not calls on the promised results of
//!   calls, not promises that resolve to promises, not the letting go of long chains. A promise that is
//!   made to resolve to itself is broken, and says so.
//! * **Total.** Every message of the protocol is handled, or sent back as `unimplemented`; what breaks
//!   the protocol is answered with an `Abort` that says how. A method that panics fails its own call.
//!
//! # From the host's side
//!
//! A *vat* is a thread and the objects on it. A [`Connection`] joins it to one peer, by two things
//! that the host supplies: an [`Outbox`], which queues messages for the peer, and something that
//! gives the peer's messages to the connection's [`Inbox`]. [`stream`] is both for any byte stream.
//!
//! ```
//! use vat::{Closed, Connection, Limits, Outbox};
//!
//! /// Messages for a peer, in a list.
//! #[derive(Clone, Default)]
//! struct Sent(std::rc::Rc<std::cell::RefCell<Vec<Vec<u8>>>>);
//!
//! impl Outbox for Sent {
//!     fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
//!         self.0.borrow_mut().push(message);
//!         Ok(())
//!     }
//!     fn backlog(&self) -> usize {
//!         self.0.borrow().iter().map(Vec::len).sum()
//!     }
//! }
//!
//! let sent = Sent::default();
//! let connection = Connection::new(sent.clone(), Limits::default(), None);
//! // Asking for what the peer offers sends one message, and takes one place in one table.
//! let peer: capnp::capability::Client = connection.bootstrap();
//! assert_eq!(sent.0.borrow().len(), 1);
//! assert_eq!(connection.usage().questions, 1);
//! // What cannot be read ends this connection, and tells the peer why.
//! assert_eq!(connection.inbox().receive(b"nonsense"), Err(Closed));
//! assert_eq!(sent.0.borrow().len(), 2);
//! # drop(peer);
//! ```
//!
//! A message is dealt with where it is given to the inbox: a method that waits for nothing has run, and
//! its results are in the outbox, when [`Inbox::receive`] returns. What waits goes on in the vat's
//! [`drive`] future, of which every thread that uses this crate polls one.
//!
//! Objects are made into capabilities with [`new_client`]; promises with [`new_future_client`].
//!
//! # The protocol in four tables
//!
//! A connection is four tables, and the same four, mirrored, at the other end. *Questions* are the calls
//! that this side has made, *answers* those that the peer has made; *exports* are what the peer holds
//! of this side's, *imports* what this side holds of the peer's. Every message adds to a table or takes
//! from one:
//!
//! | message | says |
//! |---|---|
//! | `Bootstrap`, `Call` | a question; its results may be used at once, before they are there |
//! | `Return` | the answer's results, or why there are none |
//! | `Finish` | the question is done with; its results may go, or it is cancelled |
//! | `Resolve` | what a promise that was sent before turned out to be |
//! | `Release` | so many references to an export are gone |
//! | `Disembargo` | all calls that were sent before this have come through: order is kept |
//! | `Unimplemented`, `Abort` | this was not understood; this ends the connection |
//!
//! Calls on one reference are delivered in the order in which they were made, whichever way they travel
//! (*E-order*). When a promise turns out to be something on this side, calls on it may be out on the way
//! to the peer and back; later ones wait until a `Disembargo` has made the same journey.
//!
//! What is not here: level 3, where two peers connect to each other directly (its messages are sent
//! back as `unimplemented`, and a capability of a third party is reached through whoever sent it), and
//! level 4, equality across vats. `Persistent` is an ordinary interface that a server may implement.
//!
//! # Threats, and what meets them
//!
//! | a peer | is met by |
//! |---|---|
//! | chains a thousand calls, each on the promised result of the one before | turns in a queue instead of nested futures; [`Limits::pipeline_depth`] |
//! | resolves a promise to itself, or in a ring | promises are followed in a loop; the one that would close the ring is broken |
//! | sends messages that lie about their sizes, pointers and capabilities | framing is checked before a byte is used; readers are bounded in depth and in what they may read altogether; an index without a capability is an error of the call |
//! | calls and never reads the answers | [`Limits::outgoing_bytes`]: results fail first, then the connection ends |
//! | begins a message and never ends it | [`stream::UNFINISHED`] |
//! | asks and never finishes, takes and never releases | [`Limits::answers`], [`Limits::bytes_in_flight`], [`Limits::exports`] |
//! | gives and gives | [`Limits::imports`], [`Limits::message_capabilities`] |
//! | is asked and never answers | [`Limits::questions`]; the caller's own deadline |
//! | makes the vat keep order for it for ever | [`Limits::embargoes`] |
//! | builds a long chain of capabilities and lets go | what is dropped while something is dropped waits its turn |
//! | finds a method that panics | the call fails; the vat goes on |
//! | disconnects in the middle of anything | everything on the four tables goes, calls of the peer's are cancelled |
//!
//! What does not meet a threat here: a method that takes long holds its thread up, and what a method
//! keeps of its parameters is the method's to bound. There is no clock: deadlines are the caller's.
//!
//! # Limits
//!
//! Each is a field of [`Limits`], for each connection, with its default and its reason beside it. Those
//! that are not for a connection are constants: [`MAX_SEGMENTS`] of a message, [`MAX_REASON_BYTES`] of
//! an exception's text, [`MAX_HOPS`] from promise to promise, [`MAX_PARKED`] calls that wait for one
//! promise, [`MAX_PATHS`] capabilities promised by one call, [`STREAM_WINDOW_BYTES`] of streaming calls under
//! way to one capability.
//!
//! | limit | default | over it |
//! |---|---|---|
//! | [`message_bytes`](Limits::message_bytes) | 8 MiB | in: the connection ends; out: the call or the answer fails |
//! | [`nesting`](Limits::nesting) | 64 | reading fails |
//! | [`rereads`](Limits::rereads) | 16 times the message, and 8 KiB | reading fails |
//! | [`message_capabilities`](Limits::message_capabilities) | 256 | the call fails |
//! | [`path_steps`](Limits::path_steps) | 32 | the call fails |
//! | [`answers`](Limits::answers) | 1,024 | the call fails |
//! | [`bytes_in_flight`](Limits::bytes_in_flight) | 8 MiB | the peer is held back; at twice as much the call fails |
//! | [`pipeline_depth`](Limits::pipeline_depth) | 128 | the call fails |
//! | [`questions`](Limits::questions) | 1,024 | the call fails, unsent |
//! | [`outgoing_bytes`](Limits::outgoing_bytes) | 16 MiB | the call or the answer fails; at twice as much the connection ends |
//! | [`exports`](Limits::exports) | 4,096 | the call or the answer that would add one fails |
//! | [`imports`](Limits::imports) | 4,096 | the call that would add one fails |
//! | [`embargoes`](Limits::embargoes) | 256 | the connection ends |

mod call;
mod client;
mod connection;
mod error;
mod flow;
mod limits;
mod local;
mod message;
mod outcome;
mod panics;
mod payload;
mod reference;
mod request;
mod results;
mod slot;
pub mod stream;
mod vat;
mod waiters;

/// The protocol's messages, generated from `schema/rpc.capnp`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
mod rpc_capnp;

pub use client::{new_broken_client, new_client, new_client_from_rc, new_future_client};
pub use connection::{Closed, Connection, Inbox, Outbox, Usage};
pub use flow::STREAM_WINDOW_BYTES;
pub use limits::{Limits, MAX_HOPS, MAX_REASON_BYTES, MAX_SEGMENTS};
pub use outcome::MAX_PATHS;
pub use slot::MAX_PARKED;
pub use vat::{drive, run_until};
