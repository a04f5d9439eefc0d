//! What a membrane costs: time and allocations of a call, bare and through one, and what it takes to
//! revoke many. `cargo bench --package membrane`; a word picks rows.
//!
//! The rows that are compared take turns, because machines change their speed while they are measured.
//! `--calls NAME N` only makes so many calls of one row, for a profiler.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "membrane/measure.rs"]
mod measure;
#[path = "../tests/membrane/node_capnp.rs"]
#[allow(
    dead_code,
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
#[rustfmt::skip]
mod node_capnp;
#[path = "membrane/parties.rs"]
mod parties;

use measure::{Counting, Row, measure};
use parties::{Party, parties, revoke_sessions};

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
        "{:<52} {:>9} {:>9} {:>9} {:>7} {:>8}",
        "row", "median", "p99", "added", "ratio", "allocs"
    );
    let rows = measure(&mut parties);
    for (row, party) in rows.iter().zip(&parties) {
        let bare = party
            .bare
            .and_then(|bare| parties.iter().position(|party| party.name == bare))
            .map(|bare| &rows[bare]);
        print(row, party, bare);
    }
    if wanted.is_none_or(|word| "revoke".contains(&word)) {
        let (sessions, references, took) = revoke_sessions();
        println!(
            "\n{sessions} sessions of {references} references and a call under way, revoked in {:.2} ms",
            took.as_secs_f64() * 1e3
        );
    }
}

fn print(row: &Row, party: &Party, bare: Option<&Row>) {
    let (added, ratio) = bare.map_or_else(Default::default, |bare| {
        let added = row.median.as_secs_f64() - bare.median.as_secs_f64();
        let ratio = row.median.as_secs_f64() / bare.median.as_secs_f64();
        (format!("{:.0} ns", added * 1e9), format!("{ratio:.2}"))
    });
    println!(
        "{:<52} {:>6.0} ns {:>6.0} ns {:>9} {:>7} {:>8.1}",
        party.name,
        row.median.as_secs_f64() * 1e9,
        row.p99.as_secs_f64() * 1e9,
        added,
        ratio,
        row.allocations,
    );
}
