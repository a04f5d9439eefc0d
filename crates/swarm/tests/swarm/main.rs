//! Whole swarms against each other, and against strangers who speak raw TCP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod connecting;
mod hostile;
mod listening;
mod support;
