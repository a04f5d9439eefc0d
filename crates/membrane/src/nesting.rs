//! A bound on recursion.
//!
//! Hooks call hooks: a capability that passed membrane A, then B, then A again is three hooks deep,
//! and a peer that holds references through two membranes can make the chain as long as it likes.
//! Each entry that recurses along such a chain takes a [`Level`] first.

use std::cell::Cell;
use std::thread::LocalKey;

use capnp::Error;

/// How many membranes may be entered one within the other on one thread's stack: calls that are
/// being made or polled within one another, not calls that wait.
///
/// All of them together fit into 768 KiB of stack in a debug build with `capnp-rpc` at the bottom;
/// threads have 2 MiB. Designs nest a handful.
pub const MAX_NESTING: u32 = 64;

/// How the description of an error starts when [`MAX_NESTING`] was exceeded.
pub const TOO_DEEP: &str = "membraneTooDeep";

thread_local! {
    /// Calls being made or polled, promises being looked through.
    pub(crate) static CALLS: Cell<u32> = const { Cell::new(0) };
    /// Parameters being read. Apart from `CALLS`, because a method reads its parameters at the
    /// bottom of all the levels that its own call took.
    pub(crate) static READS: Cell<u32> = const { Cell::new(0) };
}

/// One level of nesting, until dropped.
pub(crate) struct Level(&'static LocalKey<Cell<u32>>);

impl Level {
    /// Refuses when `MAX_NESTING` levels are taken.
    #[inline]
    pub(crate) fn enter(counter: &'static LocalKey<Cell<u32>>) -> Result<Self, Error> {
        let level = counter.get();
        if level >= MAX_NESTING {
            return Err(too_deep());
        }
        counter.set(level.saturating_add(1));
        Ok(Self(counter))
    }
}

#[cold]
fn too_deep() -> Error {
    Error::failed(format!(
        "{TOO_DEEP}: more than {MAX_NESTING} membranes one within another"
    ))
}

impl Drop for Level {
    #[inline]
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
