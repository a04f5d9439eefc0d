//! Takes memory, a MiB at a time, until it is refused; prints how much it had. With the argument `die` it
//! expects never to be refused, as most programs do.

const MIB: usize = 1024 * 1024;

fn main() {
    if guests::arg(1, String::new()) == "die" {
        let mut blocks = Vec::new();
        loop {
            blocks.push(std::hint::black_box(vec![1_u8; MIB]));
        }
    }
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
