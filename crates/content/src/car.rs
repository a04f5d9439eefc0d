//! CAR files: blocks one after the other in a stream, as people carry content by hand.
//!
//! Version 1 is written, in the order of `ipfs dag export`, so the same graph gives the same file as
//! Kubo; version 1 is read, and version 2 for the version 1 inside it (its index is not looked at). Both
//! ways stream: one block is in memory at a time, and the files may be of any size.
//!
//! Refused by name: blocks that do not hash to their CID, a header without roots, other versions,
//! lengths beyond the limits, bytes that are not what the format has there, and a file that ends in the
//! middle of a block. What cannot be seen is a file that was cut *between* two blocks, because a part of a
//! graph is a valid CAR file too; [`crate::dag::walk`] finds that.
//!
//! Our own code, because neither crate that is there does this: `iroh-car` takes a file that ends inside
//! a length for a whole one, checks no block against its CID, and is for tokio alone; `rs-car` has had no
//! release since 2024. The format is a length before each thing.

mod error;
mod read;
mod write;

pub use self::error::CarError;
pub use self::read::{Imported, MAX_HEADER_BYTES, MAX_ROOTS, Reader, import};
pub use self::write::{Export, Writer, export};
