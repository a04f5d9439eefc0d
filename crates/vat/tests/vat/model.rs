//! Random histories of well-behaved parties, compared with a small model: which objects are alive, in
//! which order calls arrive, what each call returns.
//!
//! By default as many as fit in half a minute. `VAT_MODEL_HISTORIES=n` runs so many, whatever it takes;
//! `VAT_MODEL_SEED=n` begins with that seed; a failure prints its seed and a short history that fails.

mod history;
mod reference;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use crate::choices::{self, Choices, of_seed};

/// How long this goes on by default.
const TIME: Duration = Duration::from_secs(30);

/// Bytes of choices in a history.
const LENGTH: usize = 400;

/// Seeds that have failed: a return that came before its question was dropped, results kept twice, calls
/// reflected by their receiver, by its tail call, overtaken as they were resumed; a call that nobody
/// cancelled; a call that was answered twice; calls overtaken when a promise became a promise, and then ours.
const ONCE_FAILED: [u64; 8] = [9, 20, 270, 1832, 3448, 7325, 1_000_897, 1_010_386];

#[test]
fn random_histories_agree_with_the_model() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let histories = number("VAT_MODEL_HISTORIES");
    let first = number("VAT_MODEL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().subsec_nanos().into()
    });
    println!("histories from seed {first}");
    let begun = Instant::now();
    let (mut done, mut messages) = (0, 0);
    let more = |done: u64| match histories {
        Some(histories) => done < histories,
        None => begun.elapsed() < TIME,
    };
    while more(done) {
        let known = usize::try_from(done).unwrap_or(usize::MAX);
        let known = ONCE_FAILED.get(known).copied();
        let seed = known.unwrap_or_else(|| first.wrapping_add(done));
        let length = LENGTH / 8 + (seed as usize).wrapping_mul(37) % LENGTH;
        let bytes = of_seed(seed, length);
        match run(&bytes) {
            Ok(count) => messages += count,
            Err((failure, _)) => {
                println!("seed {seed}: {failure}");
                let (failure, log) = shortest(bytes);
                panic!("seed {seed}: {failure}\n{log}");
            }
        }
        done += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{done} histories, {messages} messages, {seconds:.1} s");
}

/// Runs a history; how many messages it took, or how it failed and what was done.
fn run(bytes: &[u8]) -> Result<usize, (String, String)> {
    let mut log = String::new();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        history::run(&mut Choices::new(bytes), &mut log)
    }));
    match ran {
        Ok(Ok(messages)) => Ok(messages),
        Ok(Err(failure)) => Err((failure, log)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            Err((text.unwrap_or_default(), log))
        }
    }
}

/// Leaves out what is not needed to fail. Each try has a thread, and so a vat, of its own.
fn shortest(bytes: Vec<u8>) -> (String, String) {
    let fails = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        let ran = std::thread::spawn(move || run(&bytes).err());
        ran.join().unwrap_or(None)
    };
    let bytes = choices::shortest(bytes, |bytes| fails(bytes).is_some());
    fails(&bytes).unwrap_or_else(|| ("does not fail alone".into(), String::new()))
}
