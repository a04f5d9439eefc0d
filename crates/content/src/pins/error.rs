//! What is refused about pins.

use std::path::PathBuf;

use cid::Cid;

/// Why a pin was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// A name that no pin may have.
    #[error("{name:?} cannot be the name of a pin: {why}")]
    NameInvalid {
        /// The name, cut to the longest that is allowed.
        name: Box<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that is for what running nodes hold.
    #[error(
        "pins below `{}` are those of running nodes, and change with them; use another name",
        super::RUNNING
    )]
    Reserved,
    /// There is no such pin.
    #[error("{cid} is not pinned under the name {name:?}; list the pins to see what is")]
    NotPinned {
        /// The name that was given.
        name: Box<str>,
        /// The CID that was given.
        cid: Cid,
    },
    /// A pin keeps the block that was to be removed.
    #[error("block {cid} is kept by the pin {name:?}; remove the pin first")]
    Kept {
        /// The block.
        cid: Cid,
        /// The name of the pin.
        name: Box<str>,
    },
    /// There are as many pins as there may be.
    #[error("there are {limit} pins already; remove one first")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A file among the pins is not one that was written there.
    #[error("{path:?} is no pin any more; remove the file, and pin again what it kept")]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// The lock that was shown is that of another store.
    #[error("a pin needs the lock of its own store")]
    OtherStore,
}
