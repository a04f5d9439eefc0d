//! Names that can change what they stand for: IPNS, where a name is a public key, and a record that the key
//! has signed says what it stands for.
//!
//! The surprising case first: the best record that was ever seen of a name is kept for ever, also when it has
//! expired. It is the watermark: a record with a lower sequence was valid once, is signed, and may not have
//! expired yet, so that nothing but the memory of a later one tells that somebody is rolling the name back.
//!
//! In reading order: [`Name`], [`Key`] and [`Keys`] (who may speak for a name), [`Record`] (what was said),
//! [`Records`] (the best of it, on disk), and [`Names`], which publishes and resolves with all of them, and asks
//! every [`RecordSource`] for what is not here.
//!
//! Refused, each by a [`NameError`] or a [`KeyError`]: keys other than Ed25519, DNSLink, records without a
//! signature of version 2, over 10 KiB, expired, rolled back, or whose fields of version 1 say something else than
//! what is signed; names that lead back to themselves; more names and keys than there is room for.
//!
//! Records are our own code over `ed25519-dalek`, the protobuf reader of UnixFS and `serde_ipld_dagcbor`, though
//! there is `rust-ipns` 0.9, which is kept and opens no connection. Its protobuf decoder takes the last of a field
//! that occurs twice and gives every field that is missing a default, so that it refuses records that only have
//! version 2; it takes every kind of key; and it would bring a second `ed25519-dalek`, RSA, two more curves and
//! `chrono` along.

mod directory;
mod error;
mod id;
mod key;
mod keys;
mod publish;
mod record;
mod records;
mod resolve;

pub use self::error::{KeyError, NameError};
pub use self::id::Name;
pub use self::key::Key;
pub use self::keys::{KeyInfo, Keys, MAX_KEY_NAME_BYTES, MAX_KEYS, SELF};
pub use self::publish::{DEFAULT_LIFETIME, DEFAULT_TTL, PublishOptions};
pub use self::record::{Form, MAX_RECORD_BYTES, MAX_SEQUENCE, Record};
pub use self::records::{MAX_HOLDER_NAMES, MAX_NAMES, Records};
pub use self::resolve::{MAX_FRESH, MAX_HOPS, Names, RecordSource};
