//! The rules of the protocol, as a peer sees them that writes and reads its messages itself.

mod calls;
mod levels;
mod questions;
