//! The sessions of the tests (`tests/vat/fuzz`), with choices led by coverage:
//! `cargo +nightly fuzz run session` in `crates/vat`.
#![no_main]
#![allow(dead_code)]

#[path = "../../tests/vat/choices.rs"]
mod choices;
#[path = "../../tests/vat/lab.rs"]
mod lab;
#[rustfmt::skip]
#[path = "../../tests/vat/lab_capnp.rs"]
mod lab_capnp;
#[path = "../../tests/vat/fuzz/peer.rs"]
mod peer;
#[rustfmt::skip]
#[path = "../../src/rpc_capnp.rs"]
mod rpc_capnp;
#[path = "../../tests/vat/fuzz/session.rs"]
mod session;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    session::run(bytes);
});
