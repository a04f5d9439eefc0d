//! Guests that misbehave, each with the end that it must come to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/lib.rs"]
mod support;

use cell::{EngineOptions, Exit, Limits, Program, Setup, SpawnError, Status, Stdout, stdio};
use std::time::Duration;
use support::*;

fn limited(limits: Limits) -> Setup {
    Setup {
        limits,
        ..Setup::default()
    }
}

fn told(arg: &str) -> Setup {
    Setup {
        args: vec!["guest".to_owned(), arg.to_owned()],
        ..Setup::default()
    }
}

#[test]
fn a_guest_in_a_tight_loop_is_killed() {
    on_one_thread(async {
        let program = engine().load(command(SPIN)).await.unwrap();
        let (control, _sender, _inbox) = start(program.spawn(Setup::default()).unwrap());
        while control.usage().cpu_time < Duration::from_millis(5) {
            tokio::task::yield_now().await;
        }
        assert_eq!(control.status(), Status::Running);
        control.kill();
        assert_eq!(control.wait().await, Exit::Killed);
        assert_eq!(control.wait().await, Exit::Killed);
        assert_eq!(control.status(), Status::Ended(Exit::Killed));
    });
}

#[test]
fn neighbours_on_the_same_thread_get_on_beside_guests_in_tight_loops() {
    on_one_thread(async {
        let engine = engine();
        let spin = engine.load(command(SPIN)).await.unwrap();
        let echo = engine.load(talker(ECHO)).await.unwrap();
        let spinners: Vec<_> = (0..3)
            .map(|_| start(spin.spawn(Setup::default()).unwrap()))
            .collect();
        let (_control, sender, mut inbox) = start(echo.spawn(Setup::default()).unwrap());
        for round in 0..20 {
            sender.send(message(3, round)).unwrap();
            assert_eq!(inbox.receive().await, Some(message(3, round)));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        for (control, ..) in &spinners {
            assert_eq!(control.status(), Status::Running);
            control.kill();
            assert_eq!(control.wait().await, Exit::Killed);
        }
    });
}

#[test]
fn a_guest_that_waits_is_killed_and_so_is_one_that_never_began() {
    on_one_thread(async {
        let engine = engine();
        let program = engine.load(talker(ECHO)).await.unwrap();
        let (control, _sender, _inbox) = start(program.spawn(Setup::default()).unwrap());
        while control.usage().memory_bytes == 0 {
            tokio::task::yield_now().await;
        }
        control.kill();
        assert_eq!(control.wait().await, Exit::Killed);

        let spawned = program.spawn(Setup::default()).unwrap();
        spawned.control.kill();
        assert_eq!(spawned.cell.run(Nobody).await, Exit::Killed);

        let spawned = program.spawn(Setup::default()).unwrap();
        drop(spawned.cell);
        assert_eq!(spawned.control.wait().await, Exit::Killed);
        assert_eq!(engine.live_cells(), 0);
    });
}

#[test]
fn dropping_the_run_ends_the_guest_and_its_conversation() {
    on_one_thread(async {
        let program = engine().load(talker(ECHO)).await.unwrap();
        let spawned = program.spawn(Setup::default()).unwrap();
        let (outbox, mut inbox) = inbox(1);
        let sender = spawned.sender;
        let running = tokio::task::spawn_local(spawned.cell.run(outbox));
        sender.send(message(1, 1)).unwrap();
        inbox.receive().await.unwrap();
        running.abort();
        assert_eq!(spawned.control.wait().await, Exit::Killed);
        assert_eq!(inbox.receive().await, None);
        assert_eq!(sender.send(message(1, 1)), Err(cell::SendError::Closed));
    });
}

#[test]
fn a_guest_whose_messages_nobody_takes_is_held_back_and_can_be_killed() {
    on_one_thread(async {
        let program = engine().load(talker(FLOOD)).await.unwrap();
        let spawned = program.spawn(Setup::default()).unwrap();
        let (control, _sender, mut inbox) = start_with_room(spawned, 10);
        for _ in 0..100 {
            assert_eq!(inbox.receive().await.map(|m| m.len()), Some(8008));
        }
        while inbox.len() < 10 {
            tokio::task::yield_now().await;
        }
        control.kill();
        assert_eq!(control.wait().await, Exit::Killed);
        assert_eq!(inbox.len(), 10);

        // Nobody to take them at all: the guest is told.
        assert_eq!(run(&program, Setup::default()).await, Exit::Exited(1));
    });
}

#[test]
fn memory_beyond_the_limit_is_refused_and_dying_of_that_has_a_name() {
    let limits = Limits {
        memory_bytes: 1 << 20,
        ..Limits::default()
    };
    let grow_then = |body: &str| {
        command(&format!(
            r#"(func (export "run") (result i32)
                (loop $more (br_if $more
                    (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
                {body})"#
        ))
    };
    on_one_thread(async {
        let dies = grow_then("unreachable");
        assert_eq!(
            exit_of(dies, limited(limits.clone())).await,
            Exit::OutOfMemory {
                limit_bytes: 1 << 20
            }
        );
        let copes = grow_then("(i32.const 0)");
        assert_eq!(
            exit_of(copes, limited(limits.clone())).await,
            Exit::Exited(0)
        );
        let begins_too_large =
            command(r#"(memory 17) (func (export "run") (result i32) (i32.const 0))"#);
        assert_eq!(
            exit_of(begins_too_large, limited(limits)).await,
            Exit::OutOfMemory {
                limit_bytes: 1 << 20
            }
        );
    });
}

#[test]
fn a_real_program_that_hogs_memory_is_out_of_memory() {
    on_one_thread(async {
        let program = engine().load(rust_guest()).await.unwrap();
        let exit = run(&program, told("hog")).await;
        assert_eq!(
            exit,
            Exit::OutOfMemory {
                limit_bytes: Limits::default().memory_bytes
            }
        );
        assert_eq!(exit.code(), 137);
        let later = run(&program, told("survive-refusal-then-panic")).await;
        assert!(matches!(later, Exit::Trapped { .. }), "{later:?}");
    });
}

#[test]
fn an_exhausted_stack_is_a_trap_that_says_so() {
    on_one_thread(async {
        let recurse = command(
            r#"(func $down (param i32) (result i32)
                   (i32.add (i32.const 1) (call $down (local.get 0))))
               (func (export "run") (result i32) (call $down (i32.const 0)))"#,
        );
        let real = engine().load(rust_guest()).await.unwrap();
        for exit in [
            exit_of(recurse, Setup::default()).await,
            run(&real, told("recurse")).await,
        ] {
            let Exit::Trapped { message, .. } = &exit else {
                panic!("{exit:?}");
            };
            assert!(message.contains("stack overflow"), "{message}");
            assert_eq!(exit.code(), 134);
        }
    });
}

#[test]
fn fuel_is_one_ledger_that_host_calls_do_not_refill() {
    let loops_over_cheap_calls = component(
        r#"(component
            (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
                (export "now" (func (result u64)))))
            (core func $now (canon lower (func $clock "now")))
            (core module $m
                (import "" "now" (func $now (result i64)))
                (func (export "run") (result i32)
                    (loop $l (drop (call $now)) (br $l)) (unreachable)))
            (core instance $i (instantiate $m (with "" (instance (export "now" (func $now))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $command (export "run" (func $run)))
            (export "wasi:cli/run@0.2.3" (instance $command)))"#,
    );
    on_one_thread(async {
        let engine = engine();
        let program = engine.load(loops_over_cheap_calls).await.unwrap();
        let budget = 25_000;
        let setup = || {
            limited(Limits {
                fuel: Some(budget),
                ..Limits::default()
            })
        };
        let spawned = program.spawn(setup()).unwrap();
        let exit = spawned.cell.run(Nobody).await;
        assert_eq!(exit, Exit::OutOfFuel { budget });
        assert_eq!(spawned.control.usage().fuel, Some(budget));
        // The metered code was made once, beside the plain one.
        run(&program, setup()).await;
        assert_eq!(engine.compilations(), 2);
        // A thrifty guest stays within its budget.
        let thrifty = engine
            .load(command(
                r#"(func (export "run") (result i32) (i32.const 0))"#,
            ))
            .await
            .unwrap();
        assert_eq!(run(&thrifty, setup()).await, Exit::Exited(0));
    });
}

#[test]
fn time_runs_out_in_a_loop_in_a_wait_and_in_a_send_that_waits() {
    on_one_thread(async {
        let limit = Duration::from_millis(20);
        for guest in [command(SPIN), talker(ECHO), talker(FLOOD)] {
            let program = engine().load(guest).await.unwrap();
            let setup = limited(Limits {
                wall_time: Some(limit),
                ..Limits::default()
            });
            let (control, _sender, _inbox) = start_with_room(program.spawn(setup).unwrap(), 1);
            assert_eq!(control.wait().await, Exit::OutOfTime { limit });
        }
    });
}

#[test]
fn handles_beyond_the_limit_have_a_name() {
    let hoard = talker(
        r#"(func (export "run") (result i32)
            (local $connection i32)
            (call $connect (i32.const 0))
            (local.set $connection (i32.load (i32.const 8)))
            (loop $more (drop (call $subscribe (local.get $connection))) (br $more))
            (unreachable))"#,
    );
    on_one_thread(async {
        let setup = limited(Limits {
            handles: 100,
            ..Limits::default()
        });
        assert_eq!(
            exit_of(hoard, setup).await,
            Exit::OutOfHandles { limit: 100 }
        );
    });
}

#[test]
fn a_trap_tells_what_and_where() {
    let traps = command(
        r#"(func $inner (drop (i32.div_u (i32.const 1) (i32.const 0))))
           (func $outer (export "run") (result i32) (call $inner) (i32.const 0))"#,
    );
    on_one_thread(async {
        let Exit::Trapped { message, backtrace } = exit_of(traps, Setup::default()).await else {
            panic!();
        };
        assert!(message.contains("divide by zero"), "{message}");
        let lines: Vec<_> = backtrace.lines().collect();
        assert_eq!(lines.len(), 2, "{backtrace}");
        assert!(lines[0].contains("!inner"), "{backtrace}");
        assert!(lines[1].contains("!outer"), "{backtrace}");
    });
}

#[test]
fn with_debug_information_a_trap_names_the_source_line() {
    on_one_thread(async {
        let engine = cell::Engine::new(EngineOptions {
            wasm_debug: true,
            ..options()
        })
        .unwrap();
        let program = engine.load(rust_guest()).await.unwrap();
        let Exit::Trapped { backtrace, .. } = run(&program, told("panic")).await else {
            panic!();
        };
        assert!(backtrace.contains("guest.rs:"), "{backtrace}");
    });
}

#[test]
fn more_cells_than_allowed_are_refused_until_one_has_gone() {
    on_one_thread(async {
        let engine = cell::Engine::new(EngineOptions {
            max_cells: 2,
            ..options()
        })
        .unwrap();
        let program: Program = engine.load(command(SPIN)).await.unwrap();
        let first = program.spawn(Setup::default()).unwrap();
        let _second = program.spawn(Setup::default()).unwrap();
        assert!(matches!(
            program.spawn(Setup::default()),
            Err(SpawnError::TooManyCells { limit: 2 })
        ));
        drop(first.cell);
        program.spawn(Setup::default()).unwrap();
    });
}

#[test]
fn errors_that_nobody_reads_do_not_hold_a_guest_back() {
    on_one_thread(async {
        let program = engine().load(rust_guest()).await.unwrap();
        let (reader, ring) = stdio::ring(1000);
        let setup = Setup {
            stderr: Stdout::Ring(ring),
            ..told("flood-stderr")
        };
        assert_eq!(run(&program, setup).await, Exit::Exited(0));
        let kept = reader.read(2000).await;
        assert_eq!(kept.len(), 1000);
        assert!(kept.ends_with(b"9998\n9999\n"));
        assert!(reader.dropped() > 40_000);
    });
}
