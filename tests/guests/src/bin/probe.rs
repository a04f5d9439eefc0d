//! Tries each authority that there is, and prints one line of JSON for each attempt.
//!
//! | `probe …` | tries |
//! |---|---|
//! | `[ADDRESS [PATH…]]` | everything, as the cell that it is; to connect to the address, to use the paths |
//! | `forgeries` | references that it does not hold, each from a cell of its own that holds nothing |
//! | `revocation` | all that it holds, from a cell that loses it half-way |
//!
//! `child`, `forge` and `held` are what it runs itself with. After everything it ends with the code 3.

use guests::{contract, probe};

/// What a program that has tried everything ends with: not what any program would.
const CODE: u8 = 3;

fn main() {
    let mode = guests::arg(1, String::new());
    match mode.as_str() {
        contract::CHILD => contract::child(),
        probe::forgeries::FORGE => probe::forgeries::forge(&guests::arg(2, String::new())),
        probe::revocation::HELD => {
            runtime::run(async |session| probe::revocation::held(&session).await)
        }
        "forgeries" => runtime::run(async |session| probe::forgeries::all(&session).await),
        "revocation" => runtime::run(async |session| probe::revocation::revoke(&session).await),
        _ => everything(),
    }
}

fn everything() {
    let paths: Vec<String> = std::env::args().skip(2).collect();
    probe::surroundings::run();
    probe::files::run(&paths);
    probe::network::run(&guests::arg(1, "127.0.0.1:80".to_owned()));
    runtime::run(async |session| {
        probe::conversation::run();
        probe::calls::names(&session);
        probe::calls::Calls::new(&session, "").run().await;
        Ok(())
    });
    probe::tell::<_, String>("its end", "end with a code of its own", Ok(CODE));
    runtime::exit(CODE);
}
