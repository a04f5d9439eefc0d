//! What becomes of the cells that this one starts: each case prints one line of JSON.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{join_all, poll_immediate};
use guests::report;
use runtime::capnp;
use runtime::interfaces::MethodId;
use runtime::system_capnp::{byte_stream, executor, process as wire};
use runtime::{Session, Spawn, bytes, process, timeout};
use serde_json::json;

const BEATS: &str = "/bin/beats.wasm";

/// How long anything may take. Nothing here waits for time to pass.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Heard {
    beats: Cell<u32>,
    released: Cell<bool>,
}

impl Heard {
    /// Waits for so many more.
    async fn more(&self, count: u32) -> bool {
        let until = self.beats.get() + count;
        self.until(|heard| heard.beats.get() >= until).await
    }

    async fn released(&self) -> bool {
        self.until(|heard| heard.released.get()).await
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) -> bool {
        let wait = async {
            while !condition(self) {
                runtime::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, wait).await.is_ok()
    }
}

/// What the children write to. It notices when nobody holds it any more.
struct Log(Rc<Heard>);

impl byte_stream::Server for Log {
    async fn write(
        self: Rc<Self>,
        _params: byte_stream::WriteParams,
        _results: byte_stream::WriteResults,
    ) -> capnp::Result<()> {
        self.0.beats.set(self.0.beats.get() + 1);
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.released.set(true);
    }
}

fn log() -> (byte_stream::Client, Rc<Heard>) {
    let heard = Rc::new(Heard::default());
    (runtime::capnp_rpc::new_client(Log(heard.clone())), heard)
}

fn main() {
    runtime::run(|session| async move {
        let executor = session.executor()?;
        for (name, outcome) in [
            ("dropping the last reference", dropping(&executor).await),
            ("detaching", detaching(&executor).await),
            (
                "detached by a child that ends",
                ends_with_parent(&executor).await,
            ),
            ("waiting", waiting(&executor).await),
            ("killing", killing(&executor).await),
            ("what it exported", exported(&executor).await),
            ("a revoked grant", revoked(&session).await),
            ("a narrowed grant", narrowed(&session).await),
            ("a spawn that is given up", given_up(&executor).await),
        ] {
            report(name, outcome.map_err(|error| error.chain()));
        }
        Ok(())
    });
}

async fn beating(
    executor: &executor::Client,
    log: &byte_stream::Client,
) -> runtime::Result<wire::Client> {
    let spawn = Spawn::from_path(executor, BEATS).args(&["beats"]);
    spawn.grant("log", log).start().await
}

async fn dropping(executor: &executor::Client) -> runtime::Result<serde_json::Value> {
    let (log, heard) = log();
    let child = beating(executor, &log).await?;
    drop(log);
    let alive = heard.more(2).await;
    drop(child);
    Ok(json!({ "beats before": alive, "gone after": heard.released().await }))
}

async fn detaching(executor: &executor::Client) -> runtime::Result<serde_json::Value> {
    let (log, heard) = log();
    let child = beating(executor, &log).await?;
    child.detach_request().send().promise.await?;
    let second = child.detach_request().send().promise.await.is_ok();
    drop(child);
    Ok(json!({ "again": second, "beats after": heard.more(20).await }))
}

async fn ends_with_parent(executor: &executor::Client) -> runtime::Result<serde_json::Value> {
    let (log, heard) = log();
    let middle = Spawn::from_path(executor, BEATS)
        .args(&["beats", BEATS])
        .grant("log", &log)
        .grant("executor", executor)
        .start()
        .await?;
    drop(log);
    let code = process::wait(&middle).await?;
    Ok(json!({ "code": code, "gone after": heard.released().await }))
}

async fn waiting(executor: &executor::Client) -> runtime::Result<serde_json::Value> {
    let child = Spawn::from_path(executor, "/bin/exit_code.wasm")
        .args(&["exit_code", "7"])
        .start()
        .await?;
    let many = join_all((0..50).map(|_| process::wait(&child))).await;
    let before = many
        .into_iter()
        .filter(|code| matches!(code, Ok(7)))
        .count();
    let after = process::wait(&child).await?;
    Ok(json!({ "told 7": before, "after": after }))
}

async fn killing(executor: &executor::Client) -> runtime::Result<serde_json::Value> {
    let (log, heard) = log();
    let child = beating(executor, &log).await?;
    drop(log);
    heard.more(1).await;
    child.kill_request().send().promise.await?;
    let status = process::status(&child).await?.to_string();
    let again = child.kill_request().send().promise.await.is_ok();
    let usage = child.usage_request().send().promise.await?;
    let memory = usage.get()?.get_usage()?.get_memory_bytes();
    Ok(json!({
        "status": status, "again": again, "memory": memory, "gone": heard.released().await,
    }))
}

/// A call on what a child exports fails once the child has ended, and so do those under way.
async fn exported(executor: &executor::Client) -> runtime::Result<serde_json::Value> {
    let child = Spawn::from_path(executor, "/bin/serves.wasm")
        .args(&["serves"])
        .start()
        .await?;
    let exports = child.bootstrap_request().send().promise.await?;
    let exports: executor::Client = exports.get()?.get_cap().get_as_capability()?;
    let echo = || {
        let mut request = exports.echo_request();
        request.get().set_message("hello");
        request.send().promise
    };
    let before = echo().await.is_ok();
    child.kill_request().send().promise.await?;
    let after = echo().await.err().map(|error| error.to_string());
    let later = child.bootstrap_request().send().promise.await.err();
    Ok(json!({
        "before": before, "after": after, "bootstrap": later.map(|error| error.to_string()),
    }))
}

/// What was handed on is taken back without ending whoever has it.
async fn revoked(session: &Session) -> runtime::Result<serde_json::Value> {
    let (log, heard) = log();
    let write = method("write");
    let (narrow, revoker) = session.attenuate(&log, [write]).await?;
    drop(log);
    let child = beating(&session.executor()?, &narrow).await?;
    heard.more(2).await;
    let mut revoke = revoker.revoke_request();
    revoke.get().set_reason("enough");
    revoke.send().promise.await?;
    let beats = heard.beats.get();
    let code = process::wait(&child).await?;
    let told = bytes::read_to_end(&process::stdout(&child), 1 << 16).await?;
    Ok(json!({
        "code": code,
        "told": String::from_utf8_lossy(&told),
        "beats after": heard.beats.get() - beats,
        "let go": heard.released().await,
    }))
}

async fn narrowed(session: &Session) -> runtime::Result<serde_json::Value> {
    let (log, heard) = log();
    let (narrow, _revoker) = session.attenuate(&log, [method("close")]).await?;
    let child = beating(&session.executor()?, &narrow).await?;
    let code = process::wait(&child).await?;
    let told = bytes::read_to_end(&process::stdout(&child), 1 << 16).await?;
    Ok(json!({
        "code": code, "told": String::from_utf8_lossy(&told), "beats": heard.beats.get(),
    }))
}

fn method(name: &str) -> MethodId {
    let interfaces = runtime::interfaces::Interface::all();
    let stream = interfaces.iter().find(|each| each.name == "ByteStream");
    stream.and_then(|stream| stream.method(name)).unwrap()
}

/// A cell whose spawner does not wait for it is not left behind: its place is free again.
async fn given_up(executor: &executor::Client) -> runtime::Result<serde_json::Value> {
    let (log, heard) = log();
    for _ in 0..20 {
        let spawn = Spawn::from_path(executor, BEATS).args(&["beats"]);
        // Polled once, so that it is under way.
        let _ = poll_immediate(Box::pin(spawn.grant("log", &log).start())).await;
    }
    drop(log);
    Ok(json!({ "gone": heard.released().await }))
}
