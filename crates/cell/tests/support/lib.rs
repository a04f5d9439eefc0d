//! Guests as component text, and the few steps that every test takes.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use bytes::Bytes;
use cell::{Control, Engine, EngineOptions, Exit, Program, Sender, Setup, Spawned};
use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::task::LocalSet;

mod recipients;
pub use recipients::*;

/// An engine with few slots: tests run beside each other, and address space is finite.
pub fn options() -> EngineOptions {
    EngineOptions {
        max_cells: 16,
        ..EngineOptions::default()
    }
}

pub fn engine() -> Engine {
    Engine::new(options()).unwrap()
}

pub fn component(text: &str) -> Bytes {
    match wat::parse_str(text) {
        Ok(wasm) => wasm.into(),
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// A command whose `run` is this core function's body, with `$exit` to end with a code. No more
/// than that is imported.
pub fn command(body: &str) -> Bytes {
    component(&format!(
        r#"(component
            (import "wasi:cli/exit@0.2.12" (instance $exit
                (export "exit-with-code" (func (param "status-code" u8)))))
            (core func $exit (canon lower (func $exit "exit-with-code")))
            (core module $m
                (import "host" "exit" (func $exit (param i32)))
                (memory 1)
                {body})
            (core instance $i (instantiate $m
                (with "host" (instance (export "exit" (func $exit))))))
            {RUN})"#
    ))
}

/// Lifts the core function `run` of `$i` into the component's export.
const RUN: &str = r#"
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $command (export "run" (func $run)))
    (export "wasi:cli/run@0.2.12" (instance $command))"#;

/// A command that may use `wetware:rpc`, `wetware:streams` and `wasi:io` through core functions of
/// those names; results that do not fit into one value are written where the last parameter points.
pub fn talker(body: &str) -> Bytes {
    component(&format!(
        r#"(component
            (import "wasi:cli/exit@0.2.12" (instance $exit
                (export "exit-with-code" (func (param "status-code" u8)))))
            (import "wasi:io/poll@0.2.12" (instance $poll
                (export "pollable" (type $pollable (sub resource)))
                (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
            (alias export $poll "pollable" (type $pollable))
            (import "wasi:io/error@0.2.12" (instance $error
                (export "error" (type (sub resource)))))
            (alias export $error "error" (type $io-error))
            (import "wasi:io/streams@0.2.12" (instance $io
                (alias outer 1 $io-error (type $outer-error))
                (alias outer 1 $pollable (type $outer-pollable))
                (export "pollable" (type $pollable (eq $outer-pollable)))
                (export "error" (type $io-error (eq $outer-error)))
                (export "input-stream" (type $input (sub resource)))
                (export "output-stream" (type $output (sub resource)))
                (type $failure (variant
                    (case "last-operation-failed" (own $io-error)) (case "closed")))
                (export "stream-error" (type $stream-error (eq $failure)))
                (export "[method]input-stream.blocking-read" (func
                    (param "self" (borrow $input)) (param "len" u64)
                    (result (result (list u8) (error $stream-error)))))
                (export "[method]output-stream.check-write" (func
                    (param "self" (borrow $output))
                    (result (result u64 (error $stream-error)))))
                (export "[method]output-stream.subscribe" (func
                    (param "self" (borrow $output)) (result (own $pollable))))
                (export "[method]output-stream.write" (func
                    (param "self" (borrow $output)) (param "contents" (list u8))
                    (result (result (error $stream-error)))))))
            (alias export $io "input-stream" (type $input))
            (alias export $io "output-stream" (type $output))
            (import "wetware:streams/streams@0.1.0" (instance $streams
                (alias outer 1 $input (type $outer-input))
                (alias outer 1 $output (type $outer-output))
                (export "input-stream" (type $input (eq $outer-input)))
                (export "output-stream" (type $output (eq $outer-output)))
                (export "connection" (type $connection (sub resource)))
                (export "create-connection" (func (result (own $connection))))
                (export "[method]connection.get-input-stream" (func
                    (param "self" (borrow $connection)) (result (own $input))))
                (export "[method]connection.get-output-stream" (func
                    (param "self" (borrow $connection)) (result (own $output))))))
            (import "wetware:rpc/rpc@0.1.0" (instance $rpc
                (alias outer 1 $pollable (type $outer-pollable))
                (export "pollable" (type $pollable (eq $outer-pollable)))
                (export "connection" (type $connection (sub resource)))
                (type $reason (variant
                    (case "closed") (case "too-large" u64) (case "malformed") (case "taken")))
                (export "error" (type $error (eq $reason)))
                (export "connect" (func (result (result (own $connection) (error $error)))))
                (export "[method]connection.send" (func
                    (param "self" (borrow $connection)) (param "message" (list u8))
                    (result (result (error $error)))))
                (export "[method]connection.receive" (func
                    (param "self" (borrow $connection))
                    (result (result (list u8) (error $error)))))
                (export "[method]connection.subscribe" (func
                    (param "self" (borrow $connection)) (result (own $pollable))))))
            (core module $libc
                (memory (export "memory") 64)
                (global $next (mut i32) (i32.const 65536))
                ;; Forgets everything at once: what was received is used before more is.
                (func (export "reset") (global.set $next (i32.const 65536)))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (global.get $next))
                    (global.set $next (i32.and (i32.const -8)
                        (i32.add (i32.const 7)
                            (i32.add (global.get $next) (local.get 3)))))
                    (local.get $at)))
            (core instance $libc (instantiate $libc))
            (alias core export $libc "memory" (core memory $memory))
            (alias core export $libc "realloc" (core func $realloc))
            (core func $exit (canon lower (func $exit "exit-with-code")))
            (core func $block (canon lower (func $poll "[method]pollable.block")))
            (core func $drop-pollable (canon resource.drop $pollable))
            (core func $read (canon lower (func $io "[method]input-stream.blocking-read")
                (memory $memory) (realloc $realloc)))
            (core func $check-write (canon lower (func $io "[method]output-stream.check-write")
                (memory $memory)))
            (core func $write (canon lower (func $io "[method]output-stream.write")
                (memory $memory)))
            (core func $subscribe-output (canon lower
                (func $io "[method]output-stream.subscribe")))
            (core func $drop-output (canon resource.drop $output))
            (core func $create (canon lower (func $streams "create-connection")))
            (core func $get-input (canon lower
                (func $streams "[method]connection.get-input-stream")))
            (core func $get-output (canon lower
                (func $streams "[method]connection.get-output-stream")))
            (core func $connect (canon lower (func $rpc "connect") (memory $memory)))
            (core func $send (canon lower (func $rpc "[method]connection.send")
                (memory $memory)))
            (core func $receive (canon lower (func $rpc "[method]connection.receive")
                (memory $memory) (realloc $realloc)))
            (core func $subscribe (canon lower (func $rpc "[method]connection.subscribe")))
            (alias export $rpc "connection" (type $rpc-connection))
            (core func $drop-connection (canon resource.drop $rpc-connection))
            (core module $m
                (import "libc" "memory" (memory 1))
                (import "libc" "reset" (func $reset))
                (import "host" "exit" (func $exit (param i32)))
                (import "host" "block" (func $block (param i32)))
                (import "host" "drop-pollable" (func $drop-pollable (param i32)))
                (import "host" "read" (func $read (param i32 i64 i32)))
                (import "host" "check-write" (func $check-write (param i32 i32)))
                (import "host" "write" (func $write (param i32 i32 i32 i32)))
                (import "host" "subscribe-output"
                    (func $subscribe-output (param i32) (result i32)))
                (import "host" "drop-output" (func $drop-output (param i32)))
                (import "host" "create" (func $create (result i32)))
                (import "host" "get-input" (func $get-input (param i32) (result i32)))
                (import "host" "get-output" (func $get-output (param i32) (result i32)))
                (import "host" "connect" (func $connect (param i32)))
                (import "host" "send" (func $send (param i32 i32 i32 i32)))
                (import "host" "receive" (func $receive (param i32 i32)))
                (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
                (import "host" "drop-connection" (func $drop-connection (param i32)))
                {body})
            (core instance $i (instantiate $m
                (with "libc" (instance $libc))
                (with "host" (instance
                    (export "exit" (func $exit))
                    (export "block" (func $block))
                    (export "drop-pollable" (func $drop-pollable))
                    (export "read" (func $read))
                    (export "check-write" (func $check-write))
                    (export "write" (func $write))
                    (export "subscribe-output" (func $subscribe-output))
                    (export "drop-output" (func $drop-output))
                    (export "create" (func $create))
                    (export "get-input" (func $get-input))
                    (export "get-output" (func $get-output))
                    (export "connect" (func $connect))
                    (export "send" (func $send))
                    (export "receive" (func $receive))
                    (export "subscribe" (func $subscribe))
                    (export "drop-connection" (func $drop-connection))))))
            {RUN})"#
    ))
}

/// Sends back whatever has arrived, as one message, until the conversation is over.
pub const ECHO: &str = r#"
    (func (export "run") (result i32)
        (local $connection i32) (local $pollable i32)
        (call $connect (i32.const 0))
        (local.set $connection (i32.load (i32.const 8)))
        (loop $forever
            (call $reset)
            (call $receive (local.get $connection) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (i32.const 0))))
            (if (i32.load (i32.const 12))
                (then
                    (call $send (local.get $connection)
                        (i32.load (i32.const 8)) (i32.load (i32.const 12)) (i32.const 32))
                    (if (i32.load8_u (i32.const 32)) (then (call $exit (i32.const 99)))))
                (else
                    (local.set $pollable (call $subscribe (local.get $connection)))
                    (call $block (local.get $pollable))
                    (call $drop-pollable (local.get $pollable))))
            (br $forever))
        (unreachable))"#;

/// Sends messages of one segment with 1,000 words until one is refused, and receives none.
pub const FLOOD: &str = r#"
    (func (export "run") (result i32)
        (local $connection i32)
        (call $connect (i32.const 0))
        (local.set $connection (i32.load (i32.const 8)))
        (i32.store (i32.const 1028) (i32.const 1000))
        (loop $forever
            (call $send (local.get $connection)
                (i32.const 1024) (i32.const 8008) (i32.const 32))
            (br_if $forever (i32.eqz (i32.load8_u (i32.const 32)))))
        (i32.const 1))"#;

/// Never gives up its thread by itself.
pub const SPIN: &str = r#"(func (export "run") (result i32) (loop $l (br $l)) (unreachable))"#;

/// A framed message of one segment with `words` words.
pub fn message(words: u32, fill: u8) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend(words.to_le_bytes());
    message.resize(8 + 8 * words as usize, fill);
    message
}

/// Runs a test on one thread, with cells beside it, and fails it should it hang.
pub fn on_one_thread<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(120), test).await };
    LocalSet::new()
        .block_on(&runtime, bounded)
        .expect("the test hangs")
}

/// Runs a cell of `program` to its end, with nobody at the other end of its conversation.
pub async fn run(program: &Program, setup: Setup) -> Exit {
    let Spawned { cell, control, .. } = program.spawn(setup).unwrap();
    let exit = cell.run(Nobody).await;
    assert_eq!(control.wait().await, exit);
    exit
}

/// Loads and runs.
pub async fn exit_of(wasm: Bytes, setup: Setup) -> Exit {
    let program = engine().load(wasm).await.unwrap();
    run(&program, setup).await
}

/// Has the cell run on this thread, and what it says be put into an inbox with room for all of it.
pub fn start(spawned: Spawned) -> (Control, Sender, Inbox) {
    start_with_room(spawned, usize::MAX)
}

/// As [`start`]; the guest is held back while there are `room` messages or more in the inbox.
pub fn start_with_room(spawned: Spawned, room: usize) -> (Control, Sender, Inbox) {
    let Spawned {
        cell,
        control,
        sender,
    } = spawned;
    let (outbox, inbox) = inbox(room);
    tokio::task::spawn_local(cell.run(outbox));
    (control, sender, inbox)
}

/// A program in Rust, compiled once, that does what its first argument says.
pub fn rust_guest() -> Bytes {
    static GUEST: OnceLock<Bytes> = OnceLock::new();
    GUEST.get_or_init(|| built("guest")).clone()
}

/// A program that works with files, built once a process.
pub fn files_guest() -> Bytes {
    static GUEST: OnceLock<Bytes> = OnceLock::new();
    GUEST.get_or_init(|| built("files")).clone()
}

fn built(name: &str) -> Bytes {
    let source =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.rs"));
    // Tests run as several processes: each builds its own and puts it in place whole.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = directory.path().join("guest.wasm");
    let status = Command::new("rustc")
        .args(["--target", "wasm32-wasip2", "--edition", "2024", "-g", "-o"])
        .args([&out, &source])
        .status()
        .unwrap();
    assert!(status.success(), "rustup target add wasm32-wasip2");
    std::fs::read(out).unwrap().into()
}
