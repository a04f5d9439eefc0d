//! Runs a component through `Executor.runBytes`, and prints how that went as one line of JSON.
//!
//! `runbytes [--env NAME=VALUE] [--stdin TEXT] [--kill-after MILLIS] [--unread] PATH [ARGS…]`
//!
//! `--unread` leaves what it writes where it is, and only waits for its end.

use std::time::Duration;

use futures::future::try_join3;
use runtime::system_capnp::byte_stream::Client as ByteStream;
use runtime::{bytes, process};
use serde_json::json;

const OUTPUT_LIMIT: usize = 64 * 1024 * 1024;

async fn read(stream: &ByteStream, limit: usize) -> runtime::Result<Vec<u8>> {
    match limit {
        0 => Ok(Vec::new()),
        limit => bytes::read_to_end(stream, limit).await,
    }
}

fn main() {
    runtime::run(|session| async move {
        let mut args = std::env::args().skip(1);
        let (mut env, mut stdin, mut kill_after) = (Vec::new(), String::new(), None);
        let mut unread = false;
        let path = loop {
            match args.next().ok_or("no path was given")?.as_str() {
                "--env" => env.extend(args.next()),
                "--stdin" => stdin = args.next().unwrap_or_default(),
                "--kill-after" => kill_after = args.next(),
                "--unread" => unread = true,
                path => break path.to_owned(),
            }
        };
        let wasm = std::fs::read(&path)?;
        let argv: Vec<String> = std::iter::once(path).chain(args).collect();
        let child = process::run_bytes(&session.executor()?, &wasm, &argv, &env).await?;
        let input = process::stdin(&child);
        bytes::write_all(&input, stdin.as_bytes()).await?;
        bytes::close(&input).await?;
        if let Some(millis) = kill_after {
            runtime::sleep(Duration::from_millis(millis.parse()?)).await;
            child.kill_request().send().promise.await?;
        }
        let (out, err) = (process::stdout(&child), process::stderr(&child));
        let limit = if unread { 0 } else { OUTPUT_LIMIT };
        let (out, err, code) =
            try_join3(read(&out, limit), read(&err, limit), process::wait(&child)).await?;
        let status = process::status(&child).await?.to_string();
        println!(
            "{}",
            json!({
                "stdout": String::from_utf8_lossy(&out),
                "stderr": String::from_utf8_lossy(&err),
                "exit_code": code,
                "status": status,
            })
        );
        Ok(())
    });
}
