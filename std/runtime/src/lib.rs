//! Wetware's SDK for guests in Rust.
//!
//! A guest is an ordinary program for `wasm32-wasip2`. It runs as a *cell*: it starts with its
//! arguments, its environment, three standard streams, and the capabilities that its parent granted, and
//! it can reach nothing else. [`run`] opens the cell's conversation with its host, takes the
//! [`Session`] that holds those capabilities, and drives the program:
//!
//! ```no_run
//! fn main() {
//!     runtime::run(|session| async move {
//!         println!("Hello from Wetware!");
//!         if let Ok(host) = session.host() {
//!             let reply = host.id_request().send().promise.await?;
//!             println!("running on a host whose id has {} bytes", reply.get()?.get_peer_id()?.len());
//!         }
//!         Ok(())
//!     })
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | run with the host's capabilities; also offer one to the parent | [`run`], [`serve`] |
//! | run with nothing but WASI, as a plain command | [`block_on`] |
//! | do several things at once | [`spawn`], [`sleep`], [`timeout`] |
//! | read and write the standard streams while other things go on | [`io`] |
//! | run another program with chosen grants and bounds, and talk to it | [`Spawn`], [`process`], [`bytes`] |
//! | read, add and keep content by its address | [`ipfs`] |
//! | hand on less than one holds, and take it back | [`Session::attenuate`] |
//! | end with an exit code of your own | [`exit`] |
//!
//! Everything runs in one loop, on one thread. It polls what can go on until nothing can, and then
//! sleeps in the host on exactly what is waited for: an idle guest costs no CPU. The loop is only as
//! prompt as its slowest step: `std::thread::sleep`, `std::io::stdin` and long computations hold up every
//! other task, incoming calls included. `println!` does so while the reader of standard output is
//! slow; [`io::stdout`] does not.
//!
//! The SDK refuses: a second conversation in one program, reading without a bound, and
//! carrying on silently once the host has ended the conversation.
// The example is a whole program, because that is what a reader has to write.
#![allow(clippy::needless_doctest_main)]

#[allow(
    missing_docs,
    unsafe_code,
    clippy::all,
    clippy::restriction,
    rust_2018_idioms
)]
#[rustfmt::skip]
mod bindings;
pub mod bytes;
mod cell;
mod error;
mod executor;
pub mod io;
pub mod ipfs;
pub mod process;
mod reactor;
mod session;
mod spawn;
mod time;
mod vat;

pub use capnp;
pub use capnp_rpc;
pub use schema::{interfaces, ipfs_capnp, stem_capnp, system_capnp};
pub use std::time::Instant;

pub use crate::cell::{exit, run, serve};
pub use crate::error::{Error, Result};
pub use crate::executor::{JoinHandle, block_on, spawn};
pub use crate::session::{Epoch, Session};
pub use crate::spawn::Spawn;
pub use crate::time::{Elapsed, Sleep, sleep, timeout};

/// The two faces of a cell's conversation with its host, as WIT has them.
///
/// [`run`] takes the conversation through `rpc`. Use these only to speak over it yourself, in a
/// program that calls [`block_on`] and not [`run`]: it can be taken once.
pub mod wit {
    pub use crate::bindings::wetware::rpc::rpc;
    pub use crate::bindings::wetware::streams::streams;
}
