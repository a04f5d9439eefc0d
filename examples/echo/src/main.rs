//! Copies standard input to standard output, byte for byte, until the input ends.
//!
//! It needs no capability, and so no conversation with its host: the component is an ordinary command. It
//! never holds more than one chunk, however much goes through it.

use runtime::io::{stdin, stdout};

/// How much is copied at a time.
const CHUNK: usize = 64 * 1024;

fn main() -> runtime::Result<()> {
    runtime::block_on(async {
        let (mut input, mut output) = (stdin(), stdout());
        loop {
            let chunk = input.read_chunk(CHUNK).await?;
            if chunk.is_empty() {
                break;
            }
            output.write_all(&chunk).await?;
        }
        output.flush().await?;
        Ok(())
    })
}
