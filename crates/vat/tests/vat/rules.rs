//! The rules of the protocol, as a peer sees them that writes and reads its messages itself.

mod calls;
mod embargoes;
mod levels;
mod promises;
mod questions;
mod references;
mod streams;
mod tails;
