//! A bound on recursion.
//!
//! Hooks call hooks: a capability that passed membrane A, then B, then A again is three hooks deep,
//! and a peer that holds references through two membranes can make the chain as long as it likes.
//! Each entry that recurses along such a chain takes a [`Level`] first.

use std::cell::Cell;

use capnp::Error;

/// How many membranes may be entered one within the other on one thread's stack: calls that are
/// being made or polled within one another, not calls that wait.
///
/// All of them together fit into 768 KiB of stack in a debug build with `capnp-rpc` at the bottom;
/// threads have 2 MiB. Designs nest a handful.
pub const MAX_NESTING: u32 = 64;

/// How the description of an error starts when [`MAX_NESTING`] was exceeded.
pub const TOO_DEEP: &str = "membraneTooDeep";

/// What recurses.
#[derive(Clone, Copy)]
pub(crate) enum Recursion {
    /// Calls being made or polled, promises being looked through.
    Calls,
    /// Parameters being read. Apart from `Calls`, because a method reads its parameters at the
    /// bottom of all the levels that its own call took.
    Reads,
}

struct Levels {
    calls: Cell<u32>,
    reads: Cell<u32>,
}

thread_local! {
    static LEVELS: Levels = const { Levels {
        calls: Cell::new(0),
        reads: Cell::new(0),
    } };
}

impl Recursion {
    #[inline]
    fn with<R>(self, using: impl FnOnce(&Cell<u32>) -> R) -> R {
        LEVELS.with(|levels| match self {
            Self::Calls => using(&levels.calls),
            Self::Reads => using(&levels.reads),
        })
    }
}

/// One level of nesting, until dropped.
pub(crate) struct Level(Recursion);

impl Level {
    /// Refuses when `MAX_NESTING` levels are taken.
    #[inline]
    pub(crate) fn enter(recursion: Recursion) -> Result<Self, Error> {
        recursion.with(|taken| {
            let level = taken.get();
            if level >= MAX_NESTING {
                return Err(too_deep());
            }
            taken.set(level.saturating_add(1));
            Ok(Self(recursion))
        })
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
        self.0
            .with(|taken| taken.set(taken.get().saturating_sub(1)));
    }
}
