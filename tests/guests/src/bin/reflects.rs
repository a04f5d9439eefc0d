//! Exports its first grant.

use guests::wire::{Holdings, Wire};

fn main() {
    let mut wire = Wire::connect();
    let granted = Holdings::first_grant(&mut wire);
    wire.wait(|wire| {
        while let Some(question) = wire.bootstraps.pop_front() {
            wire.return_cap(question, granted);
        }
        false
    });
}
