//! A swarm on the loopback address, and waiting for what must come true.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use swarm::{Handle, Identity, Multiaddr, Options, PeerId, Swarm, Target};

/// Far beyond what anything here takes. Tests do not measure: this only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn options() -> Options {
    Options {
        port: 0,
        listen: BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST)]),
        ..Options::new(Identity::ephemeral())
    }
}

pub async fn start(options: Options) -> (Swarm, Handle) {
    Swarm::start(options).await.unwrap()
}

/// The one socket that a swarm started with [`options`] listens on.
pub fn socket(handle: &Handle) -> SocketAddr {
    let addr = handle.addrs()[0].to_string();
    let parts: Vec<_> = addr.split('/').collect();
    SocketAddr::new(parts[2].parse().unwrap(), parts[4].parse().unwrap())
}

pub fn multiaddr(socket: SocketAddr) -> Multiaddr {
    format!("/ip4/{}/tcp/{}", socket.ip(), socket.port())
        .parse()
        .unwrap()
}

pub fn target(peer: PeerId, addrs: &[Multiaddr]) -> Target {
    let addrs: Vec<_> = addrs.iter().map(Multiaddr::to_vec).collect();
    Target::parse(&peer.to_bytes(), addrs.iter().map(Vec::as_slice)).unwrap()
}

pub fn knows(handle: &Handle, peer: PeerId) -> bool {
    handle.peers().iter().any(|known| known.peer_id == peer)
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never came true: {what}"));
}
