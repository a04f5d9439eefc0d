//! Gives the host promises, and resolves them in the way that its first argument names. Prints how what was
//! to wait for them went.

use guests::report;
use guests::wire::{
    BOOTSTRAP, CLOSE, Cap, ECHO, GRAFT, Holdings, ID, PUMP, READ, STDIN, STDOUT, WAIT, WRITE, Wire,
    next, set_data, set_into, set_max_bytes, spawn,
};
use runtime::capnp::capability::FromClientHook as _;
use runtime::stem_capnp::{membrane, signer};

/// Promises in one message: as many as a call may have.
const PROMISES: u32 = 250;

/// The host's numbers of the calls that a pump makes are not the guest's: its promises have large ones.
const FIRST: u32 = 1000;

fn main() {
    let name = guests::arg(1, String::new());
    let mut wire = Wire::connect();
    let holdings = Holdings::take(&mut wire);
    let first = wire.question();
    act(&name, &mut wire, &holdings);
    // Behind this is all that was to come.
    let answered = holdings.is_answered(&mut wire);
    let last = wire.question();
    let mut told = wire.tally(first + 1..=last - 1);
    told["answered"] = answered.into();
    told["called"] = wire.calls.len().into();
    report(&name, Ok::<_, String>(told));
}

fn act(name: &str, wire: &mut Wire, holdings: &Holdings) {
    match name {
        "to itself" => pump_to_end(wire, holdings, Cap::Promise(FIRST)),
        "to the host's own" => pump_to_end(wire, holdings, holdings.executor),
        "to nothing" => pump_to_end(wire, holdings, Cap::Null),
        // It waits for itself until it is given up.
        "to what the waiting call promises" => {
            let pump = pump(wire, holdings, Cap::Answer);
            wire.finish(pump);
            wire.wait_for(pump);
        }
        "to another promise" => pump_to_end(wire, holdings, Cap::Promise(FIRST + 1)),
        // A child exports what it was granted, and that resolves to what the child exports.
        "in a circle through another cell" => {
            let grant = [Cap::Promise(FIRST)];
            let child = holdings.spawn(wire, "/bin/reflects.wasm", &["reflects"], &grant);
            let exports = wire.call(child, BOOTSTRAP, &[], |_| {});
            let before = wire.call(Cap::Answer(exports), ECHO, &[], |_| {});
            wire.wait(|wire| !wire.calls.is_empty());
            wire.resolve(FIRST, Cap::Answer(exports));
            let after = wire.call(Cap::Answer(exports), ECHO, &[], |_| {});
            wire.wait(|wire| {
                return_all(wire);
                wire.lift_embargoes();
                let is_done = |call| wire.returned.contains_key(call);
                [before, after].iter().all(is_done)
            });
        }
        "in a circle through two cells" => {
            let (one, two) = ([Cap::Promise(FIRST)], [Cap::Promise(FIRST + 1)]);
            let one = holdings.spawn(wire, "/bin/reflects.wasm", &["reflects"], &one);
            let two = holdings.spawn(wire, "/bin/reflects.wasm", &["reflects"], &two);
            let one = wire.call(one, BOOTSTRAP, &[], |_| {});
            let two = wire.call(two, BOOTSTRAP, &[], |_| {});
            wire.wait_for(one);
            wire.wait_for(two);
            wire.resolve(FIRST, Cap::Answer(two));
            wire.resolve(FIRST + 1, Cap::Answer(one));
            let calls = [one, two].map(|to| wire.call(Cap::Answer(to), ECHO, &[], |_| {}));
            wire.wait(|wire| {
                return_all(wire);
                wire.lift_embargoes();
                calls.iter().all(|call| wire.returned.contains_key(call))
            });
        }
        "in a ring of two" => ring(wire, holdings, 2),
        "in a ring of many" => ring(wire, holdings, PROMISES),
        "in rings through several children" => {
            for _ in 0..3 {
                ring(wire, holdings, PROMISES);
            }
        }
        "in a long chain" => {
            let child = held_by_child(wire, holdings, PROMISES);
            for link in 0..PROMISES - 1 {
                wire.resolve(FIRST + link, Cap::Promise(FIRST + link + 1));
            }
            wire.resolve(FIRST + PROMISES - 1, holdings.executor);
            until_ended(wire, child);
        }
        // What is promised by a call is given away before there is anything.
        "a grant that a call promises" => {
            let program = load(wire, holdings, "/bin/calls_grant.wasm");
            let executor = wire.call(holdings.host, (ID.0, 4), &[], |_| {});
            let child = spawn(wire, program, &["calls_grant"], &[Cap::Answer(executor)]);
            tell(wire, child);
        }
        "a grant that a call breaks" => {
            let program = load(wire, holdings, "/bin/calls_grant.wasm");
            let broken = holdings.load(wire, "/bin/absent.wasm");
            let child = spawn(wire, program, &["calls_grant"], &[Cap::Answer(broken)]);
            tell(wire, child);
        }
        "a grant that is what it will be granted to" => {
            let program = load(wire, holdings, "/bin/calls_grant.wasm");
            let own = wire.question() + 1;
            let child = spawn(wire, program, &["calls_grant"], &[Cap::Answer(own)]);
            tell(wire, child);
        }
        "a grant that is not there" => {
            let program = load(wire, holdings, "/bin/calls_grant.wasm");
            let child = spawn(wire, program, &["calls_grant"], &[Cap::Null]);
            tell(wire, child);
        }
        "a signer that a call promises" => {
            let load = holdings.load(wire, "/bin/idle.wasm");
            let graft = wire.call(holdings.membrane, GRAFT, &[Cap::Answer(load)], |params| {
                let mut params: membrane::graft_params::Builder<'_> = params.init_as();
                params.set_signer(signer::Client::new(next().client.hook));
            });
            wire.wait_for(graft);
        }
        // It waits for a child's exports, which come from elsewhere.
        "calls on what a child promises" => {
            let child = holdings.spawn(wire, "/bin/serves.wasm", &["serves"], &[]);
            let exports = wire.call(child, BOOTSTRAP, &[], |_| {});
            let mut last = 0;
            for _ in 0..500 {
                last = wire.call(Cap::Answer(exports), ECHO, &[], |_| {});
            }
            wire.wait_for(last);
        }
        name => panic!("there is no promise {name:?}"),
    }
}

fn load(wire: &mut Wire, holdings: &Holdings, path: &str) -> Cap {
    let load = holdings.load(wire, path);
    wire.wait_for_cap(load, 0)
}

/// Has the host push what a child prints into a promise, lets that resolve, and has the host push more.
fn pump(wire: &mut Wire, holdings: &Holdings, to: impl FnOnce(u32) -> Cap) -> u32 {
    let child = holdings.spawn(wire, "/bin/echo.wasm", &["echo"], &[]);
    let stdin = wire.call(child, STDIN, &[], |_| {});
    let stdout = wire.call(child, STDOUT, &[], |_| {});
    let into = [Cap::Promise(FIRST)];
    let pump = wire.call(Cap::Answer(stdout), PUMP, &into, set_into);
    wire.call(Cap::Answer(stdin), WRITE, &[], set_data(10));
    wire.wait(|wire| !wire.calls.is_empty());
    wire.resolve(FIRST, to(pump));
    // What was on its way comes back, and then what says that it was the last.
    return_all(wire);
    wire.lift_embargoes();
    wire.call(Cap::Answer(stdin), WRITE, &[], set_data(10));
    wire.call(Cap::Answer(stdin), CLOSE, &[], |_| {});
    pump
}

/// As [`pump`]; waits until there is no more to push.
fn pump_to_end(wire: &mut Wire, holdings: &Holdings, to: Cap) {
    let pump = pump(wire, holdings, |_| to);
    wire.wait(|wire| {
        return_all(wire);
        wire.lift_embargoes();
        wire.returned.contains_key(&pump)
    });
}

/// Returns from all calls that the host has made.
fn return_all(wire: &mut Wire) {
    while let Some(call) = wire.calls.pop_front() {
        wire.return_nothing(call.question);
    }
}

/// Returns from whatever the host calls, until a child has ended.
fn until_ended(wire: &mut Wire, child: Cap) {
    let ended = wire.call(child, WAIT, &[], |_| {});
    wire.wait(|wire| {
        return_all(wire);
        wire.lift_embargoes();
        wire.returned.contains_key(&ended)
    });
}

/// A child that holds so many promises, and calls the first of them.
fn held_by_child(wire: &mut Wire, holdings: &Holdings, count: u32) -> Cap {
    let promises: Vec<Cap> = (0..count)
        .map(|index| Cap::Promise(FIRST + index))
        .collect();
    let child = holdings.spawn(wire, "/bin/calls_grant.wasm", &["calls_grant"], &promises);
    // It calls; what it is answered waits for the promise.
    wire.wait(|wire| !wire.calls.is_empty());
    child
}

fn ring(wire: &mut Wire, holdings: &Holdings, count: u32) {
    let child = held_by_child(wire, holdings, count);

    for link in 0..count {
        wire.resolve(FIRST + link, Cap::Promise(FIRST + (link + 1) % count));
    }
    until_ended(wire, child);
}

/// Waits for a child to end, and prints what it said.
fn tell(wire: &mut Wire, spawned: u32) {
    let stdout = wire.call(Cap::Answer(spawned), STDOUT, &[], |_| {});
    let read = wire.call(Cap::Answer(stdout), READ, &[], set_max_bytes(1000));
    wire.wait_for(read);
    println!("{}", wire.data(read));
    let ended = wire.call(Cap::Answer(spawned), WAIT, &[], |_| {});
    wire.wait_for(ended);
}
