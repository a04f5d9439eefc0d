//! Calls each method of each interface with parameters of each shape that no schema has, or (`unknown`)
//! methods and interfaces that there are none of. Prints how that went, for each capability.

use guests::report;
use guests::wire::{Cap, Held, Holdings, SHAPES, Wire};

/// Published, and served by nobody here: `Persistent`.
const PERSISTENT: u64 = 0xc8cb_212f_cd9f_5691;

fn main() {
    let mut wire = Wire::connect();
    let holdings = Holdings::take(&mut wire);
    let held = holdings.each(&mut wire);
    for target in &held {
        let first = wire.question();
        match guests::arg(1, String::new()).as_str() {
            "unknown" => unknown(&mut wire, &held, target),
            _ => shapes(&mut wire, target),
        }
        let last = wire.question();
        // What has not returned by now waits for something.
        if !holdings.is_answered(&mut wire) {
            return report(target.name, Err::<(), _>(wire.tally(first..=last)));
        }
        report(
            target.name,
            Ok::<_, String>(wire.tally(first + 1..=last - 1)),
        );
        (first..=last).for_each(|question| wire.finish(question));
    }
    report("answered", Ok::<_, String>(holdings.is_answered(&mut wire)));
}

fn shapes(wire: &mut Wire, target: &Held) {
    for method in 0..target.methods() {
        for shape in SHAPES {
            wire.call_shaped(target.cap, (target.interface, method), *shape);
            wire.take_in();
        }
    }
}

fn unknown(wire: &mut Wire, held: &[Held], target: &Held) {
    let call = |wire: &mut Wire, interface, method| {
        wire.call(target.cap, (interface, method), &[Cap::Null], |_| {});
    };
    for method in [target.methods(), target.methods() + 1, u16::MAX] {
        call(wire, target.interface, method);
    }
    for interface in [0, 1, u64::MAX, PERSISTENT] {
        for method in [0, 1, u16::MAX] {
            call(wire, interface, method);
        }
    }
    for other in held
        .iter()
        .filter(|other| other.interface != target.interface)
    {
        call(wire, other.interface, 0);
    }
}
