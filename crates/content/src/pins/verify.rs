//! Whether what a pin keeps is there, and is what it was.

use cid::Cid;

use super::{Depth, Pin};
use crate::dag::{Limits, Walk, Walked};
use crate::store::need;
use crate::{BlockStore, ContentError};

/// The most faults that are named one by one; of the others there is a count.
pub const MAX_NAMED_FAULTS: usize = 64;

/// What [`verify`] found.
#[derive(Debug, Default)]
pub struct Health {
    /// The blocks that are there and hash to their names.
    pub good: Walked,
    /// The first [`MAX_NAMED_FAULTS`] blocks that are not, each once. What lies below them is unknown.
    pub faults: Vec<Fault>,
    /// How many more faults there are.
    pub unnamed: u64,
}

impl Health {
    /// Whether everything is there and right.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    fn blame(&mut self, cid: Cid, why: ContentError) {
        if self.faults.len() < MAX_NAMED_FAULTS {
            self.faults.push(Fault { cid, why });
        } else {
            self.unnamed = self.unnamed.saturating_add(1);
        }
    }
}

/// A block that a pin should keep and that cannot be had.
#[derive(Debug)]
pub struct Fault {
    /// The block.
    pub cid: Cid,
    /// [`ContentError::BlockMissing`], [`ContentError::BlockCorrupt`], or why the block means nothing.
    pub why: ContentError,
}

/// Reads everything that `pin` keeps. Errors: a limit that is passed, and a store that cannot be read;
/// what is wrong with the content is in the answer.
pub fn verify(store: &dyn BlockStore, pin: &Pin, limits: &Limits) -> Result<Health, ContentError> {
    let mut health = Health::default();
    match pin.depth {
        Depth::Direct => match need(store, &pin.cid) {
            Ok(block) => {
                health.good = Walked {
                    blocks: 1,
                    bytes: block.bytes().len() as u64,
                };
            }
            Err(why) => health.blame(pin.cid, of_content(why)?),
        },
        Depth::Recursive => {
            let mut walk = Walk::new(&pin.cid, *limits);
            while let Some((cid, block)) = walk.next(store)? {
                if let Err(why) = block {
                    health.blame(cid, of_content(why)?);
                }
            }
            health.good = walk.walked;
        }
    }
    Ok(health)
}

/// Tells what is wrong with a block from what is wrong with the store.
fn of_content(why: ContentError) -> Result<ContentError, ContentError> {
    match why {
        ContentError::BlockMissing { .. }
        | ContentError::BlockCorrupt { .. }
        | ContentError::UnsupportedHash { .. }
        | ContentError::UnsupportedCodec { .. }
        | ContentError::Dag(_) => Ok(why),
        of_store => Err(of_store),
    }
}
