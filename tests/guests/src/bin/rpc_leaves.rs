//! Leaves with thousands of calls under way, in the way that its first argument names: `hang-up` (and then
//! exits with 0), `exit`, `trap`, or `stay` until it is killed.

use guests::wire::{Cap, Holdings, PUMP, READ, STDOUT, WAIT, WATCH, Wire, set_into, set_max_bytes};

fn main() {
    let mut wire = Wire::connect();
    let holdings = Holdings::take(&mut wire);
    let child = holdings.spawn(&mut wire, "/bin/idle.wasm", &["idle"], &[]);
    let stdout = wire.call(child, STDOUT, &[], |_| {});
    // The host calls it, and is not answered.
    wire.call(Cap::Answer(stdout), PUMP, &[Cap::Promise(1)], set_into);
    for _ in 0..600 {
        wire.call(child, WAIT, &[], |_| {});
        wire.call(holdings.membrane, WATCH, &[], |_| {});
        wire.call(Cap::Answer(stdout), READ, &[], set_max_bytes(1));
        let load = holdings.load(&mut wire, "/bin/idle.wasm");
        wire.call(Cap::Answer(load), WAIT, &[Cap::Answer(load)], |_| {});
    }
    println!("under way");
    match guests::arg(1, String::new()).as_str() {
        "hang-up" => wire.hang_up(),
        "exit" => runtime::exit(3),
        "trap" => std::process::abort(),
        _ => {
            wire.wait(|_| false);
            loop {
                std::thread::sleep(std::time::Duration::from_secs(3600));
            }
        }
    }
}
