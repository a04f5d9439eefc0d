//! Runs so many copies (the second argument) of a program that never rests (the first argument), and has
//! its own calls answered beside them.

use runtime::{bytes, process};

/// Enough that a host which lets a spinning cell have its thread does not get through them.
const CALLS: usize = 200;

fn main() {
    runtime::run(|session| async move {
        let executor = session.executor()?;
        let wasm = std::fs::read(guests::arg(1, "/bin/spin.wasm".to_owned()))?;
        let none: [&str; 0] = [];
        let mut children = Vec::new();
        for _ in 0..guests::arg(2, 3) {
            let child = process::run_bytes(&executor, &wasm, &["spin"], &none).await?;
            bytes::read(&process::stdout(&child), 1).await?;
            children.push(child);
        }
        for _ in 0..CALLS {
            let mut request = executor.echo_request();
            request.get().set_message("are you there?");
            request.send().promise.await?;
        }
        println!("answered {CALLS} beside {}", children.len());
        for child in &children {
            child.kill_request().send().promise.await?;
            println!("{}", process::status(child).await?);
        }
        Ok(())
    });
}
