//! Strangers at the port: what they send, and what they withhold.

use std::time::Duration;

use swarm::{Handle, Limits, Options};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{knows, options, socket, start, target};

/// A message of multistream-select: its length as a varint, the text, a line feed.
fn message(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap();
    [&[length], text.as_bytes(), b"\n"].concat()
}

async fn expect(stream: &mut TcpStream, text: &str) {
    let wanted = message(text);
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(&wanted)
    );
}

/// That a newcomer can still connect, which takes an accept, a handshake and a snapshot.
async fn assert_alive(handle: &Handle) {
    let (_swarm, newcomer) = start(options()).await;
    let there = target(handle.peer_id(), &handle.addrs());
    newcomer.connect(there).await.unwrap();
    assert!(knows(&newcomer, handle.peer_id()));
}

/// Until the other side has closed the connection, in whatever way.
async fn until_closed(stream: &mut TcpStream) {
    let mut sink = [0; 4096];
    while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
}

#[tokio::test]
async fn an_independent_client_is_offered_noise_and_nothing_in_the_clear() {
    let (_swarm, handle) = start(options()).await;
    let mut stream = TcpStream::connect(socket(&handle)).await.unwrap();
    stream
        .write_all(&message("/multistream/1.0.0"))
        .await
        .unwrap();
    expect(&mut stream, "/multistream/1.0.0").await;
    for refused in ["/plaintext/2.0.0", "/yamux/1.0.0", "/ipfs/id/1.0.0"] {
        stream.write_all(&message(refused)).await.unwrap();
        expect(&mut stream, "na").await;
    }
    stream.write_all(&message("/noise")).await.unwrap();
    expect(&mut stream, "/noise").await;
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_no_other() {
    let (_swarm, handle) = start(options()).await;
    let noise = [message("/multistream/1.0.0"), message("/noise")].concat();
    let openings: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0; 1000],
        &[0xff; 100_000],
        b"\x13/multistream/1.0.0\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &[&noise[..], &[0xff; 70_000]].concat(),
        &[&noise[..], &[0, 1, 0, 0, 32], &[7; 32]].concat(),
    ];
    for opening in openings {
        let mut stream = TcpStream::connect(socket(&handle)).await.unwrap();
        // The other side may close before it has read everything, which is its right.
        if stream.write_all(opening).await.is_ok() {
            let _ = stream.shutdown().await;
        }
        until_closed(&mut stream).await;
    }
    assert!(handle.peers().is_empty());
    assert_alive(&handle).await;
}

#[tokio::test]
async fn a_stranger_who_says_nothing_is_cut_off() {
    let (_swarm, handle) = start(Options {
        handshake_timeout: Duration::from_millis(100),
        ..options()
    })
    .await;
    let mut silent = TcpStream::connect(socket(&handle)).await.unwrap();
    let mut halfway = TcpStream::connect(socket(&handle)).await.unwrap();
    let opening = [message("/multistream/1.0.0"), message("/noise")].concat();
    halfway.write_all(&opening).await.unwrap();
    until_closed(&mut silent).await;
    until_closed(&mut halfway).await;
}

#[tokio::test]
async fn more_silent_strangers_than_the_limit_are_dropped_at_once() {
    let (_swarm, handle) = start(Options {
        limits: Limits {
            pending_inbound: 2,
            ..Limits::default()
        },
        // Nobody is cut off for being slow while this test runs.
        handshake_timeout: Duration::from_secs(3600),
        ..options()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(socket(&handle)).await.unwrap();
        stream
            .write_all(&message("/multistream/1.0.0"))
            .await
            .unwrap();
        expect(&mut stream, "/multistream/1.0.0").await;
        held.push(stream);
    }
    let mut third = TcpStream::connect(socket(&handle)).await.unwrap();
    until_closed(&mut third).await;

    drop(held);
    loop {
        let (_newcomer, newcomer) = start(options()).await;
        let there = target(handle.peer_id(), &handle.addrs());
        // The places become free when the swarm has noticed that the two are gone.
        if newcomer.connect(there).await.is_ok() {
            break;
        }
    }
}
