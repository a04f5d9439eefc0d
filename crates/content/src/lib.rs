//! Content by name: what a CID means here, where blocks are kept, and how a tree of files becomes
//! blocks and a tree again.
//!
//! The surprising case first: a CID is never *asked for*. Every name is computed here, bit for bit as
//! Kubo's `ipfs add -r --hidden --cid-version=1` computes it, and every byte that is read under a name
//! is hashed before anybody sees it, whoever stored it. A [`Block`] is therefore a type and not a
//! habit: it cannot be made from bytes that do not hash to its CID.
//!
//! What this crate refuses: hashes other than sha2-256, codecs other than `raw`, `dag-pb`,
//! `dag-cbor` and `dag-json`, blocks beyond [`MAX_BLOCK_BYTES`], names that a file system could read as
//! something else than a name, links that lead out of their tree, and anything that passes a limit.
//! It knows neither libp2p nor Wasm, and connects to nobody but the servers that the user named.
//!
//! In reading order: [`Block`], [`BlockStore`] with [`EmbeddedStore`] and [`MemoryStore`], [`tree`]
//! (a tree on the local disk), [`import`], [`export`], [`directory`] and [`read`] (what is in blocks, looked
//! at without a copy), [`dag`] (blocks as a graph), [`car`] (blocks in a file), [`pins`] (what stays) and [`gc`]
//! (what goes), [`Stack`] with the servers that it asks ([`kubo`], [`remote`]), [`name`] (names that can change what
//! they stand for), [`IpfsPath`] and [`ContentPath`], and [`Repo`], which has all of it by paths.
//!
//! Everything here blocks on the disk or the network; call it from a thread that may block.

mod block;
mod budget;
pub mod car;
pub mod dag;
pub mod directory;
mod error;
pub mod export;
pub mod gc;
pub mod import;
pub mod kubo;
pub mod name;
pub mod object;
mod path;
pub mod pins;
pub mod read;
pub mod remote;
mod repo;
mod store;
pub mod tree;
mod unixfs;

pub use block::{Block, Codec, MAX_BLOCK_BYTES};
pub use cid::{Cid, Version as CidVersion};
pub use error::ContentError;
pub use path::{ContentPath, IpfsPath, MAX_PATH_TEXT_BYTES, cid_from_bytes, parse_cid};
pub use repo::{Hold, PinName, Repo};
pub use store::{
    BlockStore, EmbeddedStore, Event, FetchHook, GatewayStore, KuboStore, MemoryStore, Source,
    Stack, Writing,
};
