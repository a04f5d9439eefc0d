//! Runs whatever a line of standard input says as a child with grants, and then looks whether it can still
//! call its host, and a cell beside it. Prints one line of JSON for each.
//!
//! `keeper [NUMBER]`: runs so many more neighbours, and lets them be. A line is `[kill MILLIS] PATH [ARGS…]`,
//! with tabs in between. The child is granted this cell's host and executor, and what the neighbour exports.

use std::time::Duration;

use futures::AsyncBufReadExt as _;
use futures::StreamExt as _;
use futures::io::BufReader;
use runtime::capnp::capability::FromClientHook as _;
use runtime::system_capnp::{executor, process as wire};
use runtime::{Session, bytes, process};
use serde_json::{Value, json};

const OUTPUT_LIMIT: usize = 1024 * 1024;

fn main() {
    runtime::run(|session| async move {
        let neighbour = spawn(&session, "/bin/serves.wasm", &["serves"], None).await?;
        let exported = neighbour.bootstrap_request().send().pipeline;
        let exported = executor::Client::new(exported.get_cap().as_cap());
        // Each moves the next cell to another thread of the host's, where there is one.
        let mut others = Vec::new();
        for _ in 0..guests::arg(1, 0) {
            others.push(spawn(&session, "/bin/serves.wasm", &["serves"], None).await?);
        }
        println!("{}", json!({ "neighbour": echo(&exported).await? }));
        let mut lines = BufReader::new(runtime::io::stdin()).lines();
        while let Some(line) = lines.next().await {
            let told = attempt(&session, &exported, &line?).await;
            let told = told.unwrap_or_else(|error| json!({ "error": error.chain() }));
            let own = echo(&session.executor()?).await;
            let beside = echo(&exported).await;
            println!(
                "{}",
                json!({
                    "child": told,
                    "own": own.unwrap_or_else(|error| error.chain()),
                    "beside": beside.unwrap_or_else(|error| error.chain()),
                })
            );
        }
        Ok(())
    });
}

async fn attempt(
    session: &Session,
    neighbour: &executor::Client,
    line: &str,
) -> runtime::Result<Value> {
    let mut words: Vec<&str> = line.split('\t').collect();
    let mut kill_after = None;
    if let ["kill", millis, rest @ ..] = words.as_slice() {
        kill_after = Some(Duration::from_millis(millis.parse()?));
        words = rest.to_vec();
    }
    let child = spawn(session, words[0], &words, Some(neighbour)).await?;
    if let Some(time) = kill_after {
        runtime::sleep(time).await;
        child.kill_request().send().promise.await?;
    }
    let output = bytes::read_to_end(&process::stdout(&child), OUTPUT_LIMIT).await?;
    let code = process::wait(&child).await?;
    let errors = bytes::read_to_end(&process::stderr(&child), OUTPUT_LIMIT).await?;
    Ok(json!({
        "stdout": String::from_utf8_lossy(&output),
        "stderr": String::from_utf8_lossy(&errors),
        "exit_code": code,
        "status": process::status(&child).await?.to_string(),
    }))
}

async fn spawn(
    session: &Session,
    path: &str,
    args: &[&str],
    neighbour: Option<&executor::Client>,
) -> runtime::Result<wire::Client> {
    let executor = session.executor()?;
    let mut request = executor.load_request();
    request.get().init_source().set_path(path);
    let program = request.send().promise.await?.get()?.get_program()?;
    let mut request = program.spawn_request();
    let mut params = request.get();
    let mut list = params.reborrow().init_args(args.len() as u32);
    for (index, arg) in (0..).zip(args) {
        list.set(index, arg);
    }
    if let Some(neighbour) = neighbour {
        let grants = [
            ("host", session.host()?.client),
            ("executor", executor.client),
            ("neighbour", neighbour.client.clone()),
        ];
        let mut list = params.init_grants(grants.len() as u32);
        for (index, (name, cap)) in (0..).zip(grants) {
            let mut grant = list.reborrow().get(index);
            grant.set_name(name);
            grant.init_cap().set_as_capability(cap.hook);
        }
    }
    Ok(request.send().promise.await?.get()?.get_process()?)
}

async fn echo(executor: &executor::Client) -> runtime::Result<String> {
    let mut request = executor.echo_request();
    request.get().set_message("still here");
    let reply = request.send().promise.await?;
    Ok(reply.get()?.get_response()?.to_string()?)
}
