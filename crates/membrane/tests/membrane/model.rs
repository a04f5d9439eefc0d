//! Random histories of calls, passing, promises and revocations, compared with a pure model of who may
//! reach what; on objects of `capnp-rpc` and of `vat`.
//!
//! By default as many as fit in a few seconds. `MEMBRANE_MODEL_HISTORIES=n` runs so many with each
//! engine, whatever it takes; `MEMBRANE_MODEL_SEED=n` begins with that seed. A failure prints its seed and
//! a short history that fails.

mod driver;
mod reference;
mod steps;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use driver::run;
use steps::Step;
use world::Engine;

/// How long this goes on by default, with each engine.
const TIME: Duration = Duration::from_secs(5);

/// Steps of the longest history.
const LENGTH: u64 = 120;

#[test]
fn random_histories_agree_with_the_model_on_vat() {
    histories(Engine::Vat);
}

#[test]
fn random_histories_agree_with_the_model_on_capnp_rpc() {
    histories(Engine::CapnpRpc);
}

fn histories(engine: Engine) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let histories = number("MEMBRANE_MODEL_HISTORIES");
    let first = number("MEMBRANE_MODEL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().subsec_nanos().into()
    });
    println!("histories from seed {first}");
    let begun = Instant::now();
    let mut done = 0;
    let (mut calls, mut cut) = (0, 0);
    let more = |done: u64| match histories {
        Some(histories) => done < histories,
        None => begun.elapsed() < TIME,
    };
    while more(done) {
        let seed = first.wrapping_add(done);
        let mut steps = of_seed(seed);
        match outcome(engine, &steps) {
            Ok(tally) => {
                calls += tally.calls;
                cut += tally.cut;
            }
            Err(failure) => {
                println!("seed {seed}: {failure}");
                let failure = shorten(engine, &mut steps);
                let log: String = steps.iter().map(|step| format!("{step:?}\n")).collect();
                panic!("seed {seed}: {failure}\n{log}");
            }
        }
        done += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{done} histories, {calls} calls, {cut} of them cut by revocation, {seconds:.1} s");
    assert!(
        cut > 0 || done < 10,
        "no history revoked anything that was under way"
    );
}

/// Runs a history on a thread of its own: a vat is what is on a thread.
fn outcome(engine: Engine, steps: &[Step]) -> Result<driver::Tally, String> {
    let steps = steps.to_vec();
    let ran = std::thread::spawn(move || {
        catch_unwind(AssertUnwindSafe(|| run(engine, &steps))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            Err(text.unwrap_or_default())
        })
    });
    ran.join().unwrap()
}

/// Leaves out steps without which it fails too. How it fails then.
fn shorten(engine: Engine, steps: &mut Vec<Step>) -> String {
    let mut failure = String::new();
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + size).min(steps.len()));
            match outcome(engine, &fewer) {
                Err(text) => (*steps, failure) = (fewer, text),
                Ok(_) => start += size,
            }
        }
        size /= 2;
    }
    failure
}

/// The steps that a seed stands for.
fn of_seed(seed: u64) -> Vec<Step> {
    let mut state = seed;
    let mut next = move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let length = LENGTH / 8 + next() % LENGTH;
    (0..length)
        .map(|_| Step::of(next(), next() as usize))
        .collect()
}
