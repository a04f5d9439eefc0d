//! A whole graph into our own store, before it is needed: in one request where a source gives CARs, and
//! what is still missing then block by block, several at a time.
//!
//! A CAR is only a quicker way to the same blocks. Each is verified, and kept only if it is below the
//! root by the links of those that came before; what a source forgot, or adds, or gives only half of,
//! changes what has to be asked for one by one, and nothing else.

use std::collections::HashSet;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cid::Cid;

use super::{Place, Stack};
use crate::block::{DIGEST_BYTES, digest};
use crate::dag::{DagError, Limits, Walked, links};
use crate::remote::RemoteError;
use crate::{Block, Codec, ContentError, car};

/// How many blocks are asked for at a time. Enough to hide the way to a far gateway behind the others;
/// few enough that no gateway takes it for an attack.
const THREADS: usize = 8;

/// How many blocks that do not belong a CAR may have beyond as many as belong. Some writers repeat
/// blocks; one that goes on with others keeps us busy for nothing.
const MAX_STRAY_BLOCKS: u64 = 1024;

/// What a CAR takes beside the bytes of a block, at most, in bytes.
const CAR_OVERHEAD_BYTES: u64 = 128;

/// The most links that wait to be followed, some 50 MB of them. In an honest tree the siblings of the
/// nodes on a few paths wait: some ten thousand.
const MAX_WAITING: usize = 1 << 19;

/// Is told what is there so far, and whether to go on is its answer.
pub type Hook<'a> = dyn Fn(Walked) -> ControlFlow<()> + Sync + 'a;

impl Stack {
    /// Brings everything below `root` into our own store, and returns how much there is. What is there
    /// already is not asked for; a leaf (a `raw` block) that is there is not even read, and counts no
    /// bytes.
    ///
    /// `progress` is told after each block, by whichever thread brought it.
    ///
    /// Errors: [`ContentError::BlockMissing`] if nobody has a block, [`ContentError::NoSource`] if nobody
    /// gave one and somebody failed, [`DagError`] for what passes `limits`, the refusals of [`links`],
    /// [`ContentError::Cancelled`], and those of our own store. What came before an error stays, so that
    /// trying again asks for the rest.
    pub fn fetch(
        &self,
        root: &Cid,
        limits: &Limits,
        progress: &Hook<'_>,
    ) -> Result<Walked, ContentError> {
        if !self.local.has(root)?
            && let Some(whole) = self.fetch_cars(root, limits, progress)?
        {
            return Ok(whole);
        }
        let fetch = Fetch {
            stack: self,
            root: *root,
            limits: *limits,
            progress,
            state: Mutex::new(State {
                waiting: vec![*root],
                seen: HashSet::from([key(root)?]),
                busy: 0,
                walked: Walked::default(),
                outcome: Ok(()),
            }),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            // The caller's own thread is one of them.
            for _ in 1..THREADS {
                scope.spawn(|| fetch.work());
            }
            fetch.work();
        });
        let state = fetch
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        state.outcome.map(|()| state.walked)
    }

    /// Takes what the sources give as CARs. The whole, if one gave all of it.
    fn fetch_cars(
        &self,
        root: &Cid,
        limits: &Limits,
        progress: &Hook<'_>,
    ) -> Result<Option<Walked>, ContentError> {
        let overhead = limits.blocks.saturating_mul(CAR_OVERHEAD_BYTES);
        let limit = limits.bytes.saturating_add(overhead);
        for place in self.sources.iter() {
            // Failures are reported; what is missing because of them is asked for again.
            let Ok(Some(stream)) = self.ask(place, |source| source.car(root, limit)) else {
                continue;
            };
            let mut taken = Taken::new(root, limits)?;
            match self.take_car(place, stream, &mut taken, progress)? {
                true => return Ok(Some(taken.walked)),
                // The rest of a graph is quicker asked for than all of it again.
                false if taken.walked.blocks > 0 => return Ok(None),
                false => {}
            }
        }
        Ok(None)
    }

    /// Keeps what belongs of one CAR; whether that is all. What the source did wrong is reported, and
    /// what we cannot or must not do is an error.
    fn take_car(
        &self,
        place: &Place,
        stream: Box<dyn Read + Send>,
        taken: &mut Taken,
        progress: &Hook<'_>,
    ) -> Result<bool, ContentError> {
        let mut blocks = match self.ask(place, |_| car::Reader::new(stream).map_err(unwrapped)) {
            Ok(blocks) => blocks,
            Err(_) => return Ok(false),
        };
        loop {
            let next = self.ask(place, |_| {
                let block = blocks.next_block().map_err(unwrapped)?;
                let Some(block) = block else { return Ok(None) };
                let links = taken.judge(&block)?;
                Ok(Some((block, links)))
            });
            let Ok(Some((block, links))) = next else {
                return Ok(taken.wanted.is_empty());
            };
            let Some(links) = links else { continue };
            self.came(place, &block);
            self.local.put(&block)?;
            taken.keep(&block, links)?;
            if progress(taken.walked).is_break() {
                return Err(ContentError::Cancelled);
            }
        }
    }

    /// A block in our own store, from there or from a source.
    fn bring(&self, cid: &Cid) -> Result<Brought, ContentError> {
        if Codec::of(cid)? == Codec::Raw && self.local.has(cid)? {
            return Ok(Brought::default());
        }
        let block = match self.local.get(cid) {
            Err(ContentError::BlockCorrupt { .. }) | Ok(None) => {
                let block = self
                    .get_remote(cid)?
                    .ok_or(ContentError::BlockMissing { cid: *cid })?;
                self.local.put(&block)?;
                block
            }
            Ok(Some(block)) => block,
            Err(error) => return Err(error),
        };
        Ok(Brought {
            bytes: block.bytes().len() as u64,
            links: links(&block)?,
        })
    }
}

/// An error of a source's stream stands inside of that of reading.
fn unwrapped(error: ContentError) -> ContentError {
    match error {
        ContentError::Read(error) => match RemoteError::from_read(error) {
            Ok(remote) => remote.into(),
            Err(error) => ContentError::Read(error),
        },
        other => other,
    }
}

/// What makes two CIDs the same node: CIDv0 and CIDv1 of a node do.
type Key = ([u8; DIGEST_BYTES], Codec);

fn key(cid: &Cid) -> Result<Key, ContentError> {
    Ok((digest(cid)?, Codec::of(cid)?))
}

/// What was taken of a CAR.
struct Taken {
    root: Cid,
    limits: Limits,
    /// Below the root, and not there yet.
    wanted: HashSet<Key>,
    seen: HashSet<Key>,
    strays: u64,
    walked: Walked,
}

impl Taken {
    fn new(root: &Cid, limits: &Limits) -> Result<Self, ContentError> {
        Ok(Self {
            root: *root,
            limits: *limits,
            wanted: HashSet::from([key(root)?]),
            seen: HashSet::new(),
            strays: 0,
            walked: Walked::default(),
        })
    }

    /// The links of a block that belongs; `None` for one that does not. Refuses CARs of strays.
    fn judge(&mut self, block: &Block) -> Result<Option<Vec<Cid>>, ContentError> {
        if self.wanted.contains(&key(block.cid())?) {
            return links(block).map(Some);
        }
        self.strays += 1;
        if self.strays > self.walked.blocks.saturating_add(MAX_STRAY_BLOCKS) {
            let root = self.root;
            return Err(ContentError::StrayBlocks { root });
        }
        Ok(None)
    }

    fn keep(&mut self, block: &Block, links: Vec<Cid>) -> Result<(), ContentError> {
        let key_of_block = key(block.cid())?;
        self.wanted.remove(&key_of_block);
        self.seen.insert(key_of_block);
        add(&mut self.walked, block.bytes().len() as u64);
        for link in &links {
            let key = key(link)?;
            if !self.seen.contains(&key) {
                self.wanted.insert(key);
            }
        }
        check(&self.root, &self.limits, self.walked, self.wanted.len())
    }
}

fn add(walked: &mut Walked, bytes: u64) {
    walked.blocks = walked.blocks.saturating_add(1);
    walked.bytes = walked.bytes.saturating_add(bytes);
}

fn check(root: &Cid, limits: &Limits, walked: Walked, waiting: usize) -> Result<(), ContentError> {
    let root = *root;
    if walked.blocks > limits.blocks {
        let limit = limits.blocks;
        return Err(DagError::TooManyBlocks { root, limit }.into());
    }
    if walked.bytes > limits.bytes {
        let limit = limits.bytes;
        return Err(DagError::TooManyBytes { root, limit }.into());
    }
    if waiting > MAX_WAITING {
        let limit = MAX_WAITING;
        return Err(DagError::TooManyLinks { root, limit }.into());
    }
    Ok(())
}

/// What a block that is there now leads to.
#[derive(Default)]
struct Brought {
    bytes: u64,
    links: Vec<Cid>,
}

/// A graph that several threads bring in.
struct Fetch<'a> {
    stack: &'a Stack,
    root: Cid,
    limits: Limits,
    progress: &'a Hook<'a>,
    state: Mutex<State>,
    /// There is more to do, or nothing any more.
    changed: Condvar,
}

struct State {
    waiting: Vec<Cid>,
    seen: HashSet<Key>,
    /// Threads that may still find links.
    busy: usize,
    walked: Walked,
    outcome: Result<(), ContentError>,
}

/// One block's turn. It ends even if a caller's hook panics, so that nobody waits for it for ever.
struct Turn<'a>(&'a Fetch<'a>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy = state.busy.saturating_sub(1);
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Fetch<'_> {
    /// Brings blocks until all are there, or one cannot be had.
    fn work(&self) {
        while let Some(cid) = self.next() {
            let _turn = Turn(self);
            let brought = self.stack.bring(&cid);
            let mut state = self.state();
            let outcome = brought.and_then(|brought| self.found(&mut state, brought));
            if state.outcome.is_ok() {
                state.outcome = outcome;
            }
        }
    }

    fn next(&self) -> Option<Cid> {
        let mut state = self.state();
        loop {
            if state.outcome.is_err() {
                return None;
            }
            if let Some(cid) = state.waiting.pop() {
                state.busy += 1;
                return Some(cid);
            }
            if state.busy == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn found(&self, state: &mut State, brought: Brought) -> Result<(), ContentError> {
        add(&mut state.walked, brought.bytes);
        for link in brought.links.into_iter().rev() {
            if state.seen.insert(key(&link)?) {
                state.waiting.push(link);
            }
        }
        check(&self.root, &self.limits, state.walked, state.waiting.len())?;
        match (self.progress)(state.walked) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ContentError::Cancelled),
        }
    }

    // Every change is made whole before anything that could panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
