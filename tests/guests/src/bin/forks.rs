//! Spawns itself, as often as it may, each with the means to do the same; prints why it was stopped, and waits for
//! all that it has started.

use runtime::{Spawn, bytes, process};

const OWN: &str = "/bin/forks.wasm";

/// How much of what the children say is read.
const OUTPUT_LIMIT: usize = 4 << 20;

fn main() {
    runtime::run(|session| async move {
        let executor = session.executor()?;
        let mut children = Vec::new();
        let stopped = loop {
            let spawn = Spawn::from_path(&executor, OWN).args(&[OWN]);
            match spawn.grant("executor", &executor).start().await {
                Ok(child) => children.push(child),
                Err(error) => break error,
            }
        };
        println!("{}", stopped.chain());
        for child in &children {
            bytes::read_to_end(&process::stdout(child), OUTPUT_LIMIT).await?;
            process::wait(child).await?;
        }
        println!("{} started", children.len());
        Ok(())
    });
}
