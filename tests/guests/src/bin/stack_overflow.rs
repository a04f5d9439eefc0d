//! Recurses until the stack is used up.

#[inline(never)]
#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + frame.iter().sum::<u64>()
}

fn main() {
    println!("{}", recurse(0));
}
