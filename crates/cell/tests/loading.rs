//! From bytes to a program: what is refused and with which name, and what is done only once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/lib.rs"]
mod support;

use bytes::Bytes;
use cell::{
    Allocation, CacheError, Digest, Engine, EngineError, EngineOptions, Exit, LoadError,
    LoadLimits, Setup,
};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use support::*;

const NOTHING: &str = r#"(func (export "run") (result i32) (i32.const 0))"#;

fn cached(directory: &Path) -> Engine {
    Engine::new(EngineOptions {
        cache_dir: Some(directory.to_owned()),
        ..options()
    })
    .unwrap()
}

fn refusal(wasm: impl Into<Bytes>) -> LoadError {
    on_one_thread(engine().load(wasm.into())).err().unwrap()
}

#[test]
fn what_is_no_command_component_is_refused_by_name() {
    assert_eq!(refusal(&b""[..]), LoadError::NotWasm);
    assert_eq!(refusal(&b"#!/bin/sh\n"[..]), LoadError::NotWasm);
    assert_eq!(
        refusal(wat::parse_str("(module)").unwrap()),
        LoadError::CoreModule
    );
    assert_eq!(refusal(component("(component)")), LoadError::NotACommand);
    let whole = command(NOTHING);
    for length in [4, 7, 9, whole.len() / 2, whole.len() - 1] {
        let error = refusal(whole.slice(..length));
        assert!(matches!(error, LoadError::Invalid(_)), "{length}: {error}");
    }
}

#[test]
fn every_unknown_import_is_named_with_what_would_help() {
    let guest = component(
        r#"(component
            (import "wasi:cli/environment@0.2.0" (instance))
            (import "wasi:http/types@0.2.0" (instance))
            (import "wasi:clocks/wall-clock@0.3.0" (instance))
            (import "acme:rockets/launch@1.0.0" (instance)))"#,
    );
    let LoadError::UnknownImports(imports) = refusal(guest) else {
        panic!();
    };
    let names: Vec<_> = imports.iter().map(|import| &*import.name).collect();
    assert_eq!(
        names,
        [
            "wasi:http/types@0.2.0",
            "wasi:clocks/wall-clock@0.3.0",
            "acme:rockets/launch@1.0.0"
        ]
    );
    assert!(imports[1].hint.contains("wasm32-wasip2"));
    assert!(imports[2].hint.contains("wac plug"));
}

#[test]
fn a_component_over_the_limit_is_refused_unread() {
    let limits = LoadLimits {
        max_component_bytes: 100,
        ..LoadLimits::default()
    };
    let engine = Engine::new(EngineOptions {
        load: limits,
        ..options()
    })
    .unwrap();
    let wasm = command(NOTHING);
    let bytes = wasm.len();
    assert_eq!(
        on_one_thread(engine.load(wasm)).err(),
        Some(LoadError::TooLarge { bytes, limit: 100 })
    );
}

#[test]
fn a_program_knows_its_digest_and_its_imports() {
    let wasm = command(NOTHING);
    let program = on_one_thread(engine().load(wasm.clone())).unwrap();
    assert_eq!(program.digest(), Digest::of(&wasm));
    assert_eq!(program.imports(), ["wasi:cli/exit@0.2.12"]);
}

#[test]
fn however_many_ask_a_component_is_compiled_once() {
    let engine = engine();
    let wasm = rust_guest();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (engine, wasm) = (engine.clone(), wasm.clone());
            std::thread::spawn(move || {
                on_one_thread(async {
                    // Some give up at once; that changes nothing for the others.
                    let hasty = Duration::from_micros(100);
                    let _ = tokio::time::timeout(hasty, engine.load(wasm.clone())).await;
                    let loads = (0..4).map(|_| engine.load(wasm.clone()));
                    futures::future::try_join_all(loads).await.unwrap();
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(engine.compilations(), 1);
}

#[test]
fn a_second_engine_finds_in_the_cache_what_the_first_compiled() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    let first = cached(&directory);
    on_one_thread(first.load(command(NOTHING))).unwrap();
    assert_eq!(first.compilations(), 1);
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let second = cached(&directory);
    let program = on_one_thread(second.load(command(NOTHING))).unwrap();
    assert_eq!(second.compilations(), 0);
    assert_eq!(
        on_one_thread(run(&program, Setup::default())),
        Exit::Exited(0)
    );
}

#[test]
fn a_broken_cache_entry_is_compiled_anew_and_mended() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    on_one_thread(cached(&directory).load(command(NOTHING))).unwrap();
    let entry = std::fs::read_dir(&directory).unwrap().next().unwrap();
    let path = entry.unwrap().path();
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for broken in [
        &whole[..0],
        &whole[..20],
        &whole[..whole.len() - 1],
        &flipped,
    ] {
        std::fs::write(&path, broken).unwrap();
        let engine = cached(&directory);
        let program = on_one_thread(engine.load(command(NOTHING))).unwrap();
        assert_eq!(engine.compilations(), 1);
        let exit = on_one_thread(run(&program, Setup::default()));
        assert_eq!(exit, Exit::Exited(0));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_cache_directory_that_others_may_enter_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o750)).unwrap();
    let refused = Engine::new(EngineOptions {
        cache_dir: Some(directory),
        ..options()
    });
    assert!(matches!(
        refused.err(),
        Some(EngineError::Cache(CacheError::Open { mode: 0o750, .. }))
    ));
}

#[test]
fn without_address_space_for_slots_cells_run_all_the_same() {
    // Slots for so many cells exceed every address space, and so does a quarter of them.
    let engine = Engine::new(EngineOptions {
        max_cells: 1 << 20,
        ..EngineOptions::default()
    })
    .unwrap();
    assert!(matches!(engine.allocation(), Allocation::OnDemand { .. }));
    on_one_thread(async {
        let program = engine.load(talker(ECHO)).await.unwrap();
        let (control, sender, mut inbox) = start(program.spawn(Setup::default()).unwrap());
        sender.send(message(9, 9)).unwrap();
        assert_eq!(inbox.receive().await, Some(message(9, 9)));
        drop(sender);
        assert_eq!(control.wait().await, Exit::Exited(0));
    });
    assert!(matches!(
        support::engine().allocation(),
        Allocation::Pooling { cells: 16 }
    ));
}
