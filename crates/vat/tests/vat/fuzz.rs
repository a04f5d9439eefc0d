//! Sessions of random messages, most of them meaningful: nothing panics, nothing is left.
//!
//! By default for twenty seconds. `VAT_FUZZ_SECONDS=n` is for longer, `VAT_FUZZ_SEED=n` begins with that
//! seed; a failure prints its seed and the messages of a short session that fails. The same sessions are run by coverage in `fuzz/`.

mod peer;
mod session;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::choices::{of_seed, shortest};

/// How long this goes on by default.
const SECONDS: u64 = 20;

/// Bytes of choices in the longest session.
const LENGTH: usize = 1500;

/// How often a session is run before it has to leave nothing: more often than a thread keeps buffers.
const RUNS_UNTIL_SETTLED: usize = 64;

/// How long one session may take. It takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(if cfg!(miri) { 600 } else { 20 });

/// Counts what each thread has allocated and not freed.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<i64> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() - 1));
        // SAFETY: as above; `place` came from the system.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn no_session_leaves_anything_behind() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seconds = number("VAT_FUZZ_SECONDS").unwrap_or(SECONDS);
    let first = number("VAT_FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().subsec_nanos().into()
    });
    println!("sessions from seed {first}");
    let watched = watch();
    let begun = Instant::now();
    let (mut sessions, mut messages) = (0, 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let seed = first.wrapping_add(sessions);
        watched.store(seed.wrapping_add(1), Ordering::Relaxed);
        let bytes = of_seed(seed, 100 + (seed as usize).wrapping_mul(71) % LENGTH);
        match run(&bytes) {
            Ok(count) => messages += count,
            Err(failure) => {
                println!("seed {seed}: {failure}");
                watched.store(0, Ordering::Relaxed);
                let bytes = shortest(bytes, |bytes| fails(bytes, false).is_some());
                let failure = fails(&bytes, true);
                panic!("seed {seed}: {failure:?}: {bytes:?}");
            }
        }
        sessions += 1;
    }
    watched.store(0, Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{sessions} sessions, {messages} messages, {seconds:.1} s");
}

/// Runs one session; how many messages were sent, or how it failed.
fn run(bytes: &[u8]) -> Result<usize, String> {
    let run = || {
        let ran = catch_unwind(AssertUnwindSafe(|| session::run(bytes)));
        ran.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            text.unwrap_or_default()
        })
    };
    let mut before = ALLOCATED.get();
    let messages = run()?;
    // Buffers are kept, some more by each run until there are as many as are kept at all, and tables have grown; but a
    // session that is run again and again comes to add nothing to that.
    for _ in 0..RUNS_UNTIL_SETTLED {
        let now = ALLOCATED.get();
        if now <= before {
            return Ok(messages);
        }
        before = now;
        run()?;
    }
    match ALLOCATED.get() > before {
        true => Err("allocations are left of each run".into()),
        false => Ok(messages),
    }
}

/// How a session fails on a thread, and so a vat, of its own.
fn fails(bytes: &[u8], traced: bool) -> Option<String> {
    let bytes = bytes.to_vec();
    let ran = std::thread::spawn(move || {
        let failure = run(&bytes).err()?;
        if traced {
            peer::TRACED.set(true);
            let _ = run(&bytes);
        }
        Some(failure)
    });
    ran.join().unwrap_or_else(|_| Some("a panic".into()))
}

/// Ends the process, and names the seed, when one session takes too long.
fn watch() -> &'static AtomicU64 {
    static SEED: AtomicU64 = AtomicU64::new(0);
    std::thread::spawn(|| {
        let mut before = 0;
        loop {
            std::thread::sleep(PATIENCE);
            let now = SEED.load(Ordering::Relaxed);
            if now != 0 && now == before {
                eprintln!("seed {} does not end", now.wrapping_sub(1));
                std::process::abort();
            }
            before = now;
        }
    });
    &SEED
}
