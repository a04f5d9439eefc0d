//! The engine, from outside: its rules, its limits, its peers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
mod lab_capnp;

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, dead_code)]
#[rustfmt::skip]
#[path = "../../src/rpc_capnp.rs"]
mod rpc_capnp;

mod choices;
mod conformance;
mod fuzz;
mod hostile;
mod lab;
mod limits;
mod model;
mod peers;
mod rules;
mod smoke;
mod stream;
mod threads;
mod wire;
