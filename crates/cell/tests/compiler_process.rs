//! The compiler process: that it makes the code that the engine wants, and that it really ends.
//!
//! Started with an argument, this program is such a process, or one that misbehaves.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

use bytes::Bytes;
use cell::{Compiler, Engine, EngineOptions, Exit, Limits, LoadError, LoadLimits, Setup};
use std::process::ExitCode;
use std::time::Duration;
use support::*;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("as-compiler") => cell::compile_main(),
        Some("as-sleeper") => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        Some("as-aborter") => std::process::abort(),
        Some("as-babbler") => {
            println!("hello");
            ExitCode::SUCCESS
        }
        Some("as-mute") => ExitCode::SUCCESS,
        // Whatever else a test runner may ask, all tests are one.
        _ => {
            its_code_runs_in_every_flavour();
            what_is_invalid_is_told_apart_from_a_failing_compiler();
            a_compiler_that_does_not_end_is_killed_at_the_deadline();
            a_compiler_that_takes_too_much_memory_dies_of_it();
            ExitCode::SUCCESS
        }
    }
}

fn engine_with(role: &str, wasm_debug: bool, load: LoadLimits) -> Engine {
    Engine::new(EngineOptions {
        wasm_debug,
        compiler: Compiler::Process {
            program: std::env::current_exe().unwrap(),
            args: vec![role.into()],
        },
        load,
        ..options()
    })
    .unwrap()
}

fn load_as(role: &str, load: LoadLimits, wasm: Bytes) -> LoadError {
    on_one_thread(engine_with(role, false, load).load(wasm))
        .err()
        .unwrap()
}

fn its_code_runs_in_every_flavour() {
    for wasm_debug in [false, true] {
        let engine = engine_with("as-compiler", wasm_debug, LoadLimits::default());
        let wasm = command(r#"(func (export "run") (result i32) (i32.const 0))"#);
        on_one_thread(async {
            let program = engine.load(wasm).await.unwrap();
            assert_eq!(run(&program, Setup::default()).await, Exit::Exited(0));
            let metered = Setup {
                limits: Limits {
                    fuel: Some(1_000_000),
                    ..Limits::default()
                },
                ..Setup::default()
            };
            assert_eq!(run(&program, metered).await, Exit::Exited(0));
            assert_eq!(engine.compilations(), 2);
        });
    }
}

fn what_is_invalid_is_told_apart_from_a_failing_compiler() {
    let wasm = command(SPIN);
    let half = wasm.slice(..wasm.len() / 2);
    let load = |role, wasm| load_as(role, LoadLimits::default(), wasm);
    assert!(matches!(load("as-compiler", half), LoadError::Invalid(_)));
    for role in ["as-babbler", "as-mute"] {
        let error = load(role, wasm.clone());
        let failed = matches!(error, LoadError::Compiler(_) | LoadError::Io { .. });
        assert!(failed, "{role}: {error:?}");
    }
    let error = load("as-aborter", wasm);
    assert!(matches!(error, LoadError::CompileMemory { .. }));
}

fn a_compiler_that_does_not_end_is_killed_at_the_deadline() {
    let deadline = Duration::from_millis(50);
    let limits = LoadLimits {
        compile_deadline: deadline,
        concurrent_compilations: 1,
        ..LoadLimits::default()
    };
    let engine = engine_with("as-sleeper", false, limits);
    on_one_thread(async {
        // The second one gets its turn because the first has really ended.
        for _ in 0..2 {
            assert_eq!(
                engine.load(command(SPIN)).await.err(),
                Some(LoadError::CompileTimeout { deadline })
            );
        }
    });
}

fn a_compiler_that_takes_too_much_memory_dies_of_it() {
    let limit_bytes = 96 << 20;
    let limits = LoadLimits {
        compile_memory_bytes: limit_bytes,
        ..LoadLimits::default()
    };
    // One function with so much in it that compiling it takes some hundred megabytes.
    let additions = "local.get 0 i32.const 3 i32.mul local.tee 0 drop ".repeat(300_000);
    let huge = command(&format!(
        r#"(func $huge (param i32) {additions})
           (func (export "run") (result i32) (call $huge (i32.const 1)) (i32.const 0))"#
    ));
    assert_eq!(
        load_as("as-compiler", limits, huge),
        LoadError::CompileMemory { limit_bytes }
    );
}
