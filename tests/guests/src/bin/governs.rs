//! Spawns a number of children with bounds; prints one line of JSON for each, with how it went.
//!
//! `governs NUMBER [NAME=VALUE…] PATH [ARGS…]`: the bounds are those of `Limits`; `grant=executor` hands each child this
//! cell's executor, and `grant=narrowed` the same behind a membrane of this cell's. Children are all started before any is waited for. One that runs `/bin/idle.wasm` is killed
//! after the others have been started.

use runtime::capnp::traits::HasTypeId as _;
use runtime::interfaces::{Interface, MethodId};
use runtime::system_capnp::{executor, limits, process as wire};
use runtime::{Session, Spawn, bytes, process};
use serde_json::{Value, json};

const OUTPUT_LIMIT: usize = 1024 * 1024;

fn main() {
    runtime::run(|session| async move {
        let words: Vec<String> = std::env::args().skip(2).collect();
        let program = words.iter().position(|word| !word.contains('='));
        let (options, command) = words.split_at(program.unwrap_or(words.len()));
        let mut children = Vec::new();
        for _ in 0..guests::arg(1, 1) {
            children.push(start(&session, options, command).await);
        }
        for child in children {
            let told = match child {
                Ok(child) => end(&child, command).await?,
                Err(error) => json!({ "error": error.chain() }),
            };
            println!("{told}");
        }
        Ok(())
    });
}

async fn start(
    session: &Session,
    options: &[String],
    command: &[String],
) -> runtime::Result<wire::Client> {
    let executor = session.executor()?;
    let mut spawn = Spawn::from_path(&executor, &command[0]).args(command);
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        spawn = match (name, value) {
            ("grant", "executor") => spawn.grant("executor", &executor),
            ("grant", "narrowed") => {
                let interface = Interface::of_id(executor::Client::TYPE_ID);
                let all = interface.into_iter().flat_map(|each| each.numbered());
                let all = MethodId::closure(all.map(|(id, _)| id));
                let (narrowed, _revoker) = session.attenuate(&executor, all).await?;
                spawn.grant("executor", &narrowed)
            }
            _ => spawn.limit(|limits| bound(limits, name, value.parse().unwrap_or(0))),
        };
    }
    spawn.start().await
}

fn bound(mut limits: limits::Builder<'_>, name: &str, value: u64) {
    match name {
        "memory" => limits.set_memory_bytes(value),
        "fuel" => limits.set_fuel(value),
        "time" => limits.set_wall_time_millis(value),
        "cpu" => limits.set_cpu_percent(value as u32),
        "message" => limits.set_message_bytes(value),
        "calls" => limits.set_calls(value as u32),
        "streams" => limits.set_streams(value as u32),
        "cells" => limits.set_cells(value as u32),
        "depth" => limits.set_depth(value as u32),
        "tmp" => limits.set_tmp_bytes(value),
        _ => {}
    }
}

async fn end(child: &wire::Client, command: &[String]) -> runtime::Result<Value> {
    if command[0] == "/bin/idle.wasm" {
        child.kill_request().send().promise.await?;
    }
    let output = bytes::read_to_end(&process::stdout(child), OUTPUT_LIMIT).await?;
    let code = process::wait(child).await?;
    let errors = bytes::read_to_end(&process::stderr(child), OUTPUT_LIMIT).await?;
    let usage = child.usage_request().send().promise.await?;
    let usage = usage.get()?.get_usage()?;
    Ok(json!({
        "code": code,
        "status": process::status(child).await?.to_string(),
        "stdout": String::from_utf8_lossy(&output),
        "stderr": String::from_utf8_lossy(&errors),
        "cpu_nanos": usage.get_cpu_nanos(),
        "fuel": usage.get_fuel(),
    }))
}
