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

mod lab;
mod peers;
mod smoke;
