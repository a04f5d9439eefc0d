//! Takes memory, a MiB at a time, until it is refused; prints how much it had.

const MIB: usize = 1024 * 1024;

fn main() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(MIB).is_err() || taken.try_reserve(1).is_err() {
            break;
        }
        // Written to, so that the memory is really there.
        block.resize(MIB, 1);
        taken.push(block);
    }
    let count = taken.len();
    drop(taken);
    println!("refused after {count} MiB");
}
