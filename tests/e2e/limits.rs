//! What a cell may use: by `--limit` for the first one, by `Program.spawn` for the others, and never more than
//! its parent has. Each bound has its name, and whoever meets it is told.

use std::process::Command;

use fixtures::{Environment, guests};
use serde_json::Value;

use crate::{Attempts, Stage, json, ww};

/// What `governs` tells of its children.
#[track_caller]
fn governs(options: &[&str], args: &[&str]) -> Vec<Value> {
    let environment = Environment::new(guests::GOVERNS);
    for (guest, name) in [
        (guests::CALLS_AT_ONCE, "calls_at_once"),
        (guests::FILLS_TMP, "fills_tmp"),
        (guests::GOVERNS, "governs"),
        (guests::IDLE, "idle"),
        (guests::MEMHOG, "memhog"),
        (guests::PLAIN, "plain"),
        (guests::SPIN, "spin"),
    ] {
        environment.copy(guest, &format!("bin/{name}.wasm"));
    }
    let ww = ww();
    let mut command = ww.guest_command_with(options, &environment, args);
    json(&fixtures::finish(&mut command).ok().stdout())
}

fn error(told: &Value) -> &str {
    let error = told["error"].as_str();
    error.unwrap_or_else(|| panic!("not refused: {told}"))
}

fn refused_after_mib(told: &str) -> u64 {
    let mib = told.trim().strip_prefix("refused after ");
    let mib = mib.and_then(|rest| rest.strip_suffix(" MiB"));
    mib.unwrap_or_else(|| panic!("{told}")).parse().unwrap()
}

// Row 92.
#[test]
fn memory_of_the_first_cell() {
    let stage = Stage::new(guests::MEMHOG).with(&["--limit", "memory=16MiB"]);
    assert!((8..16).contains(&refused_after_mib(&stage.run(&[]).ok().stdout())));
    let died = stage.run(&["die"]).expect(137).stderr();
    assert!(
        died.contains("out of memory: it may use 16777216 bytes"),
        "{died}"
    );
    // More than is usual, if the operator says so.
    let stage = Stage::new(guests::MEMHOG).with(&["--limit", "memory=400MiB"]);
    assert!((350..400).contains(&refused_after_mib(&stage.run(&[]).ok().stdout())));
}

#[test]
fn memory_of_a_cell_and_of_all_that_it_spawns() {
    // Each by itself might have it; together they may not.
    let told = governs(&["--limit", "memory=40MiB"], &["2", "/bin/memhog.wasm"]);
    for child in &told {
        let mib = refused_after_mib(child["stdout"].as_str().unwrap());
        assert!(mib < 40, "{mib}");
    }
    let told = governs(&[], &["1", "memory=16777216", "/bin/memhog.wasm", "die"]);
    assert_eq!(told[0]["status"], "out of memory");
    let told = governs(
        &["--limit", "memory=64MiB"],
        &["1", "memory=1073741824", "/bin/plain.wasm"],
    );
    let why = error(&told[0]);
    assert!(
        why.contains("limit: memory: 1073741824 bytes were asked for"),
        "{why}"
    );
}

// Row 91.
#[test]
fn time() {
    let stage = Stage::new(guests::SPIN).with(&["--limit", "time=300ms"]);
    let told = stage.run(&[]).expect(124).stderr();
    assert!(told.contains("out of time: it may run for 300ms"), "{told}");
    let told = governs(&[], &["1", "time=300", "/bin/spin.wasm"]);
    assert_eq!(told[0]["status"], "out of time");
    assert_eq!(told[0]["stdout"], "spinning\n");
}

#[test]
fn fuel() {
    let stage = Stage::new(guests::SPIN).with(&["--limit", "fuel=5000000"]);
    let told = stage.run(&[]).expect(152).stderr();
    assert!(
        told.contains("out of fuel: its budget was 5000000 instructions"),
        "{told}"
    );
    let told = governs(&[], &["1", "fuel=5000000", "/bin/spin.wasm"]);
    assert_eq!(told[0]["status"], "out of fuel");
    assert_eq!(told[0]["fuel"], 5_000_000);
    // What is given to a child is set aside from what its parent has.
    let told = governs(
        &["--limit", "fuel=100000000"],
        &["2", "fuel=80000000", "/bin/spin.wasm"],
    );
    assert_eq!(told[0]["status"], "out of fuel");
    assert!(error(&told[1]).contains("limit: fuel: "), "{told:?}");
}

#[test]
fn a_share_of_the_processor() {
    let told = governs(&[], &["1", "cpu=10", "time=2000", "/bin/spin.wasm"]);
    assert_eq!(told[0]["status"], "out of time");
    let nanos = told[0]["cpu_nanos"].as_u64().unwrap();
    // A tenth of two seconds, and as much again for a busy machine.
    assert!(nanos < 800_000_000, "{nanos}");
    let told = governs(&["--limit", "cpu=50%"], &["1", "cpu=80", "/bin/plain.wasm"]);
    assert!(
        error(&told[0]).contains("limit: CPU share: 80 percent"),
        "{told:?}"
    );
}

#[test]
pub fn calls_under_way() {
    let stage = Stage::new(guests::CALLS_AT_ONCE).with(&["--limit", "calls=4"]);
    let told = stage.run(&["10"]).ok().stdout();
    let refused: u32 = told.split(' ').next().unwrap().parse().unwrap();
    // The answer to its graft may or may not be finished with.
    assert!((6..=7).contains(&refused), "{told}");
    assert!(told.contains("4 calls are under way"), "{told}");
    let told = governs(&[], &["1", "calls=4", "/bin/calls_at_once.wasm", "10"]);
    assert!(
        told[0]["stdout"]
            .as_str()
            .unwrap()
            .contains("4 calls are under way"),
        "{told:?}"
    );
}

#[test]
fn the_size_of_a_message() {
    let stage = Stage::new(guests::OVERSIZED_MESSAGE).with(&["--limit", "message=1MiB"]);
    let tried = Attempts::of(&stage.run(&["1"]).ok().stdout());
    assert!(tried.error("oversized").contains("1048576"));
    tried.ok("small");
}

#[test]
pub fn cells_below() {
    let told = governs(&["--limit", "cells=2"], &["3", "/bin/idle.wasm"]);
    assert_eq!(told[0]["status"], "killed");
    assert_eq!(told[1]["status"], "killed");
    let why = error(&told[2]);
    assert!(
        why.contains("limit: cells: 1 cells were asked for, 0 are left"),
        "{why}"
    );
    // Grandchildren count too.
    let told = governs(
        &["--limit", "cells=2"],
        &[
            "1",
            "grant=executor",
            "/bin/governs.wasm",
            "2",
            "/bin/idle.wasm",
        ],
    );
    let told = json(told[0]["stdout"].as_str().unwrap());
    assert_eq!(told[0]["status"], "killed");
    assert!(error(&told[1]).contains("limit: cells"), "{told:?}");
}

// Whatever the executor came through on its way to the child, and wherever the cells run.
#[test]
fn a_childs_bounds_hold_for_what_it_runs_by_an_executor_that_was_narrowed() {
    let within = ["/bin/governs.wasm", "3", "/bin/idle.wasm"];
    for supervisors in 0..3 {
        let mut args = Vec::new();
        for _ in 0..supervisors {
            args.extend(["1", "grant=narrowed", "/bin/governs.wasm"]);
        }
        args.extend(["1", "cells=1", "grant=narrowed"]);
        args.extend(within);
        let mut told = governs(&[], &args);
        for _ in 0..=supervisors {
            told = json(told[0]["stdout"].as_str().unwrap());
        }
        assert_eq!(told[0]["status"], "killed", "{told:?}");
        for refused in &told[1..] {
            assert!(
                error(refused).contains("limit: cells"),
                "{supervisors}: {told:?}"
            );
        }
    }
}

#[test]
fn generations_below() {
    let told = governs(
        &["--limit", "depth=1"],
        &[
            "1",
            "grant=executor",
            "/bin/governs.wasm",
            "1",
            "/bin/plain.wasm",
        ],
    );
    let told = json(told[0]["stdout"].as_str().unwrap());
    assert!(error(&told[0]).contains("limit: depth"), "{told:?}");
}

#[test]
fn streams() {
    let told = governs(&["--limit", "streams=7"], &["3", "/bin/idle.wasm"]);
    assert_eq!(told[1]["status"], "killed");
    let why = error(&told[2]);
    assert!(
        why.contains("limit: streams: 3 streams were asked for, 1 are left"),
        "{why}"
    );
}

// Row 42: written to, and gone with the cell.
#[test]
pub fn temporary_files() {
    let stage = Stage::new(guests::FILLS_TMP).with(&["--limit", "tmp=1MiB"]);
    let told = stage.run(&[]).ok().stdout();
    assert!(told.starts_with("960 KiB: "), "{told}");
    assert!(stage.ww.scratch().is_empty());
    let told = governs(&[], &["1", "tmp=1048576", "/bin/fills_tmp.wasm"]);
    assert!(
        told[0]["stdout"].as_str().unwrap().starts_with("960 KiB: "),
        "{told:?}"
    );
    // A child that asks for none has none.
    let told = governs(&[], &["1", "/bin/fills_tmp.wasm"]);
    assert!(
        told[0]["stdout"].as_str().unwrap().starts_with("0 KiB: "),
        "{told:?}"
    );
}

// Rows 3, 91: a cell that opens files without end leaves some to the node and to its neighbours, and gives them back.
#[test]
pub fn open_files() {
    let environment = Environment::new(guests::OPENS_FILES);
    environment.copy(guests::OPENS_FILES, "bin/opens_files.wasm");
    let ww = ww();
    let run = ww.guest_command_with(&[], &environment, &["2"]);
    let mut command = Command::new("sh");
    ww.furnish(&mut command);
    command
        .args(["-c", "ulimit -n 1024 && exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args());
    let told = json(&fixtures::finish(&mut command).ok().stdout());
    let [first, second, own] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(own["open"], 256);
    // While its parent has so many open, a child gets what is left of the node's half, and leaves it to the next.
    let left = first["open"].as_u64().unwrap();
    assert!((200..256).contains(&left), "{told:?}");
    assert_eq!(second["open"], left);
    for cell in told {
        assert_eq!(cell["refused"], "QuotaExceeded");
        assert_eq!(cell["read"], 4);
        assert_eq!(cell["again"], true);
    }
}

// Rows 3, 91: a cell that does nothing but multiply is stopped by name, and leaves room when it has ended.
#[test]
pub fn forks() {
    let environment = Environment::new(guests::FORKS);
    environment.copy(guests::FORKS, "bin/forks.wasm");
    let ww = ww();
    for (limit, told) in [
        (
            "cells=40",
            "limit: cells: 1 cells were asked for, 0 are left to this cell",
        ),
        ("cells=40,depth=3", "limit: "),
        (
            "streams=90",
            "limit: streams: 3 streams were asked for, 0 are left to this cell",
        ),
    ] {
        let mut command = ww.guest_command_with(&["--limit", limit], &environment, &[]);
        let stdout = fixtures::finish(&mut command).ok().stdout();
        assert!(stdout.contains(told), "{limit}: {stdout}");
        assert!(!stdout.contains("\n0 started"), "{limit}: {stdout}");
    }
}
