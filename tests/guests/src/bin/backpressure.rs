//! Writes so many MiB (the first argument, 64 otherwise) to standard output as fast as it is taken.

fn main() -> runtime::Result<()> {
    runtime::block_on(async {
        let block = vec![b'o'; 1024 * 1024];
        let mut stdout = runtime::io::stdout();
        for _ in 0..guests::arg(1, 64_u32) {
            stdout.write_all(&block).await?;
        }
        stdout.flush().await?;
        eprintln!("done");
        Ok(())
    })
}
