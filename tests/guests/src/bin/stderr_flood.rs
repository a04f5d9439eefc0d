//! Writes MiBs to standard error (the first argument says how many, 8 otherwise), and succeeds.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let line = [b'e'; 1023];
    let mut stderr = std::io::stderr();
    for _ in 0..guests::arg(1, 8_usize) * 1024 {
        stderr.write_all(&line)?;
        stderr.write_all(b"\n")?;
    }
    println!("done");
    Ok(())
}
