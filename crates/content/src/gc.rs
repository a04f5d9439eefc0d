//! The collection of garbage: what no pin leads to goes.
//!
//! It marks every block that a pin keeps, and then removes the others; leaves are marked without being
//! read. While it works nobody writes, and while anybody writes it does not begin: it waits for a bounded
//! time and is then refused with [`ContentError::StoreBusy`]. Killed at any moment it has removed garbage
//! and nothing else.
//!
//! What it does when something is wrong follows from one rule, that a block somebody could still want is
//! not removed. A block that is missing, or hashes right and means nothing, hides nothing that could be
//! found again through it: that is a [`Warning`], and the collection goes on. A block with links that went
//! bad on the disk ([`ContentError::BlockCorrupt`]) may be repaired, and then what it links to is wanted: nothing
//! is removed, and the same for a pin that cannot be read.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::Duration;

use cid::Cid;

use crate::block::{DIGEST_BYTES, digest};
use crate::pins::{Depth, Pin, PinError};
use crate::store::need;
use crate::{BlockStore, Codec, ContentError, EmbeddedStore, dag};

/// How long a collection waits for writers by default: longer than a small import takes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The most warnings that are told one by one; of the others there is a count.
pub const MAX_WARNINGS: usize = 64;

const CODECS: [Codec; 4] = [Codec::Raw, Codec::DagPb, Codec::DagCbor, Codec::DagJson];

/// What is done with garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is removed.
    Sweep,
    /// It is counted and stays.
    DryRun,
}

/// How to collect.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What is done with garbage.
    pub mode: Mode,
    /// How long to wait for writers.
    pub patience: Duration,
}

impl Default for Options {
    /// Removes, after at most [`PATIENCE`].
    fn default() -> Self {
        Self {
            mode: Mode::Sweep,
            patience: PATIENCE,
        }
    }
}

/// How far a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many blocks are known to stay.
    Marking {
        /// Blocks so far.
        blocks: u64,
    },
    /// So many blocks were looked at, of which some are garbage.
    Sweeping {
        /// Blocks so far.
        blocks: u64,
    },
}

/// What a collection did, or would have done.
#[derive(Debug, Default)]
pub struct Report {
    /// Blocks that stay.
    pub kept: u64,
    /// Blocks that went.
    pub removed: u64,
    /// The bytes of those, and of files that writers which died had left half-written.
    pub freed_bytes: u64,
    /// The first [`MAX_WARNINGS`] things that are wrong with what stays.
    pub warnings: Vec<Warning>,
    /// How many more there may be; the same block may be counted again.
    pub unnamed: u64,
}

/// A pin keeps less than it should.
#[derive(Debug)]
pub struct Warning {
    /// The first pin that leads there.
    pub pin: Pin,
    /// The block.
    pub cid: Cid,
    /// [`ContentError::BlockMissing`], or why nothing can be below the block.
    pub why: ContentError,
}

/// Removes every block that no pin keeps. `progress` is called for each block, from this thread, and may
/// take no longer than a block is worth.
///
/// Errors: [`ContentError::StoreBusy`], and those of the pins and of the store; a corrupt block with links
/// under a pin is [`ContentError::BlockCorrupt`]. After an error of the first half nothing was removed, after
/// one of the second some garbage.
pub fn collect(
    store: &EmbeddedStore,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, ContentError> {
    let _alone = store.lock.collect(options.patience)?;
    let mut marks = Marks::new(store);
    for pin in store.pins().list()? {
        marks.pin(&pin, progress)?;
    }
    let Marks {
        marked, mut report, ..
    } = marks;
    let mut seen = 0_u64;
    store.each_block(&mut |digest, file, bytes| {
        seen = seen.saturating_add(1);
        progress(Progress::Sweeping { blocks: seen });
        if CODECS
            .iter()
            .any(|codec| marked.contains(&(digest, *codec)))
        {
            report.kept = report.kept.saturating_add(1);
            return Ok(());
        }
        if options.mode == Mode::Sweep {
            fs::remove_file(file).map_err(ContentError::io(file, "removing the block"))?;
        }
        report.removed = report.removed.saturating_add(1);
        report.freed_bytes = report.freed_bytes.saturating_add(bytes);
        Ok(())
    })?;
    if options.mode == Mode::Sweep {
        let bytes = store.clear_incoming(Duration::ZERO)?;
        report.freed_bytes = report.freed_bytes.saturating_add(bytes);
    }
    Ok(report)
}

/// Removes one block, unless a pin keeps it. Whether one does is found out as [`collect`] does it, so this takes as long
/// as its first half; one that is not there is known at once. Writers come first: there is one removal at a time, and
/// after each a pause that is a multiple of how long it took, which counts into `patience`.
///
/// Errors: [`PinError::Kept`], [`ContentError::BlockMissing`], and as [`collect`].
pub fn remove(store: &EmbeddedStore, cid: &Cid, patience: Duration) -> Result<(), ContentError> {
    let missing = || ContentError::BlockMissing { cid: *cid };
    let wanted = digest(cid)?;
    let (_, file) = store.place(cid)?;
    // Before anybody is kept waiting for it.
    if !store.has(cid)? {
        return Err(missing());
    }
    let _alone = store.lock.remove(patience)?;
    let mut marks = Marks::new(store);
    for pin in store.pins().list()? {
        marks.pin(&pin, &mut |_| {})?;
        if CODECS
            .iter()
            .any(|codec| marks.marked.contains(&(wanted, *codec)))
        {
            return Err(PinError::Kept {
                cid: *cid,
                name: pin.name.into(),
            }
            .into());
        }
    }
    fs::remove_file(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(),
        _ => ContentError::io(&file, "removing the block")(error),
    })
}

/// A block by what is in it and how that is read: the same bytes may be read in two ways.
type Mark = ([u8; DIGEST_BYTES], Codec);

/// What stays. Only blocks that are there are marked, so this grows no larger than the store.
struct Marks<'a> {
    store: &'a EmbeddedStore,
    /// Blocks that stay.
    marked: HashSet<Mark>,
    /// Those of them whose links were followed, or are about to be.
    followed: HashSet<Mark>,
    report: Report,
}

impl<'a> Marks<'a> {
    fn new(store: &'a EmbeddedStore) -> Self {
        Self {
            store,
            marked: HashSet::new(),
            followed: HashSet::new(),
            report: Report::default(),
        }
    }

    fn pin(&mut self, pin: &Pin, progress: &mut dyn FnMut(Progress)) -> Result<(), ContentError> {
        let mut waiting = Vec::new();
        let root = self.mark(pin, &pin.cid)?;
        if pin.depth == Depth::Recursive {
            waiting.extend(
                root.filter(|mark| self.followed.insert(*mark))
                    .map(|_| pin.cid),
            );
        }
        while let Some(cid) = waiting.pop() {
            let blocks = self.marked.len() as u64;
            progress(Progress::Marking { blocks });
            let links = match need(self.store, &cid).and_then(|block| dag::links(&block)) {
                Ok(links) => links,
                Err(why @ (ContentError::BlockMissing { .. } | ContentError::Dag(_))) => {
                    self.warn(pin, cid, why);
                    continue;
                }
                Err(why) => return Err(why),
            };
            for link in links {
                if let Some(mark) = self.mark(pin, &link)?
                    && mark.1 != Codec::Raw
                    && self.followed.insert(mark)
                {
                    waiting.push(link);
                }
            }
        }
        Ok(())
    }

    /// Marks a block if it is there.
    fn mark(&mut self, pin: &Pin, cid: &Cid) -> Result<Option<Mark>, ContentError> {
        let mark = match digest(cid).and_then(|digest| Ok((digest, Codec::of(cid)?))) {
            Ok(mark) => mark,
            // No such block can be in a store.
            Err(why) => {
                self.warn(pin, *cid, why);
                return Ok(None);
            }
        };
        if !self.marked.contains(&mark) {
            if !self.store.has(cid)? {
                self.warn(pin, *cid, ContentError::BlockMissing { cid: *cid });
                return Ok(None);
            }
            self.marked.insert(mark);
        }
        Ok(Some(mark))
    }

    fn warn(&mut self, pin: &Pin, cid: Cid, why: ContentError) {
        let is_known = |warning: &Warning| warning.cid == cid;
        if self.report.warnings.iter().any(is_known) {
            return;
        }
        if self.report.warnings.len() < MAX_WARNINGS {
            let pin = pin.clone();
            self.report.warnings.push(Warning { pin, cid, why });
        } else {
            self.report.unnamed = self.report.unnamed.saturating_add(1);
        }
    }
}
