//! What a swarm is started with, and the defaults.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use crate::Identity;

/// The port a node listens on unless it is told another.
pub const DEFAULT_PORT: u16 = 2025;

/// How a swarm is to be started. [`Options::new`] gives the defaults, and every field may be changed.
#[derive(Debug)]
pub struct Options {
    /// The TCP port, the same for every address in `listen`. 0 takes any that is free.
    pub port: u16,
    /// The addresses of this machine to listen on. By default the two unspecified ones, so that any peer can
    /// connect over IPv4 or IPv6; a node that nobody else should see listens on a loopback address alone. A machine
    /// without IPv6 is no error as long as the other family works. An address that an unspecified one of its family
    /// covers is ignored.
    pub listen: BTreeSet<IpAddr>,
    /// The key that this node proves itself with.
    pub identity: Identity,
    /// How many connections.
    pub limits: Limits,
    /// From the first packet of a connection until Noise and Yamux are agreed, in either direction. The default of
    /// 10 s is what libp2p uses: slow links need some seconds, and each attempt holds a place in [`Limits`].
    pub handshake_timeout: Duration,
    /// For one [`Handle::connect`](crate::Handle::connect), waiting in the queue included. The default of 15 s
    /// leaves room for one whole handshake.
    pub connect_timeout: Duration,
    /// A connection on which no stream is open is closed after this time. The default of 60 s spares a peer that
    /// comes back a new handshake, and bounds how long a silent one holds a place. Ping and identify do not count
    /// as use.
    pub idle_timeout: Duration,
}

impl Options {
    /// The defaults, with this key.
    pub fn new(identity: Identity) -> Self {
        Options {
            port: DEFAULT_PORT,
            listen: BTreeSet::from([
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ]),
            identity,
            limits: Limits::default(),
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// How many connections a swarm may have. What goes beyond is refused: an inbound one is dropped at once, an
/// outbound one fails with [`ConnectError::Full`](crate::ConnectError::Full).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Inbound handshakes under way. A handshake costs some 0.3 ms of processor time, so the default of 64 bounds
    /// what a burst of strangers can put before anybody else's message to about 20 ms.
    pub pending_inbound: u32,
    /// Outbound attempts under way; 64 by default, for the same reason.
    pub pending_outbound: u32,
    /// Inbound connections. Each holds some tens of KiB when idle; the default is 256.
    pub inbound: u32,
    /// Outbound connections, counted apart so that strangers cannot use up the places that this node needs for
    /// its own; 256 by default.
    pub outbound: u32,
    /// Connections with one peer. The default of 4 allows for both sides dialing at once, and over more than one
    /// transport.
    pub per_peer: u32,
    /// Yamux streams on one connection. A peer may fill a window of 256 KiB on each that is not read, so the
    /// default of 256 lets one connection hold 64 MiB at the very most. Values above
    /// [`Limits::MAX_STREAMS`] count as that.
    pub streams: usize,
}

impl Limits {
    /// The most streams that one connection can have: Yamux refuses more windows of 256 KiB than fill 1 GiB.
    pub const MAX_STREAMS: usize = 4096;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pending_inbound: 64,
            pending_outbound: 64,
            inbound: 256,
            outbound: 256,
            per_peer: 4,
            streams: 256,
        }
    }
}
