//! libp2p put together: transport, security, multiplexing, and the protocols that every connection speaks.
//!
//! Every connection, in either direction, has [`Options::handshake_timeout`] to get through Noise and Yamux.

use std::{io, net::TcpListener};

use libp2p::{
    Transport as _,
    connection_limits::{self, ConnectionLimits},
    core::{muxing::StreamMuxerBox, transport::timeout::TransportTimeoutError, upgrade::Version},
    identify, noise, ping,
    swarm::{self, NetworkBehaviour},
    yamux,
};

use crate::{Limits, Options, SwarmError, transport::Tcp};

/// What identify calls the network that this node is part of.
const PROTOCOL_VERSION: &str = "/ww/0.1.0";

/// What identify calls this program.
const AGENT_VERSION: &str = concat!("ww/", env!("CARGO_PKG_VERSION"));

/// The protocols of every connection. `limits` comes first: what it refuses, the others never hear of.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Puts the swarm together and lets it take over the sockets. To be called inside the runtime that will run it.
pub(crate) fn build(
    options: &Options,
    sockets: Vec<TcpListener>,
) -> Result<libp2p::Swarm<Behaviour>, SwarmError> {
    let keypair = options.identity.keypair();
    let setup = |error: &dyn std::error::Error| SwarmError::Setup(error.to_string());

    let tcp = Tcp::new(sockets)?;
    let addrs = tcp.bound_addrs();
    let transport = tcp
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair).map_err(|error| setup(&error))?)
        .multiplex(multiplexing(&options.limits))
        .timeout(options.handshake_timeout)
        .map(|(peer_id, connection), _| (peer_id, StreamMuxerBox::new(connection)))
        // So that the driver can tell a timeout from other failures.
        .map_err(|error| match error {
            TransportTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
            other => io::Error::other(other),
        })
        .boxed();
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits(&options.limits)),
        // What peers say of themselves is shown to whoever asks, and not remembered for dialing.
        identify: identify::Behaviour::new(
            identify::Config::new(PROTOCOL_VERSION.into(), keypair.public())
                .with_agent_version(AGENT_VERSION.into())
                .with_cache_size(0),
        ),
        ping: ping::Behaviour::new(ping::Config::new()),
    };
    let config =
        swarm::Config::with_tokio_executor().with_idle_connection_timeout(options.idle_timeout);
    let peer_id = options.identity.peer_id();
    let mut swarm = libp2p::Swarm::new(transport, behaviour, peer_id, config);
    for addr in addrs {
        swarm.listen_on(addr).map_err(|error| setup(&error))?;
    }
    Ok(swarm)
}

fn multiplexing(limits: &Limits) -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(limits.streams.min(Limits::MAX_STREAMS));
    config
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_inbound))
        .with_max_pending_outgoing(Some(limits.pending_outbound))
        .with_max_established_incoming(Some(limits.inbound))
        .with_max_established_outgoing(Some(limits.outbound))
        .with_max_established_per_peer(Some(limits.per_peer))
}
