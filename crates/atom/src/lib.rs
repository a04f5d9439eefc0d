//! The chain's view of an epoch.
//!
//! An Atom contract holds one head: the content id of the image in force. A node reads that head as
//! of a block deep enough not to be taken back, and each head that it adopts begins an epoch. This
//! crate has the types and the rules of it: [`Address`], [`Head`], [`Epoch`], [`Confirmations`] and
//! [`Adoption`].
//!
//! It does no I/O and knows no clock. What it refuses: an address that is mistyped, a head longer
//! than [`MAX_HEAD_BYTES`], and to go back to an older block than it has judged by.

mod address;
mod adoption;
mod epoch;

pub use address::{Address, AddressError};
pub use adoption::{Adoption, Confirmations, Outcome};
pub use epoch::{Epoch, Head, HeadTooLong, MAX_HEAD_BYTES};
