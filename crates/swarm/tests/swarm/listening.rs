//! Ports, and identities across restarts.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use swarm::{Identity, Options, Swarm, SwarmError};

use crate::support::{options, socket, start, target, until};

fn on(ip: IpAddr, port: u16) -> Options {
    Options {
        port,
        listen: BTreeSet::from([ip]),
        ..options()
    }
}

async fn refusal(options: Options) -> SwarmError {
    match Swarm::start(options).await {
        Ok(_) => panic!("two listeners share a port"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_second_swarm_on_the_port_is_refused_with_the_cure() {
    for ip in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ] {
        let (_first, handle) = start(on(ip, 0)).await;
        let port = socket(&handle).port();
        let error = refusal(on(ip, port)).await;
        assert!(
            matches!(error, SwarmError::PortInUse { addr } if addr == SocketAddr::new(ip, port)),
            "{error}"
        );
        assert!(error.to_string().contains("`--port 0`"), "{error}");
    }
}

#[tokio::test]
async fn another_programs_port_is_refused() {
    for ip in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        let ip: IpAddr = ip.parse().unwrap();
        let other = TcpListener::bind((ip, 0)).unwrap();
        let error = refusal(on(ip, other.local_addr().unwrap().port())).await;
        assert!(matches!(error, SwarmError::PortInUse { .. }), "{error}");
    }
}

#[tokio::test]
async fn another_program_that_would_share_the_port_cannot() {
    let (_swarm, handle) = start(options()).await;
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.set_reuse_address(true).unwrap();
    other.set_reuse_port(true).unwrap();
    let error = other.bind(&socket(&handle).into()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn the_default_listens_on_every_address_of_both_families_on_one_port() {
    let (_swarm, handle) = start(Options {
        port: 0,
        ..Options::new(Identity::ephemeral())
    })
    .await;
    let addrs: Vec<_> = handle.addrs().iter().map(ToString::to_string).collect();
    let port = socket(&handle).port();
    for ip in ["/ip4/127.0.0.1", "/ip6/::1"] {
        assert!(addrs.contains(&format!("{ip}/tcp/{port}")), "{addrs:?}");
    }
    for addr in &addrs {
        assert!(addr.ends_with(&format!("/tcp/{port}")), "{addr}");
        assert!(!addr.starts_with("/ip6/fe80"), "{addr}");
    }
}

#[tokio::test]
async fn ipv6_alone_carries_a_connection() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let (_a, alice) = start(on(v6, 0)).await;
    let (_b, bob) = start(on(v6, 0)).await;
    let to_bob = target(bob.peer_id(), &bob.addrs());
    alice.connect(to_bob).await.unwrap();
}

#[tokio::test]
async fn shutdown_frees_the_port_before_it_returns() {
    let (swarm, handle) = start(options()).await;
    let (_peer, peer_handle) = start(options()).await;
    let there = target(peer_handle.peer_id(), &peer_handle.addrs());
    handle.connect(there).await.unwrap();
    let socket = socket(&handle);
    swarm.shutdown().await;
    let (_again, _) = start(on(socket.ip(), socket.port())).await;
}

#[tokio::test]
async fn dropping_frees_the_port_with_handles_and_connections_left() {
    let (swarm, handle) = start(options()).await;
    let (_peer, peer_handle) = start(options()).await;
    let here = target(handle.peer_id(), &handle.addrs());
    peer_handle.connect(here).await.unwrap();
    let socket = socket(&handle);
    drop(swarm);
    until("the port is free", || TcpListener::bind(socket).is_ok()).await;
    until("the peer notices", || peer_handle.peers().is_empty()).await;
}

#[tokio::test]
async fn the_peer_id_is_kept_across_restarts() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("keys/node");
    let kept = || Options {
        identity: Identity::load_or_create(&path).unwrap(),
        ..options()
    };
    let (first, handle) = start(kept()).await;
    let peer_id = handle.peer_id();
    first.shutdown().await;
    let (_second, handle) = start(kept()).await;
    assert_eq!(handle.peer_id(), peer_id);

    // And it is the id that Noise proves, not only the one that the handle shows.
    let (_other, other) = start(options()).await;
    let there = target(peer_id, &handle.addrs());
    other.connect(there).await.unwrap();
}
