//! Wasm components as bounded, killable cells.
//!
//! A cell is one running component instance that can reach nothing but what it was started with: its
//! arguments and environment, its standard streams, a read-only image and the directories that it may
//! write to, clocks and randomness, and one conversation with its host. This crate loads components and
//! runs cells. It never sees a capability: what is said in the conversation is somebody else's business,
//! and so is the network.
//!
//! - [`Engine`] is what all cells share; [`Engine::load`] makes a [`Program`] of a component's bytes,
//!   compiling it at most once, within bounds.
//! - [`Program::spawn`] makes a [`Cell`] out of a [`Setup`], with a [`Control`] to watch and kill it
//!   and a [`Sender`] to talk to it.
//! - [`Cell::run`] runs it to its [`Exit`] and hands what it says to a [`Recipient`], inside the
//!   guest's own calls. [`Limits`] say what it may use; every one that is hit is an end or an error
//!   with a name. A [`Budget`] says what it may use together with all that it spawns.
//!
//! The guest is hostile. It cannot keep a thread for more than a few ticks, cannot make the host
//! hold more for it than its limits say, and cannot survive [`Control::kill`].

mod artifact;
mod budget;
mod cache;
mod cell;
mod compile;
mod control;
mod digest;
mod engine;
mod exit;
pub mod framing;
mod fuel;
mod host;
mod inspect;
mod limits;
mod load;
mod program;
mod queue;
mod recipient;
mod sender;
pub mod stdio;
mod wakers;

pub use budget::{
    Allotment, Bound, Budget, Charge, Exhausted, LIMIT_PREFIX, MAX_GENERATIONS, Resource, Used,
};
pub use cache::CacheError;
pub use cell::Cell;
pub use compile::{Compiler, compile_main};
pub use control::{Control, Status, Usage};
pub use digest::Digest;
pub use engine::{Allocation, Engine, EngineError, EngineOptions};
pub use exit::Exit;
pub use host::{
    FixedQuota, IMAGE_ROOT, ImageFile, ImageNode, ImageTree, MemoryImage, Quota, Writable,
    WritableError,
};
pub use inspect::{Import, Inspection, inspect};
pub use limits::Limits;
pub use load::{LoadError, LoadLimits, UnknownImport};
pub use program::{Program, Setup, SpawnError, Spawned, Terminal};
pub use recipient::{Closed, Recipient};
pub use sender::{SendError, Sender};
pub use stdio::{Stdin, Stdout};
