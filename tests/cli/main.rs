//! The commands of a developer's day, through the `ww` binary. Each test names the rows of the
//! acceptance list that it covers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod build;
mod content;
mod help;
mod init;
mod inspect;
mod push;

use fixtures::Place;

/// An empty folder to run `ww` in.
fn place() -> Place {
    Place::new(env!("CARGO_BIN_EXE_ww"))
}
