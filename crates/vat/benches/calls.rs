//! What a call costs, beside the same call by `capnp-rpc`: time, allocations and, where Valgrind is
//! installed, instructions. `cargo bench --package vat --bench calls`; a word picks rows.
//!
//! The rows that are compared take turns, because machines change their speed while they are measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
#[path = "../tests/vat/lab_capnp.rs"]
mod lab_capnp;
#[allow(dead_code)]
#[path = "../tests/vat/lab.rs"]
mod lab;
#[path = "calls/measure.rs"]
mod measure;
#[path = "calls/parties.rs"]
mod parties;
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
#[path = "../src/rpc_capnp.rs"]
mod rpc_capnp;

use std::time::Duration;

use measure::{Counting, Row, instructions, measure};
use parties::{Party, idle_bytes, parties};

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let wanted = arguments.next();
    if wanted.as_deref() == Some("--calls") {
        let name = arguments.next().unwrap();
        let calls = arguments.next().unwrap().parse().unwrap();
        let mut party = parties().into_iter().find(|party| party.name == name);
        return party.as_mut().unwrap().run(calls);
    }
    let mut parties: Vec<Party> = parties()
        .into_iter()
        .filter(|party| wanted.as_ref().is_none_or(|word| party.name.contains(word)))
        .collect();
    println!(
        "{:<44} {:>10} {:>10} {:>7} {:>9} {:>12} {:>8}",
        "row", "median", "p99", "ratio", "GB/s", "instructions", "allocs"
    );
    let rows = measure(&mut parties);
    for (row, party) in rows.iter().zip(&parties) {
        let peer = party
            .peer
            .and_then(|peer| parties.iter().position(|party| party.name == peer))
            .map(|peer| rows[peer].median);
        print(row, party, peer);
    }
    println!("\na connection that idles holds {} bytes", idle_bytes());
}

fn print(row: &Row, party: &Party, peer: Option<Duration>) {
    let ratio = peer.map_or(String::new(), |peer| {
        format!("{:.2}", row.median.as_secs_f64() / peer.as_secs_f64())
    });
    let rate = match party.bytes {
        0 => String::new(),
        bytes => format!("{:.1}", bytes as f64 / row.median.as_secs_f64() / 1e9),
    };
    let instructions = instructions(party.name).map_or("-".into(), |count| count.to_string());
    println!(
        "{:<44} {:>7.2} µs {:>7.2} µs {:>7} {:>9} {:>12} {:>8.1}",
        party.name,
        row.median.as_secs_f64() * 1e6,
        row.p99.as_secs_f64() * 1e6,
        ratio,
        rate,
        instructions,
        row.allocations,
    );
}
