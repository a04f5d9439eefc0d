//! Asks for too much, in the way that its first argument names and as often as its second says. Prints how
//! the host took it.

use guests::report;
use guests::wire::{
    ATTENUATE, BOOTSTRAP, Cap, ECHO, EXECUTOR, Holdings, Outcome, PUMP, PUSH, READ, STDIN, STDOUT,
    WAIT, WATCH, Wire, set_data, set_into, set_max_bytes, set_narrowed,
};
use runtime::capnp::any_pointer;
use runtime::system_capnp::executor;

const KIB: usize = 1024;

fn main() {
    let (name, count) = (guests::arg(1, String::new()), guests::arg(2, 1000_u32));
    let mut wire = Wire::connect();
    let holdings = Holdings::take(&mut wire);
    let first = wire.question();
    act(&name, count, &mut wire, &holdings);
    let last = wire.question();
    // Before this has returned what returns at once.
    let answered = holdings.is_answered(&mut wire);
    let mut told = wire.tally(first + 1..=last - 1);
    (first..=last).for_each(|question| wire.finish(question));
    told["answered"] = answered.into();
    told["answered when all is finished"] = holdings.is_answered(&mut wire).into();
    report(&name, Ok::<_, String>(told));
}

fn act(name: &str, count: u32, wire: &mut Wire, holdings: &Holdings) {
    let idle = |wire: &mut Wire| holdings.spawn(wire, "/bin/idle.wasm", &["idle"], &[]);
    match name {
        "a chain of calls" | "a chain of calls, never read" => {
            // It does not return, and so neither does what is called on what it promises.
            let mut last = wire.call(holdings.membrane, WATCH, &[], |_| {});
            for _ in 0..count {
                last = wire.call(Cap::Answer(last), ECHO, &[], |_| {});
                if !name.ends_with("never read") {
                    wire.take_in();
                }
            }
        }
        // Each returns what the next is made on.
        "a chain of capabilities" => {
            let mut last = wire.call(holdings.host, EXECUTOR, &[], |_| {});
            for _ in 0..count {
                last = wire.call(Cap::Answer(last), ECHO, &[], |_| {});
                wire.take_in();
            }
        }
        "echoes, never read" => repeat(wire, count, |wire| {
            wire.call(holdings.executor, ECHO, &[], set_message(64 * KIB));
        }),
        "epochs that do not come" => repeat_reading(wire, count, |wire| {
            wire.call(holdings.membrane, WATCH, &[], |_| {});
        }),
        "exits that do not come" => {
            let child = idle(wire);
            repeat_reading(wire, count, |wire| {
                wire.call(child, WAIT, &[], |_| {});
            });
        }
        "bytes that do not come" => {
            let child = idle(wire);
            let stdout = wire.call(child, STDOUT, &[], |_| {});
            let stdout = wire.wait_for_cap(stdout, 0);
            repeat_reading(wire, count, |wire| {
                wire.call(stdout, READ, &[], set_max_bytes(1));
            });
        }
        "streams, never released" => {
            let child = idle(wire);
            keep(wire, count, |wire| wire.call(child, STDIN, &[], |_| {}));
        }
        "executors, never released" => keep(wire, count, |wire| {
            wire.call(holdings.host, EXECUTOR, &[], |_| {})
        }),
        "capabilities narrowed, never released" => keep(wire, count, |wire| {
            let cap = holdings.executor;
            wire.call(holdings.membrane, ATTENUATE, &[cap], set_narrowed)
        }),
        "exports of a child, never released" => {
            let child = idle(wire);
            keep(wire, count, |wire| wire.call(child, BOOTSTRAP, &[], |_| {}));
        }
        "programs, never released" => {
            keep(wire, count, |wire| holdings.load(wire, "/bin/idle.wasm"));
        }
        "children, never released" => {
            let load = holdings.load(wire, "/bin/idle.wasm");
            let program = wire.wait_for_cap(load, 0);
            keep(wire, count, |wire| {
                guests::wire::spawn(wire, program, &["idle"], &[])
            });
        }
        "children with grants, one after the other" => {
            let load = holdings.load(wire, "/bin/plain.wasm");
            let program = wire.wait_for_cap(load, 0);
            let grants: Vec<Cap> = (0..200).map(Cap::Own).collect();
            repeat(wire, count, |wire| {
                let spawn = guests::wire::spawn(wire, program, &["plain"], &grants);
                wire.wait_for(spawn);
                let ended = wire.call(Cap::Answer(spawn), WAIT, &[], |_| {});
                wire.wait_for(ended);
                wire.finish(spawn);
                wire.finish(ended);
            });
        }
        "pushes" => {
            let child = idle(wire);
            let stdin = wire.call(child, STDIN, &[], |_| {});
            let stdin = wire.wait_for_cap(stdin, 0);
            repeat(wire, count, |wire| {
                wire.call(stdin, PUSH, &[], set_data(3 * KIB * KIB));
            });
        }
        "a pump into itself" => {
            let child = idle(wire);
            let stdout = wire.call(child, STDOUT, &[], |_| {});
            wire.call(Cap::Answer(stdout), PUMP, &[Cap::Answer(stdout)], set_into);
            let pump = wire.question() - 1;
            wire.wait_for(pump);
        }
        "one argument, named again and again" => {
            let run_bytes = (ECHO.0, 0);
            wire.call_amplifying(holdings.executor, run_bytes, (1, count.into(), 5));
        }
        "large arguments, named again and again" => {
            let run_bytes = (ECHO.0, 0);
            wire.call_amplifying(holdings.executor, run_bytes, (1, count.into(), 4 << 20));
        }
        // What is passed on is copied.
        "lists for another cell, named again and again" => {
            let other = holdings.grants[0];
            for _ in 0..4 {
                wire.call_amplifying(other, ECHO, (0, count.into(), 64 << 10));
            }
            let last = wire.question() - 1;
            wire.wait_for(last);
        }
        "a large message" => {
            wire.call(holdings.executor, ECHO, &[], set_message(7 * KIB * KIB));
        }
        name => panic!("there is no flood {name:?}"),
    }
}

fn repeat(wire: &mut Wire, count: u32, mut call: impl FnMut(&mut Wire)) {
    for _ in 0..count {
        if wire.closed {
            return;
        }
        call(wire);
    }
}

fn repeat_reading(wire: &mut Wire, count: u32, mut call: impl FnMut(&mut Wire)) {
    repeat(wire, count, |wire| {
        call(wire);
        wire.take_in();
    });
}

/// Makes a call again and again; each is finished with, and its results are kept.
fn keep(wire: &mut Wire, count: u32, mut call: impl FnMut(&mut Wire) -> u32) {
    repeat(wire, count, |wire| {
        let question = call(wire);
        if let Some(Outcome::Results(_)) = wire.wait_for(question) {
            wire.finish_keeping(question, true);
        }
    });
}

fn set_message(bytes: usize) -> impl Fn(any_pointer::Builder<'_>) {
    move |params| {
        let params: executor::echo_params::Builder<'_> = params.init_as();
        params.init_message(bytes as u32);
    }
}
