//! Recurses until a stack is used up: the call stack, or with the argument `memory` the one that compilers
//! keep in memory for what has an address.

use std::sync::atomic::{AtomicU64, Ordering};

static LAST: AtomicU64 = AtomicU64::new(u64::MAX);

/// What it does with the result keeps the recursion from becoming a loop.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == LAST.load(Ordering::Relaxed) {
        return depth;
    }
    recurse(depth + 1).rotate_left(1) ^ depth
}

#[inline(never)]
fn recurse_in_memory(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == LAST.load(Ordering::Relaxed) {
        return depth;
    }
    recurse_in_memory(depth + 1) ^ frame.iter().sum::<u64>()
}

fn main() {
    let deepest = match guests::arg(1, String::new()).as_str() {
        "memory" => recurse_in_memory(0),
        _ => recurse(0),
    };
    println!("{deepest}");
}
