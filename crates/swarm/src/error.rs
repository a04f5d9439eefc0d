//! What can go wrong: starting a swarm, reading an address, reaching a peer.
//!
//! Each text is one sentence for a person and, where there is one, ends in the thing to type.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use libp2p::{Multiaddr, PeerId};

/// Why a swarm did not start, or why a key was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// Another program, or another `ww`, listens there.
    #[error(
        "port {} is already in use on {}: give another one with `--port N`, or `--port 0` for any that is free",
        .addr.port(), .addr.ip()
    )]
    PortInUse {
        /// What was asked for.
        addr: SocketAddr,
    },
    /// The system did not let the swarm listen there.
    #[error(
        "cannot listen on {addr}: {source}; give another port with `--port N`, or `--port 0` for any that is free"
    )]
    Listen {
        /// What was asked for.
        addr: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// [`Options::listen`](crate::Options::listen) was empty.
    #[error("there is no address to listen on: give at least one")]
    NowhereToListen,
    /// The system does not tell which addresses this machine has.
    #[error("cannot watch the network interfaces: {0}")]
    Interfaces(#[source] io::Error),
    /// The swarm's threads could not be started.
    #[error("cannot start the network threads: {0}")]
    Threads(#[source] io::Error),
    /// The transports could not be put together.
    #[error("cannot set up the network: {0}")]
    Setup(String),
    /// Reading or writing the key failed.
    #[error("cannot use the key file {}: {source}", .path.display())]
    KeyIo {
        /// The key file, or its directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else could read the key, or put another in its place.
    #[error(
        "{} has mode {mode:03o}, so the node's key is open to other users: run `chmod {wanted:o} {}`",
        .path.display(), .path.display()
    )]
    KeyExposed {
        /// The key file, or its directory.
        path: PathBuf,
        /// The permission bits it has.
        mode: u32,
        /// The permission bits it should have.
        wanted: u32,
    },
    /// The key belongs to somebody else.
    #[error(
        "{} belongs to user {owner}, not to user {user} who runs this: give a path of your own",
        .path.display()
    )]
    KeyForeign {
        /// The key file, or its directory.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// A link, a directory, a device, …: something that can lead elsewhere, or is no file.
    #[error("{} is {found}, where {wanted} belongs: move it away", .path.display())]
    KeyNotPlain {
        /// The key file, or its directory.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// The file holds no key that this version can use.
    #[error(
        "{} holds no Ed25519 key in libp2p's encoding: move it away to get a new key, and with it a new peer id",
        .path.display()
    )]
    KeyMalformed {
        /// The key file.
        path: PathBuf,
    },
}

/// Why bytes are no peer id, or no address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// Not a multihash that names a peer.
    #[error("these {length} bytes are no peer id: a peer id is a multihash, sha2-256 or identity")]
    PeerId {
        /// How many bytes were given.
        length: usize,
    },
    /// Not a binary multiaddr.
    #[error("these {length} bytes are no binary multiaddr: {reason}")]
    Multiaddr {
        /// How many bytes were given.
        length: usize,
        /// What the parser met.
        reason: String,
    },
    /// More addresses than one call may bring.
    #[error("more than {limit} addresses for one peer")]
    TooMany {
        /// [`MAX_ADDRS`](crate::MAX_ADDRS).
        limit: usize,
    },
    /// An address ends in the id of another peer than the one asked for.
    #[error("the address {addr} is that of another peer than {expected}")]
    OtherPeer {
        /// The peer asked for.
        expected: PeerId,
        /// The address.
        addr: Multiaddr,
    },
}

/// Why a peer could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The peer id or an address was malformed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The peer is this node.
    #[error("this node is {0} itself")]
    SelfDial(PeerId),
    /// The peer is not connected, and no address was given that this node can dial.
    #[error(
        "no address to reach {peer} at: {given} given, none of them `/ip4/ADDRESS/tcp/PORT` or `/ip6/ADDRESS/tcp/PORT`"
    )]
    NoAddress {
        /// The peer asked for.
        peer: PeerId,
        /// How many addresses were given.
        given: usize,
    },
    /// The addresses given for the peer are those that this node itself listens on.
    #[error("no address to reach {peer} at: this node itself is at those that were given")]
    OwnAddress {
        /// The peer asked for.
        peer: PeerId,
    },
    /// Somebody answered, and proved to be somebody else.
    #[error("asked for {expected}, but {found} answered at {addr}")]
    WrongPeer {
        /// The peer asked for.
        expected: PeerId,
        /// The peer that answered.
        found: PeerId,
        /// Where.
        addr: Multiaddr,
    },
    /// Every address failed.
    #[error("cannot reach {peer}: {}", list(.attempts))]
    Unreachable {
        /// The peer asked for.
        peer: PeerId,
        /// Each address that was tried, and why it failed.
        attempts: Vec<(Multiaddr, String)>,
    },
    /// Nobody answered in time.
    #[error("{peer} did not answer within {after:?}")]
    TimedOut {
        /// The peer asked for.
        peer: PeerId,
        /// The time that was given.
        after: Duration,
    },
    /// This node has as many connections, or attempts at one, as it may have. Try again later.
    #[error("this node has no room for another connection: the limit is {limit}")]
    Full {
        /// The limit that was met.
        limit: u32,
    },
    /// The attempt was refused or given up on this side, for another reason.
    #[error("the attempt to reach {peer} was given up: {reason}")]
    GivenUp {
        /// The peer asked for.
        peer: PeerId,
        /// What libp2p says.
        reason: String,
    },
    /// The swarm has ended.
    #[error("the network of this node has been shut down")]
    Stopped,
}

fn list(attempts: &[(Multiaddr, String)]) -> String {
    let texts: Vec<_> = attempts
        .iter()
        .map(|(addr, reason)| format!("{addr}: {reason}"))
        .collect();
    texts.join("; ")
}
