//! What the graph of blocks refuses.

use cid::Cid;

use crate::Codec;

/// Why a block's content, an input or a path through blocks was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DagError {
    /// The block hashes to its name, but is no valid node of its codec.
    #[error("block {cid} is not valid {}: {why:?}", codec.name())]
    Malformed {
        /// The block.
        cid: Cid,
        /// What it should have been.
        codec: Codec,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// What was given to be stored is not in the codec that it was said to be in.
    #[error("the input is not valid {}: {why:?}", codec.name())]
    InputInvalid {
        /// What it should have been.
        codec: Codec,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// More input than any block could hold.
    #[error("the input is over the limit of {limit} bytes; split it into several nodes")]
    InputTooBig {
        /// The limit in bytes.
        limit: usize,
    },
    /// Data that the codec asked for has no form for.
    #[error("this cannot be written as {}: {why}", codec.name())]
    NotExpressible {
        /// The codec asked for.
        codec: Codec,
        /// What stands in the way.
        why: Box<str>,
    },
    /// A path leads to nothing.
    #[error("nothing is called {name:?} in block {cid}")]
    NotFound {
        /// The block that was searched.
        cid: Cid,
        /// The segment of the path that it does not have.
        name: Box<str>,
    },
    /// There are more distinct blocks below a root than allowed.
    #[error("{root} has more than {limit} blocks; raise the limit or take a part of it")]
    TooManyBlocks {
        /// The root.
        root: Cid,
        /// The limit.
        limit: u64,
    },
    /// The blocks below a root have more bytes than allowed.
    #[error("{root} has more than {limit} bytes; raise the limit or take a part of it")]
    TooManyBytes {
        /// The root.
        root: Cid,
        /// The limit in bytes.
        limit: u64,
    },
    /// More links wait to be followed than an honest graph has.
    #[error("{root} has more than {limit} links waiting to be followed; no honest tree has")]
    TooManyLinks {
        /// The root.
        root: Cid,
        /// The limit.
        limit: usize,
    },
}
