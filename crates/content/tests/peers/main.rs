//! Others who keep content: that the same tree has the same name with them, that each reads what the other
//! wrote, and that nothing which goes wrong between us and them does harm.
//!
//! The others are js-ipfs behind Kubo's RPC (or the daemon that `KUBO_API` names), boxo behind a trustless
//! gateway, and Kubo's importer as a library; `scripts/parts.sh` gets them. A test whose part is not here
//! says so and passes, unless `WW_REQUIRE_PARTS=1`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

#[path = "../stores/contract.rs"]
mod contract;
mod corpus;
mod exchange;
mod faults;
mod names;
mod parts;
mod proxy;
mod rpc;
