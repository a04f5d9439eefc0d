//! Computes for ever, and never calls the host again.

fn main() {
    println!("spinning");
    let mut count = 0_u64;
    loop {
        count = std::hint::black_box(count.wrapping_add(1));
    }
}
