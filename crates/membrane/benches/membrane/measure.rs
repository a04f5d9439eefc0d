//! Time and allocations of a call.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::parties::Party;

const ROUNDS: usize = 40;
const SAMPLES: usize = 20;
const CALLS: usize = 100;
const WARM_UP: usize = 2000;

/// Counts allocations. Only one thread makes any: a counter for several would need a locked instruction,
/// which takes about as long as an allocation.
pub struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count() {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    ALLOCATIONS.store(before + 1, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came; counting touches no memory of
// the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's layout, unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's layout, unchanged.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's pointer and layout, unchanged.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// One line of the table.
pub struct Row {
    pub median: Duration,
    pub p99: Duration,
    pub allocations: f64,
}

/// Measures all parties, in turns.
pub fn measure(parties: &mut [Party]) -> Vec<Row> {
    let mut samples = vec![Vec::with_capacity(ROUNDS * SAMPLES); parties.len()];
    let mut allocations = vec![0; parties.len()];
    for party in parties.iter_mut() {
        party.run(WARM_UP);
    }
    for _ in 0..ROUNDS {
        for (index, party) in parties.iter_mut().enumerate() {
            party.run(CALLS);
            for _ in 0..SAMPLES {
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                let began = Instant::now();
                party.run(CALLS);
                let elapsed = began.elapsed();
                allocations[index] += ALLOCATIONS.load(Ordering::Relaxed) - before;
                samples[index].push(elapsed / CALLS as u32);
            }
        }
    }
    samples
        .into_iter()
        .zip(allocations)
        .map(|(mut samples, allocations)| {
            samples.sort();
            Row {
                median: samples[samples.len() / 2],
                p99: samples[samples.len() * 99 / 100],
                allocations: allocations as f64 / (ROUNDS * SAMPLES * CALLS) as f64,
            }
        })
        .collect()
}
