//! Counts its runs in a file under /var, and tells what the image put there. With the argument `fill` it writes there
//! until that is refused.

use std::fs::{self, File};
use std::io::Write as _;

fn main() {
    if guests::arg(1, String::new()) == "fill" {
        return fill();
    }
    let runs: u32 = fs::read_to_string("/var/runs")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    fs::write("/var/runs", (runs + 1).to_string()).unwrap();
    let seed = fs::read_to_string("/var/lib/seed").unwrap_or_else(|_| "none".to_owned());
    println!("{runs} before; seed: {seed}");
}

fn fill() {
    let mut file = File::create("/var/fill").unwrap();
    for pieces in 0..1024 {
        let written = file
            .write_all(&[7; 16 << 10])
            .and_then(|()| file.sync_all());
        if written.is_err() {
            return println!("refused after {} KiB", pieces * 16);
        }
    }
    println!("never refused");
}
