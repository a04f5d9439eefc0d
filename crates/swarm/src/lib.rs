//! The node's place in the peer-to-peer network: who it is, where it listens, and whom it is connected to.
//!
//! A swarm speaks libp2p: TCP, secured by Noise, multiplexed by Yamux, with identify and ping on top. It knows
//! nothing of cells or of Cap'n Proto; what those see of it is a [`Handle`].
//!
//! It serves nothing but identify and ping. A peer that connects learns this node's public key, its version and the
//! addresses it listens on, and can do nothing more. It refuses: a port that somebody else holds, a key file that
//! others could read or change, a peer that proves another identity than the one that was asked for, and whatever
//! goes beyond a limit of [`Limits`].
//!
//! In reading order: [`Options`] and [`Identity`] say what to start; [`Swarm`] owns what was started, and ends it;
//! [`Handle`] asks; [`Target`] is a peer to ask for, parsed from the bytes that a stranger sent.

mod address;
mod driver;
mod error;
mod handle;
mod identity;
mod listen;
mod network;
mod options;
mod owner;
mod transport;

pub use address::{
    MAX_ADDR_BYTES, MAX_ADDRS, MAX_PEER_ID_BYTES, Target, parse_addr, parse_peer_id,
};
pub use error::{AddressError, ConnectError, SwarmError};
pub use handle::{Handle, Peer};
pub use identity::Identity;
pub use libp2p::{Multiaddr, PeerId};
pub use options::{DEFAULT_PORT, Limits, Options};
pub use owner::Swarm;
