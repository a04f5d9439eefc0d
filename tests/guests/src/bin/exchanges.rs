//! One of two cells that call each other, more than there is room for, and read nothing until both have.
//!
//! Without an argument it runs both, and prints what they say. The `first` exports a stream, and learns of the other's from the first call on it. The other was granted that
//! stream, and gives its own with the first call.

use guests::report;
use guests::wire::{
    BOOTSTRAP, Cap, Holdings, PUMP, READ, STDOUT, WRITE, Wire, set_data, set_into, set_max_bytes,
};

/// Each message is a large part of what may be under way.
const BYTES: usize = 3 << 20;
const MESSAGES: u32 = 8;

/// The guest's own stream.
const OWN: Cap = Cap::Own(1);

fn main() {
    let mut wire = Wire::connect();
    match guests::arg(1, String::new()).as_str() {
        "first" => exchange(&mut wire, true),
        "second" => exchange(&mut wire, false),
        _ => run_both(&mut wire),
    }
}

fn run_both(wire: &mut Wire) {
    let holdings = Holdings::take(wire);
    let path = "/bin/exchanges.wasm";
    let first = holdings.spawn(wire, path, &[path, "first"], &[]);
    let exports = wire.call(first, BOOTSTRAP, &[], |_| {});
    let second = holdings.spawn(wire, path, &[path, "second"], &[Cap::Answer(exports)]);
    for child in [second, first] {
        let stdout = wire.call(child, STDOUT, &[], |_| {});
        let read = wire.call(Cap::Answer(stdout), READ, &[], set_max_bytes(10_000));
        wire.wait_for(read);
        print!("{}", wire.data(read));
    }
    report("answered", Ok::<_, String>(holdings.is_answered(wire)));
}

fn exchange(wire: &mut Wire, is_first: bool) {
    let other = if is_first {
        wire.wait(|wire| !wire.bootstraps.is_empty());
        let question = wire.bootstraps[0];
        wire.return_cap(question, OWN);
        wire.wait(|wire| !wire.calls.is_empty());
        Cap::Host(wire.calls[0].caps[0])
    } else {
        let other = Holdings::first_grant(wire);
        wire.call(other, PUMP, &[OWN], set_into);
        other
    };
    let first = wire.question();
    for _ in 0..MESSAGES {
        wire.call(other, WRITE, &[], set_data(BYTES));
    }
    let last = wire.question();
    let mut taken = 0;
    wire.wait(|wire| {
        while let Some(call) = wire.calls.pop_front() {
            taken += u32::from(call.method == WRITE.1);
            wire.return_nothing(call.question);
        }
        (first + 1..last).all(|question| wire.returned.contains_key(&question))
    });
    let mut told = wire.tally(first + 1..=last - 1);
    told["taken"] = taken.into();
    report("exchange", Ok::<_, String>(told));
    if is_first {
        // The other may still wait for something.
        wire.wait(|wire| {
            while let Some(call) = wire.calls.pop_front() {
                wire.return_nothing(call.question);
            }
            false
        });
    }
}
