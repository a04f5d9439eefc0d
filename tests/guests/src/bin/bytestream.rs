//! Exercises a `ByteStream`, one line of JSON for each step. The first argument is the path of a
//! component that copies its standard input to its standard output.

use futures::future::join;
use guests::report;
use runtime::{bytes, process};

fn main() {
    runtime::run(|session| async move {
        let wasm = std::fs::read(guests::arg(1, "/bin/echo.wasm".to_owned()))?;
        let none: [&str; 0] = [];
        let child = process::run_bytes(&session.executor()?, &wasm, &["echo"], &none).await?;
        let (input, output) = (process::stdin(&child), process::stdout(&child));

        report("read 0", bytes::read(&output, 0).await);
        report("write", bytes::write_all(&input, b"hello").await);
        report("read 2", bytes::read(&output, 2).await);
        report("read rest", bytes::read(&output, 100).await);
        let (read, close) = join(bytes::read(&output, 100), bytes::close(&input)).await;
        report("close while a read is pending", close);
        report("the pending read", read);
        report("close again", bytes::close(&input).await);
        report("write after close", bytes::write_all(&input, b"x").await);
        report("read at the end", bytes::read(&output, u32::MAX).await);
        report("exit code", process::wait(&child).await);
        Ok(())
    });
}
