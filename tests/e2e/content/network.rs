//! Peers, where content is, and messages between cells.

use fixtures::guests;
use serde_json::{Value, json};

use super::{NOBODYS, Shelf, hex, refused};
use crate::{Stage, json as lines};

// Row 88: Swarm and Routing, with a second node as the peer.
#[test]
fn peers_are_connected_to_and_found() {
    let elsewhere = Stage::new(guests::IDLE);
    let mut other = elsewhere.start(&[]);
    let line = other.stderr_line("listening");
    other.stdout_line("idle");
    let word = |start: &str| {
        let (_, rest) = line.split_once(start).unwrap();
        rest.split([' ', ',', ']']).next().unwrap().to_owned()
    };
    let peer: swarm::PeerId = word("peer_id=").parse().unwrap();
    let addr: swarm::Multiaddr = word("addrs=[").parse().unwrap();
    let text = |bytes: &[u8]| -> String { bytes.iter().map(hex).collect() };
    let (peer, addr) = (text(&peer.to_bytes()), text(addr.as_ref()));

    let tried = Shelf::new().play(&["network", &peer, &addr]);
    assert_eq!(tried.ok("no peers yet"), &json!([]));
    refused(&tried, "find before", &["findPeer", "connect to it first"]);
    tried.ok("connect");
    assert_eq!(tried.ok("peers")[0][0], peer.as_str());
    assert_eq!(tried.ok("find"), &json!([peer, true]));
    refused(&tried, "connect to nobody", &["connect: "]);
    assert_eq!(tried.ok("localAddrs"), true);
    // This node has it, and can be reached.
    let providers = tried.ok("providers").as_array().unwrap();
    assert_eq!(providers.len(), 1);
    assert_eq!(providers[0][1], true);
    assert_ne!(providers[0][0], peer.as_str());
    tried.ok("provide");
    refused(&tried, "provide nothing", &[NOBODYS]);
    refused(&tried, "providers of nothing", &["findProviders: "]);
}

// Row 88: PubSub.
#[test]
fn a_slow_subscriber_loses_the_oldest_messages_and_is_told_how_many() {
    let told = lines(&Shelf::new().run(&["topics"]).stdout());
    let handled: Vec<&Value> = told.iter().filter(|line| line["topic"] == "slow").collect();
    assert_eq!(handled[0]["data"], "0");
    assert_eq!(handled[0]["dropped"], 0);
    assert!(!handled[0]["from"].as_str().unwrap().is_empty());
    // Of the ninety-nine that came meanwhile the last thirty-two are kept.
    let number = |line: &Value| line["data"].as_str().unwrap().parse::<u64>().unwrap();
    let numbers: Vec<u64> = handled[1..].iter().map(|line| number(line)).collect();
    assert_eq!(numbers, (68..100).collect::<Vec<_>>());
    assert_eq!(handled[1]["dropped"], 67);
    assert!(handled[2..].iter().all(|line| line["dropped"] == 0));

    let tried = crate::Attempts(told.clone());
    assert_eq!(tried.ok("topics of the child"), 2);
    assert_eq!(tried.ok("child"), 0);
    refused(&tried, "publish 64 KiB and 1", &["65537", "65536", "CID"]);
    refused(&tried, "publish without a topic", &["topic"]);
    assert_eq!(tried.ok("subscriptions"), 16);
    refused(&tried, "one more", &["limit: subscriptions", "16"]);
    assert_eq!(tried.ok("topics"), 16);
    assert_eq!(tried.ok("topics after"), 1);
}
