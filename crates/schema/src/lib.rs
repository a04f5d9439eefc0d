//! Wetware's wire contract, for hosts and guests alike: the code that `capnpc` generates from
//! `capnp/*.capnp`, committed so that a build needs no `capnp` compiler.
//!
//! The schemas are the reference; their comments say what each method does and refuses. Ids and
//! ordinals are a promise to clients that others have built: they are only ever appended to, and
//! a test compares them with a recorded table. Nothing here is written by hand: `make schema`
//! makes it afresh, and a test fails when it has drifted.

pub mod interfaces;

/// Hosts, executors, programs, processes and byte streams: `capnp/system.capnp`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
pub mod system_capnp;

/// Membranes, sessions and epochs: `capnp/stem.capnp`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
pub mod stem_capnp;

/// Content by its address: `capnp/ipfs.capnp`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
pub mod ipfs_capnp;
