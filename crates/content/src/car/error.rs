//! What is refused in CAR files.

use cid::Cid;

use super::MAX_ROOTS;

/// Why a CAR file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// The header is not that of a CAR file.
    #[error("this is no CAR file: {why}")]
    Header {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The header is longer than any that is read.
    #[error("the CAR header of {bytes} bytes is over the limit of {limit}; use fewer roots")]
    HeaderTooBig {
        /// What the header says of its length, in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A version that cannot be read.
    #[error("a CAR file of version {version} cannot be read; write it again as version 1")]
    Version {
        /// The version.
        version: u64,
    },
    /// No root: nothing would name what is in the file.
    #[error("the CAR file names no root; write it again with the CID of what it holds")]
    NoRoots,
    /// What stands at the place of a block is none.
    #[error("block {number} of the CAR file cannot be read: {why}")]
    Section {
        /// Which one, counted from 1.
        number: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A block is longer than any that is read.
    #[error(
        "block {number} of the CAR file has {bytes} bytes with its CID, over the limit of {limit}"
    )]
    SectionTooBig {
        /// Which one, counted from 1.
        number: u64,
        /// What the file says of its length, in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file ends in the middle of something.
    #[error("the CAR file is cut off after {blocks} whole blocks; get the rest of it")]
    Truncated {
        /// Blocks before the cut.
        blocks: u64,
    },
    /// More roots than any file is read or written with.
    #[error("the CAR file names {roots} roots, over the limit of {limit}; split it")]
    TooManyRoots {
        /// How many it names.
        roots: usize,
        /// The limit.
        limit: usize,
    },
    /// A root is neither in the file nor kept on this machine.
    #[error("the CAR file names {cid} as a root and does not hold it")]
    RootMissing {
        /// The root.
        cid: Cid,
    },
    /// The file holds more blocks than allowed.
    #[error("the CAR file has more than {limit} blocks; raise the limit or split it")]
    TooManyBlocks {
        /// The limit.
        limit: u64,
    },
    /// The file holds more bytes than allowed.
    #[error("the CAR file has more than {limit} bytes of blocks; raise the limit or split it")]
    TooManyBytes {
        /// The limit in bytes.
        limit: u64,
    },
}

impl CarError {
    pub(super) fn too_many_roots(roots: usize) -> Self {
        let limit = MAX_ROOTS;
        Self::TooManyRoots { roots, limit }
    }
}
