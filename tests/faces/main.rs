//! Every method of every capability that a host serves, called by hostile clients with anything: nothing
//! panics, nothing hangs, and nothing is left when they have gone.
//!
//! A session is some clients with what a cell has, on real parts in this process: an engine, vats, a
//! swarm, an image, guests. They call whatever they can get hold of, with parameters made after the
//! schema (see [`values`]), lend each other what they have and objects of their own (see [`servers`]), give up
//! half-way, and lose their epoch. Protocol messages themselves are the vat crate's to fuzz.
//!
//! By default for twenty seconds. `FACES_FUZZ_SECONDS=n` is for longer, `FACES_FUZZ_SEED=n` begins with that seed; a
//! failure prints its seed. What other threads do has its own order, so that a seed may need some runs to fail again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[allow(dead_code)]
#[path = "../../crates/vat/tests/vat/choices.rs"]
mod choices;
mod client;
mod content;
mod contract;
mod footprint;
mod raw;
mod report;
mod servers;
mod session;
mod values;
mod wire;
mod world;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::LocalSet;

use crate::choices::of_seed;
use crate::footprint::Footprint;
use crate::report::Report;
use crate::world::World;

/// How long this goes on by default.
const SECONDS: u64 = 20;

/// How long it goes on at most until every method has been answered and refused, on a machine that is slow.
const LONGEST: Duration = Duration::from_secs(180);

/// Bytes of choices in the longest session.
const LENGTH: usize = 8000;

/// How long one session may take. It takes some hundred milliseconds, and longer when it compiles.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sessions after which what the process takes is taken as usual: code is compiled, pools are filled.
const WARM: u64 = 20;

/// What the process may take more than it did then: threads for what blocks come and go, and so do connections
/// to the peer; each component whose code is kept has a file in memory.
const SPARE: Footprint = Footprint {
    descriptors: 64,
    threads: 24 + BLOCKING as u64,
    rss_kib: 384 << 10,
};

/// Threads for what blocks: as many as have a place on the node, and some for cells.
const BLOCKING: usize = 80;

static PANICS: AtomicU64 = AtomicU64::new(0);

#[test]
fn whatever_is_called_nothing_breaks_and_nothing_is_left() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seconds = number("FACES_FUZZ_SECONDS").unwrap_or(SECONDS);
    let first = number("FACES_FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().subsec_nanos().into()
    });
    println!("sessions from seed {first}");
    let usual_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual_hook(panic);
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(Duration::from_secs(1))
        .enable_all()
        .build()
        .unwrap();
    let until = Duration::from_secs(seconds);
    LocalSet::new().block_on(&runtime, vat::run_until(sessions(first, until)));
}

async fn sessions(first: u64, until: Duration) {
    let world = Rc::new(World::new().await);
    let report = Rc::new(Report::new(&world.methods));
    let watched = watch();
    let begun = Instant::now();
    let mut usual = None;
    let mut count = 0;
    while begun.elapsed() < until
        || count <= WARM
        || begun.elapsed() < LONGEST && !report.missing(&world.methods).is_empty()
    {
        let seed = first.wrapping_add(count);
        watched.store(seed.wrapping_add(1), Ordering::Relaxed);
        let bytes = of_seed(seed, 200 + (seed as usize).wrapping_mul(71) % LENGTH);
        let ran = session::run(&world, &report, seed, &bytes).await;
        if let Err(failure) = ran {
            panic!("seed {seed}: {failure}");
        }
        let panics = PANICS.load(Ordering::Relaxed);
        assert_eq!(panics, 0, "seed {seed}: panics");
        count += 1;
        if count == WARM {
            usual = Some(Footprint::now());
        }
    }
    watched.store(0, Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs_f64();
    report.print(&world.methods);
    let calls = report.calls();
    println!("{count} sessions, {calls} calls, {seconds:.1} s");
    let (usual, now) = (usual.unwrap(), Footprint::now());
    println!("{usual:?} and at the end {now:?}");
    assert!(now.descriptors <= usual.descriptors + SPARE.descriptors);
    assert!(now.threads <= usual.threads + SPARE.threads);
    assert!(now.rss_kib <= usual.rss_kib + SPARE.rss_kib);
    let missing = report.missing(&world.methods);
    assert!(
        missing.is_empty(),
        "not called with both outcomes: {missing:?}"
    );
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
