//! Writes to /tmp, 64 KiB at a time, until it is refused; prints how much was written, and how it was refused.

use std::fs::File;
use std::io::Write as _;

fn main() {
    let mut file = match File::create("/tmp/fill") {
        Ok(file) => file,
        Err(error) => return println!("0 KiB: {:?}", error.kind()),
    };
    for pieces in 0..4096 {
        if let Err(error) = file
            .write_all(&[7; 64 << 10])
            .and_then(|()| file.sync_all())
        {
            return println!("{} KiB: {:?}", pieces * 64, error.kind());
        }
    }
    println!("never refused");
}
