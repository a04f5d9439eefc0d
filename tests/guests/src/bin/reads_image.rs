//! Reads its image. `sum PATH PIECE [BYTES]` reads a file, or so much of it, in pieces of that size and prints how much
//! that was and a checksum; `list PATH` lists a directory and prints how many names there are, the first and the last; `again PATH` reads one byte of a file,
//! and the rest of it, and then all of it anew, after a line of input each.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read, Result};

fn main() -> Result<()> {
    let (what, path) = (guests::arg(1, String::new()), guests::arg(2, String::new()));
    match what.as_str() {
        "sum" => {
            let mut file = File::open(path)?.take(guests::arg(4, u64::MAX));
            let (bytes, sum) = sum(&mut file, guests::arg(3, 1))?;
            println!("{bytes} {sum}");
        }
        "list" => {
            let entries = fs::read_dir(path)?;
            let names: Vec<_> = entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<Result<_>>()?;
            println!("{} {:?} {:?}", names.len(), names.first(), names.last());
        }
        "again" => again(&path)?,
        _ => return Err(Error::new(ErrorKind::InvalidInput, what)),
    }
    Ok(())
}

fn again(path: &str) -> Result<()> {
    let mut file = File::open(path)?;
    file.read_exact(&mut [0])?;
    println!("has read one byte");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    println!(
        "the rest: {:?}",
        sum(&mut file, 4096).map_err(|error| error.kind())
    );
    println!(
        "anew: {:?}",
        fs::read(path)
            .map(|bytes| bytes.len())
            .map_err(|error| error.kind())
    );
    Ok(())
}

/// The size of what is read, and a number that all its bytes have a part in.
fn sum(file: &mut impl Read, piece: usize) -> Result<(usize, u64)> {
    let mut buffer = vec![0; piece];
    let (mut bytes, mut sum) = (0, 0_u64);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, sum));
        }
        bytes += read;
        for byte in &buffer[..read] {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }
}
