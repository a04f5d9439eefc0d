//! What cells may use together, and what becomes of it when they end.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/lib.rs"]
mod support;

use cell::{
    Allotment, Bound, Budget, Control, Engine, EngineOptions, Exit, Limits, LoadLimits, Program,
    Resource, Setup, SpawnError, Status,
};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use support::*;

/// What the cells of a test have together, in bytes: more than one guest has at its beginning.
const MEMORY: u64 = 8 << 20;

fn on(budget: &Budget) -> Setup {
    Setup {
        budget: budget.clone(),
        ..Setup::default()
    }
}

fn inherit(parent: &Budget) -> Budget {
    parent.child(&Allotment::default()).unwrap()
}

fn fuel(units: u64) -> Allotment {
    Allotment {
        fuel: Some(units),
        ..Allotment::default()
    }
}

fn share(percent: u32) -> Allotment {
    Allotment {
        cpu_share: NonZeroU32::new(percent),
        ..Allotment::default()
    }
}

/// Grows its memory page by page until it is refused, then dies of that.
const HOG: &str = r#"(func (export "run") (result i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    unreachable)"#;

#[test]
fn the_memory_of_a_great_grandchild_is_bounded_by_the_first_cells_and_comes_back_before_it_ends() {
    on_one_thread(async {
        let engine = engine();
        let echo = engine.load(talker(ECHO)).await.unwrap();
        let hog = engine.load(command(HOG)).await.unwrap();
        let root = Budget::root(&Allotment {
            memory_bytes: Some(MEMORY),
            ..Allotment::default()
        });
        let mut chain = vec![root.clone()];
        for _ in 0..5 {
            chain.push(inherit(&chain[chain.len() - 1]));
        }
        let (aunt, _sender, _inbox) = start(echo.spawn(on(&inherit(&root))).unwrap());
        while aunt.usage().memory_bytes == 0 {
            assert_eq!(aunt.status(), Status::Running);
            tokio::task::yield_now().await;
        }
        let held = aunt.usage().memory_bytes;
        let leaf = &chain[5];
        let (control, ..) = start(hog.spawn(on(leaf)).unwrap());
        assert_eq!(
            control.wait().await,
            Exit::OutOfMemory {
                limit_bytes: MEMORY
            }
        );
        for budget in &chain[1..] {
            assert_eq!(budget.used().memory_bytes, 0);
            assert_eq!(budget.used().peak_memory_bytes, MEMORY - held);
        }
        assert_eq!(control.usage().tree.peak_memory_bytes, MEMORY - held);
        assert_eq!(root.used().memory_bytes, held);
        assert_eq!(root.used().cells, 1);
        aunt.kill();
        aunt.wait().await;
        assert_eq!(root.used().memory_bytes, 0);
        assert_eq!(root.used().cells, 0);
        assert_eq!(root.used().peak_memory_bytes, MEMORY);
        // The limit of one cell stays beside that.
        let setup = Setup {
            limits: Limits {
                memory_bytes: MEMORY / 2,
                ..Limits::default()
            },
            ..on(&root)
        };
        assert_eq!(
            run(&hog, setup).await,
            Exit::OutOfMemory {
                limit_bytes: MEMORY / 2
            }
        );
    });
}

#[test]
fn cells_below_are_counted_from_spawning_until_they_have_ended() {
    on_one_thread(async {
        let program = engine().load(talker(ECHO)).await.unwrap();
        let root = Budget::root(&Allotment {
            cells: Some(2),
            ..Allotment::default()
        });
        let (first, _sender, _inbox) = start(program.spawn(on(&root)).unwrap());
        let child = inherit(&root);
        let (second, _sender, _inbox) = start(program.spawn(on(&child)).unwrap());
        let third = program.spawn(on(&inherit(&child))).unwrap();
        assert_eq!(first.usage().tree.cells, 2);
        assert_eq!(second.usage().tree.cells, 1);
        let Err(SpawnError::Budget(refused)) = program.spawn(on(&inherit(&root))) else {
            panic!();
        };
        assert_eq!(refused.bound, Bound::Held(Resource::Cells));
        assert_eq!(
            refused.to_string(),
            "limit: cells: 1 cells were asked for, 0 are left to this cell"
        );
        drop(third);
        assert_eq!(first.usage().tree.cells, 1);
        second.kill();
        second.wait().await;
        assert_eq!(first.usage().tree.cells, 0);
        first.kill();
        first.wait().await;
    });
}

/// Sends a message with one word, with `work` instructions' worth of straight code, and again.
fn sends_between(work: usize) -> String {
    let straight = "(local.set $x (i32.add (local.get $x) (i32.const 1)))".repeat(work / 4);
    format!(
        r#"(func (export "run") (result i32)
            (local $connection i32) (local $x i32)
            (call $connect (i32.const 0))
            (local.set $connection (i32.load (i32.const 8)))
            (i32.store (i32.const 1028) (i32.const 1))
            (loop $forever
                (call $send (local.get $connection)
                    (i32.const 1024) (i32.const 16) (i32.const 32))
                {straight}
                (br $forever))
            (unreachable))"#
    )
}

#[test]
fn neither_host_calls_nor_straight_code_get_a_guest_more_fuel_than_its_budget_has() {
    const BUDGET: u64 = 25_000;
    on_one_thread(async {
        let engine = engine();
        for work in [0, 400, 10_000, 40_000] {
            let program = engine.load(talker(&sends_between(work))).await.unwrap();
            for of_limits in [true, false] {
                let root = Budget::root(&fuel(if of_limits { 10 * BUDGET } else { BUDGET }));
                let setup = Setup {
                    limits: Limits {
                        fuel: of_limits.then_some(BUDGET),
                        ..Limits::default()
                    },
                    ..on(&root)
                };
                let (control, _sender, inbox) = start(program.spawn(setup).unwrap());
                assert_eq!(control.wait().await, Exit::OutOfFuel { budget: BUDGET });
                assert_eq!(control.usage().fuel, Some(BUDGET));
                let rounds = inbox.len();
                let afforded = BUDGET as usize / work.max(5);
                assert!(rounds <= afforded + 1, "{rounds} rounds of {work}");
                let left = if of_limits { 9 * BUDGET } else { 0 };
                assert_eq!(root.used().fuel_left, Some(left));
            }
        }
    });
}

#[test]
fn a_guest_that_returns_leaves_what_it_has_not_burnt() {
    on_one_thread(async {
        let program = engine()
            .load(command(
                r#"(func (export "run") (result i32) (local $i i32)
                    (loop $more
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (br_if $more (i32.lt_u (local.get $i) (i32.const 10000))))
                    (i32.const 0))"#,
            ))
            .await
            .unwrap();
        let root = Budget::root(&fuel(1_000_000));
        let mut burnt = Vec::new();
        for _ in 0..3 {
            let before = root.used().fuel_left.unwrap();
            let child = root.child(&fuel(500_000)).unwrap();
            let (control, ..) = start(program.spawn(on(&child)).unwrap());
            drop(child);
            assert_eq!(control.wait().await, Exit::Exited(0));
            let used = control.usage().fuel.unwrap();
            assert_eq!(root.used().fuel_left, Some(before - used));
            burnt.push(used);
        }
        assert!(burnt.iter().all(|&used| used == burnt[0]), "{burnt:?}");
        assert!((60_000..100_000).contains(&burnt[0]), "{burnt:?}");
    });
}

/// Burns some 50,000 units without a call, and traps.
const BURN_AND_TRAP: &str = r#"(func (export "run") (result i32) (local $i i32)
    (loop $more
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $i) (i32.const 10000))))
    (i32.div_u (i32.const 1) (i32.const 0)))"#;

#[test]
fn children_that_burn_and_trap_do_not_burn_for_nothing() {
    on_one_thread(async {
        let program = engine().load(command(BURN_AND_TRAP)).await.unwrap();
        let root = Budget::root(&fuel(10_000_000));
        let mut children = 0;
        while let Ok(child) = root.child(&fuel(2_000_000)) {
            let exit = run(&program, on(&child)).await;
            assert!(matches!(exit, Exit::Trapped { .. }), "{exit:?}");
            children += 1;
        }
        assert!(children < 10_000_000 / 50_000, "{children}");
    });
}

#[test]
fn what_a_spinning_cell_sets_aside_for_children_is_gone_from_its_own() {
    const BUDGET: u64 = 1_000_000_000;
    on_one_thread(async {
        let program = engine().load(command(SPIN)).await.unwrap();
        let root = Budget::root(&fuel(BUDGET));
        let (control, ..) = start(program.spawn(on(&root)).unwrap());
        while control.usage().fuel == Some(0) {
            tokio::task::yield_now().await;
        }
        let left = root.used().fuel_left.unwrap();
        let child = root.child(&fuel(left)).unwrap();
        assert_eq!(control.status(), Status::Running);
        assert_eq!(control.wait().await, Exit::OutOfFuel { budget: BUDGET });
        assert_eq!(control.usage().fuel, Some(BUDGET - left));
        assert_eq!(root.used().fuel_left, Some(0));
        // It did not hold much back from its child.
        assert!(left > BUDGET - BUDGET / 5, "{left}");
        let (second, ..) = start(program.spawn(on(&child)).unwrap());
        second.kill();
        assert_eq!(second.wait().await, Exit::Killed);
        drop(child);
        assert_eq!(root.used().fuel_left, Some(left));
    });
}

#[test]
fn fuel_that_another_thread_sets_aside_while_a_guest_burns_it_is_neither_made_nor_lost() {
    const BUDGET: u64 = 300_000_000;
    let root = Budget::root(&fuel(BUDGET));
    let of_cell = root.clone();
    let cell = std::thread::spawn(move || {
        on_one_thread(async {
            let program = engine().load(command(SPIN)).await.unwrap();
            let (control, ..) = start(program.spawn(on(&of_cell)).unwrap());
            assert_eq!(control.wait().await, Exit::OutOfFuel { budget: BUDGET });
            control.usage().fuel.unwrap()
        })
    });
    let mut children = Vec::new();
    while !cell.is_finished() {
        children.extend(root.child(&fuel(500_000)));
        std::thread::sleep(Duration::from_micros(500));
    }
    let burnt = cell.join().unwrap();
    assert!(!children.is_empty());
    let given: u64 = children
        .iter()
        .filter_map(|child| child.used().fuel_left)
        .sum();
    assert_eq!(burnt + given, BUDGET);
    drop(children);
    assert_eq!(root.used().fuel_left, Some(given));
}

/// The share of the time since `began` that these cells have kept threads busy, in percent.
fn busy(began: Instant, cells: &[Control]) -> u128 {
    let used: Duration = cells.iter().map(|cell| cell.usage().cpu_time).sum();
    used.as_nanos() * 100 / began.elapsed().as_nanos()
}

#[test]
fn cells_that_spin_together_get_the_share_of_the_one_above_them() {
    on_one_thread(async {
        let program = engine().load(command(SPIN)).await.unwrap();
        let root = Budget::root(&share(10));
        let began = Instant::now();
        let cells: Vec<_> = (0..3)
            .map(|_| start(program.spawn(on(&inherit(&root))).unwrap()).0)
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let percent = busy(began, &cells);
        assert!(percent < 40, "{percent}");
        for cell in &cells {
            assert_eq!(cell.status(), Status::Running);
            assert!(cell.usage().cpu_time > Duration::ZERO);
            cell.kill();
            assert_eq!(cell.wait().await, Exit::Killed);
        }
    });
}

#[test]
fn a_cell_that_waits_for_its_share_is_killed_and_runs_out_of_time_all_the_same() {
    on_one_thread(async {
        let program = engine().load(command(SPIN)).await.unwrap();
        let spin = |budget: Budget| start(program.spawn(on(&budget)).unwrap()).0;
        let spent = async |control: &Control| {
            // More than the burst, so that it waits for a second at least.
            while control.usage().cpu_time < Duration::from_millis(11) {
                tokio::task::yield_now().await;
            }
        };
        let killed = spin(Budget::root(&share(1)));
        spent(&killed).await;
        killed.kill();
        assert_eq!(killed.wait().await, Exit::Killed);

        let limit = Duration::from_millis(100);
        let late = spin(Budget::root(&Allotment {
            wall_time: Some(limit),
            ..share(1)
        }));
        assert_eq!(late.wait().await, Exit::OutOfTime { limit });
    });
}

#[test]
fn time_runs_out_for_a_child_when_it_does_for_its_parent() {
    on_one_thread(async {
        let limit = Duration::from_millis(20);
        let root = Budget::root(&Allotment {
            wall_time: Some(limit),
            ..Allotment::default()
        });
        let setup = Setup {
            limits: Limits {
                wall_time: Some(Duration::from_secs(3600)),
                ..Limits::default()
            },
            ..on(&inherit(&inherit(&root)))
        };
        let program = engine().load(talker(ECHO)).await.unwrap();
        let (control, _sender, _inbox) = start(program.spawn(setup).unwrap());
        assert_eq!(control.wait().await, Exit::OutOfTime { limit });
    });
}

#[test]
fn whoever_ends_a_cell_first_says_how_it_ended() {
    on_one_thread(async {
        let engine = engine();
        let program: Program = engine.load(command(SPIN)).await.unwrap();
        let said = Exit::Revoked {
            reason: "the session is over".to_owned(),
        };
        assert_eq!(said.to_string(), "revoked: the session is over");
        assert_eq!(said.code(), 129);
        let (running, ..) = start(program.spawn(Setup::default()).unwrap());
        while running.usage().cpu_time.is_zero() {
            tokio::task::yield_now().await;
        }
        running.revoke("the session is over");
        running.kill();
        assert_eq!(running.wait().await, said);

        let unrun = program.spawn(Setup::default()).unwrap();
        unrun.control.end(said.clone());
        drop(unrun.cell);
        assert_eq!(unrun.control.wait().await, said);

        // In a call of its own, too.
        let program = engine.load(talker(FLOOD)).await.unwrap();
        let spawned = program.spawn(Setup::default()).unwrap();
        let control = spawned.control.clone();
        let verdict = said.clone();
        let exit = spawned
            .cell
            .run(does(move |_| {
                control.end(verdict.clone());
                Ok(())
            }))
            .await;
        assert_eq!(exit, said);
    });
}

#[test]
fn whoever_has_much_compiled_does_not_make_others_wait_for_all_of_it() {
    const MANY: u64 = 30;
    on_one_thread(async {
        let engine = Engine::new(EngineOptions {
            load: LoadLimits {
                concurrent_compilations: 1,
                ..LoadLimits::default()
            },
            ..options()
        })
        .unwrap();
        let returns = |code: u64| {
            command(&format!(
                r#"(func (export "run") (result i32) (call $exit (i32.const {code})) unreachable)"#
            ))
        };
        let root = Budget::default();
        let (greedy, modest) = (inherit(&root), inherit(&root));
        let mut loads = Vec::new();
        for code in 0..MANY {
            let (engine, budget) = (engine.clone(), inherit(&greedy));
            let wasm = returns(code);
            loads.push(tokio::task::spawn_local(async move {
                engine.load_for(&budget, wasm).await.unwrap();
            }));
        }
        while engine.compilations() == 0 {
            tokio::task::yield_now().await;
        }
        engine.load_for(&modest, returns(MANY)).await.unwrap();
        let before = engine.compilations();
        assert!(before <= MANY / 2, "{before}");
        for load in loads {
            load.await.unwrap();
        }
        assert_eq!(engine.compilations(), MANY + 1);
    });
}
