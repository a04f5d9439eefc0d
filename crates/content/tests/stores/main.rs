//! One contract, every store: each function of `contract` runs over each of them. Those of others are in
//! the tests called `peers`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod contract;

use content::{EmbeddedStore, MemoryStore};

use self::contract::hold;

#[test]
fn the_memory_store_keeps_the_contract() {
    hold(&MemoryStore::default());
}

#[test]
fn the_embedded_store_keeps_the_contract() {
    let scratch = tempfile::tempdir().unwrap();
    hold(&EmbeddedStore::open(&scratch.path().join("store")).unwrap());
}
