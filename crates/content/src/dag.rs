//! Blocks as a graph: what a block links to, every block below a root, data between its codecs, and a
//! path through it.
//!
//! The surprising case first: a block that hashes to its name may still be no valid node of its codec,
//! and is then refused here by name ([`DagError::Malformed`]), whoever made it. Decoding dag-cbor and
//! dag-json is the business of `serde_ipld_dagcbor` and `serde_ipld_dagjson`: both are kept, strict, and
//! stop at a nesting of some 128 levels, long before the stack does. What they leave open is closed here:
//! bytes behind a link's CID, and trees that grow a hundredfold in memory ([`MAX_VALUES`]).
//!
//! Refused: data nested deeper than that (Kubo reads 1,024 levels), more than [`Limits`] allow, paths
//! that lead to nothing. Nothing follows links by recursion.

mod convert;
mod error;
mod links;
mod pb;
mod resolve;
mod walk;

pub(crate) use self::convert::decode;
pub use self::convert::{MAX_INPUT_BYTES, MAX_VALUES, convert, to_json};
pub use self::error::DagError;
pub use self::links::links;
pub use self::resolve::{Resolved, get_json, resolve};

pub(crate) use self::walk::Walk;
pub use self::walk::{Limits, Walked, walk};
