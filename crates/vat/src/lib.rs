//! Cap'n Proto RPC that survives strangers.

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
pub use slot::MAX_PARKED;
pub use vat::{drive, run_until};
