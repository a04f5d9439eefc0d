//! The content of a file, from its first byte to its last, read and verified ahead by other threads.
//!
//! One walk over the nodes of the file gives its leaves in order. Whoever is free takes the next leaf,
//! reads and hashes it; the thread that writes takes them in their order, and helps while the one that it
//! needs is not there. No more than a few leaves a thread are ever ahead of the writer.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;

use crate::budget::Budget;
use crate::store::need;
use crate::unixfs::{Part, UnixFs};
use crate::{BlockStore, Codec, ContentError};

/// Files up to this size are read by the thread that writes, alone: four chunks of Kubo's size, below
/// which starting a thread takes a good part of the time that it saves.
const BYTES_ALONE: u64 = 1024 * 1024;
/// The most threads. Eight hash more than most can write.
const MAX_THREADS: usize = 8;
/// How many leaves may be ahead of the writer for each thread, so that none waits for another's leaf. At
/// 2 MiB, the largest, they take 32 MiB together.
const AHEAD: u64 = 2;
/// The most parts of a file that wait their turn. An honest file has a few rows of links waiting, at
/// most some thousand each; this many take 20 MB.
const MAX_WAITING: usize = 1 << 17;

/// Writes the file `root`, which must have exactly the size that is said there.
pub(super) fn write(
    store: &dyn BlockStore,
    root: Part,
    writer: &mut dyn Write,
    budget: &mut Budget,
) -> Result<(), ContentError> {
    let small = root.bytes <= BYTES_ALONE;
    let mut walk = Walk {
        store,
        waiting: vec![root],
        budget,
    };
    if small {
        while let Some(piece) = walk.next()? {
            let bytes = piece.read(store)?;
            writer.write_all(&bytes).map_err(ContentError::Write)?;
        }
        return Ok(());
    }
    let threads = thread::available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .min(MAX_THREADS);
    let ahead = Ahead {
        store,
        limit: AHEAD.saturating_mul(threads as u64),
        state: Mutex::new(State {
            walk,
            given: 0,
            written: 0,
            done: BTreeMap::new(),
            over: false,
            waiting: 0,
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // A machine that gives no further thread has this one.
            let _ = thread::Builder::new()
                .name("export".to_owned())
                .spawn_scoped(scope, || ahead.help());
        }
        let result = ahead.write(writer);
        let mut state = ahead.lock();
        state.over = true;
        ahead.wake(&state);
        drop(state);
        result
    })
}

/// A stretch of a file's content.
enum Piece {
    /// That is here, inside a node.
    Here(Bytes),
    /// That is a block of its own.
    Leaf(Part),
}

impl Piece {
    fn read(self, store: &dyn BlockStore) -> Result<Bytes, ContentError> {
        let part = match self {
            Self::Here(bytes) => return Ok(bytes),
            Self::Leaf(part) => part,
        };
        let bytes = need(store, &part.cid)?.bytes().clone();
        expect(&part, bytes.len() as u64)?;
        Ok(bytes)
    }
}

fn expect(part: &Part, found: u64) -> Result<(), ContentError> {
    if found == part.bytes {
        return Ok(());
    }
    Err(ContentError::SizeDiffers {
        cid: part.cid,
        listed: part.bytes,
        found,
    })
}

/// Goes through a file from the left, with a stack instead of recursion. Only nodes are read.
struct Walk<'a> {
    store: &'a dyn BlockStore,
    waiting: Vec<Part>,
    budget: &'a mut Budget,
}

impl Walk<'_> {
    fn next(&mut self) -> Result<Option<Piece>, ContentError> {
        while let Some(part) = self.waiting.pop() {
            if Codec::of(&part.cid)? == Codec::Raw {
                self.budget.block()?;
                return Ok(Some(Piece::Leaf(part)));
            }
            let UnixFs::File {
                inline,
                parts,
                bytes,
            } = self.budget.node(self.store, &part.cid)?
            else {
                return Err(ContentError::Malformed {
                    cid: part.cid,
                    why: "it is part of a file and is no file",
                });
            };
            expect(&part, bytes)?;
            if self.waiting.len() + parts.len() > MAX_WAITING {
                return Err(self.budget.too_many());
            }
            self.waiting.extend(parts.into_iter().rev());
            if !inline.is_empty() {
                return Ok(Some(Piece::Here(inline)));
            }
        }
        Ok(None)
    }
}

/// What the threads share.
struct Ahead<'a> {
    store: &'a dyn BlockStore,
    /// How many pieces may be given out and not written.
    limit: u64,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

struct State<'a> {
    walk: Walk<'a>,
    /// Pieces that were given out; the number of the next one.
    given: u64,
    /// Pieces that were written.
    written: u64,
    done: BTreeMap<u64, Result<Bytes, ContentError>>,
    /// No further piece is given out.
    over: bool,
    /// Threads that wait for a change. Waking nobody would be a system call as well.
    waiting: usize,
}

impl<'a> Ahead<'a> {
    // A thread that panicked passes its panic on when it is joined.
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'b>(&self, mut state: MutexGuard<'b, State<'a>>) -> MutexGuard<'b, State<'a>> {
        state.waiting += 1;
        let mut state = self
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    fn wake(&self, state: &State<'a>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn help(&self) {
        let mut state = self.lock();
        while !state.over {
            state = if state.given - state.written < self.limit {
                self.one(state)
            } else {
                self.wait(state)
            };
        }
    }

    /// Takes the next piece and reads it.
    fn one<'b>(&'b self, mut state: MutexGuard<'b, State<'a>>) -> MutexGuard<'b, State<'a>> {
        let number = state.given;
        let read = match state.walk.next() {
            Ok(None) => {
                state.over = true;
                self.wake(&state);
                return state;
            }
            Ok(Some(piece)) => {
                state.given += 1;
                drop(state);
                let read = piece.read(self.store);
                state = self.lock();
                read
            }
            Err(error) => {
                state.given += 1;
                state.over = true;
                Err(error)
            }
        };
        state.done.insert(number, read);
        self.wake(&state);
        state
    }

    fn write(&self, writer: &mut dyn Write) -> Result<(), ContentError> {
        let mut state = self.lock();
        loop {
            let number = state.written;
            if let Some(read) = state.done.remove(&number) {
                state.written += 1;
                self.wake(&state);
                drop(state);
                writer.write_all(&read?).map_err(ContentError::Write)?;
                state = self.lock();
            } else if state.over && state.given == number {
                return Ok(());
            } else if !state.over && state.given - number < self.limit {
                state = self.one(state);
            } else {
                state = self.wait(state);
            }
        }
    }
}
