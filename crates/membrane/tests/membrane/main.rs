//! What a membrane lets through, and that nothing gets round it or outlives it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
mod node_capnp;

#[allow(dead_code, missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
mod probe_capnp;

mod decisions;
mod model;
mod nesting;
mod nodes;
mod passing;
mod policies;
mod policy;
mod property;
mod remote;
mod revocation;
mod tails;
