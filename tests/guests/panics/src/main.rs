//! Panics below functions whose names a backtrace should show.

#[inline(never)]
fn outermost_function(depth: u32) -> u32 {
    middle_function(std::hint::black_box(depth)) + 1
}

#[inline(never)]
fn middle_function(depth: u32) -> u32 {
    innermost_function(std::hint::black_box(depth)) + 1
}

#[inline(never)]
fn innermost_function(depth: u32) -> u32 {
    if std::hint::black_box(depth) == 0 {
        panic!("deliberate panic");
    }
    depth
}

fn main() {
    std::process::exit(outermost_function(0) as i32);
}
