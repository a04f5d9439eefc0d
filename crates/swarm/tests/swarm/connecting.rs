//! Swarms that find each other, or find somebody else, or nobody.

use std::{cell::OnceCell, net::TcpListener, time::Duration};

use swarm::{ConnectError, Identity, Limits, Options, PeerId};

use crate::support::{knows, multiaddr, options, start, target, until};

#[tokio::test]
async fn two_swarms_connect_and_list_each_other() {
    let (_a, alice) = start(options()).await;
    let (_b, bob) = start(options()).await;

    let to_bob = target(bob.peer_id(), &bob.addrs());
    alice.connect(to_bob.clone()).await.unwrap();

    assert!(knows(&alice, bob.peer_id()), "listed when connect returns");
    until("bob lists alice", || knows(&bob, alice.peer_id())).await;
    assert_eq!(alice.peers()[0].addrs, bob.addrs());

    alice.connect(to_bob).await.unwrap();
    assert_eq!(alice.peers().len(), 1, "connected already");
    alice.connect(target(bob.peer_id(), &[])).await.unwrap();
}

#[tokio::test]
async fn identify_tells_where_an_inbound_peer_listens() {
    let (_a, alice) = start(options()).await;
    let (_b, bob) = start(options()).await;
    alice
        .connect(target(bob.peer_id(), &bob.addrs()))
        .await
        .unwrap();
    until("bob learns alice's address", || {
        let peers = bob.peers();
        peers
            .iter()
            .any(|peer| peer.addrs.contains(&alice.addrs()[0]))
    })
    .await;
}

#[tokio::test]
async fn both_dialing_at_once_are_both_connected() {
    let (_a, alice) = start(options()).await;
    let (_b, bob) = start(options()).await;
    let (there, back) = tokio::join!(
        alice.connect(target(bob.peer_id(), &bob.addrs())),
        bob.connect(target(alice.peer_id(), &alice.addrs())),
    );
    there.unwrap();
    back.unwrap();
}

#[tokio::test]
async fn a_peer_that_goes_is_no_longer_listed() {
    let (_a, alice) = start(options()).await;
    let (b, bob) = start(options()).await;
    let to_bob = target(bob.peer_id(), &bob.addrs());
    alice.connect(to_bob).await.unwrap();
    b.shutdown().await;
    until("alice notices", || alice.peers().is_empty()).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let hasty = Options {
        idle_timeout: Duration::from_millis(50),
        ..options()
    };
    let (_a, alice) = start(hasty).await;
    let (_b, bob) = start(options()).await;
    alice
        .connect(target(bob.peer_id(), &bob.addrs()))
        .await
        .unwrap();
    until("the connection goes", || alice.peers().is_empty()).await;
}

#[tokio::test]
async fn somebody_else_at_the_address_is_refused() {
    let (_a, alice) = start(options()).await;
    let (_b, bob) = start(options()).await;
    let absent = Identity::ephemeral().peer_id();
    let error = alice
        .connect(target(absent, &bob.addrs()))
        .await
        .unwrap_err();
    match error {
        ConnectError::WrongPeer {
            expected, found, ..
        } => assert_eq!((expected, found), (absent, bob.peer_id())),
        other => panic!("{other}"),
    }
    assert!(alice.peers().is_empty());
}

#[tokio::test]
async fn own_address_under_another_name_is_refused() {
    let (_a, alice) = start(options()).await;
    let error = alice
        .connect(target(PeerId::random(), &alice.addrs()))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::OwnAddress { .. }), "{error}");
}

#[tokio::test]
async fn oneself_is_refused() {
    let (_a, alice) = start(options()).await;
    let error = alice
        .connect(target(alice.peer_id(), &alice.addrs()))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::SelfDial(_)), "{error}");
}

#[tokio::test]
async fn a_peer_without_an_address_that_can_be_dialed_is_refused() {
    let (_a, alice) = start(options()).await;
    let peer = PeerId::random();
    let quic = "/ip4/127.0.0.1/udp/4001/quic-v1".parse().unwrap();
    for (addrs, count) in [(&[][..], 0), (&[quic][..], 1)] {
        let error = alice.connect(target(peer, addrs)).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::NoAddress { given, .. } if given == count),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_says_why() {
    let (_a, alice) = start(options()).await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = alice
        .connect(target(PeerId::random(), &[multiaddr(closed)]))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("Connection refused"), "{text}");
    assert!(text.contains(&multiaddr(closed).to_string()), "{text}");
}

#[tokio::test]
async fn one_good_address_among_bad_ones_is_enough() {
    let (_a, alice) = start(options()).await;
    let (_b, bob) = start(options()).await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let silent_addr = multiaddr(silent.local_addr().unwrap());
    let addrs = [closed, silent_addr, bob.addrs()[0].clone()];
    alice.connect(target(bob.peer_id(), &addrs)).await.unwrap();
}

#[tokio::test]
async fn silence_times_out_in_the_handshake() {
    let (_a, alice) = start(Options {
        handshake_timeout: Duration::from_millis(100),
        ..options()
    })
    .await;
    silence(&alice, Duration::from_millis(100)).await;
}

#[tokio::test]
async fn silence_times_out_for_the_caller_even_while_the_handshake_may_go_on() {
    let (_a, alice) = start(Options {
        connect_timeout: Duration::from_millis(100),
        ..options()
    })
    .await;
    silence(&alice, Duration::from_millis(100)).await;
}

/// Connects to somebody who accepts and never says anything.
async fn silence(handle: &swarm::Handle, expected: Duration) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = multiaddr(silent.local_addr().unwrap());
    let error = handle
        .connect(target(PeerId::random(), &[addr]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::TimedOut { after, .. } if after == expected),
        "{error}"
    );
}

#[tokio::test]
async fn more_attempts_than_the_limit_are_refused() {
    let (_a, alice) = start(Options {
        limits: Limits {
            pending_outbound: 1,
            ..Limits::default()
        },
        ..options()
    })
    .await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = multiaddr(silent.local_addr().unwrap());
    // Whichever comes first takes the only place, and keeps it in vain.
    let refused = tokio::select! {
        one = alice.connect(target(PeerId::random(), std::slice::from_ref(&addr))) => one,
        other = alice.connect(target(PeerId::random(), std::slice::from_ref(&addr))) => other,
    };
    let error = refused.unwrap_err();
    assert!(matches!(error, ConnectError::Full { limit: 1 }), "{error}");
}

#[tokio::test]
async fn more_inbound_peers_than_the_limit_are_turned_away() {
    let (_a, alice) = start(Options {
        limits: Limits {
            inbound: 1,
            ..Limits::default()
        },
        ..options()
    })
    .await;
    let (_b, bob) = start(options()).await;
    let (_c, carol) = start(options()).await;
    let to_alice = target(alice.peer_id(), &alice.addrs());
    bob.connect(to_alice.clone()).await.unwrap();
    until("alice lists bob", || knows(&alice, bob.peer_id())).await;

    // Carol's side may see the connection for a moment, before alice closes it.
    if carol.connect(to_alice).await.is_ok() {
        until("carol is turned away", || carol.peers().is_empty()).await;
    }
    assert!(!knows(&alice, carol.peer_id()));
    assert!(knows(&alice, bob.peer_id()));
}

#[tokio::test]
async fn a_handle_outlives_its_swarm_and_says_so() {
    let (a, alice) = start(options()).await;
    let (_b, bob) = start(options()).await;
    let to_bob = target(bob.peer_id(), &bob.addrs());
    alice.connect(to_bob.clone()).await.unwrap();
    a.shutdown().await;
    assert!(alice.addrs().is_empty());
    assert!(alice.peers().is_empty());
    let error = alice.connect(to_bob).await.unwrap_err();
    assert!(matches!(error, ConnectError::Stopped), "{error}");
}

#[tokio::test]
async fn dropping_a_swarm_ends_a_connect_under_way() {
    let (a, alice) = start(options()).await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = multiaddr(silent.local_addr().unwrap());
    let attempt = tokio::spawn(async move {
        alice
            .connect(target(PeerId::random(), &[addr]))
            .await
            .unwrap_err()
    });
    silent.set_nonblocking(true).unwrap();
    let accepted = OnceCell::new();
    until("the attempt is under way", || {
        silent
            .accept()
            .is_ok_and(|(stream, _)| accepted.set(stream).is_ok())
    })
    .await;
    drop(a);
    let error = attempt.await.unwrap();
    assert!(matches!(error, ConnectError::Stopped), "{error}");
}
