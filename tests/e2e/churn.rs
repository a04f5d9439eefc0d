//! Many cells, one after the other and all at once: when they have gone the node is as it was.

use fixtures::{Environment, Running, Ww, guests};

use crate::rpc::Footprint;
use crate::ww;

const IN_A_ROW: u32 = 10_000;
const AT_ONCE: u32 = 1000;

/// Cells of each kind before what the node takes is noted: pools are filled then, and threads started.
const WARM: u32 = 100;

/// What the node may hold more than before, for cells in a row: a leak of 2 KiB for each would be more.
const SPARE_ROW_KIB: u64 = 20 << 10;

/// And after many at once: an instance's place in the pool keeps 64 KiB of its memory, and its tables and stack some more.
const SPARE_ONCE_KIB: u64 = 192 << 10;

/// Each vat keeps some threads for a while, for what blocks.
const SPARE_THREADS: u64 = 8;

/// The peer-to-peer network opens and closes some by itself.
const SPARE_DESCRIPTORS: u64 = 4;

/// A guest that spawns, and the node that it does so on.
struct Churn {
    running: Running,
    // Outlive what runs in them.
    _environment: Environment,
    _ww: Ww,
}

impl Churn {
    fn begin() -> Self {
        let environment = Environment::new(guests::CHURN);
        environment.copy(guests::PLAIN, "bin/plain.wasm");
        environment.copy(guests::IDLE, "bin/idle.wasm");
        let options = ["--max-cells", "1100"];
        let ww = ww();
        let running = Running::start(&mut ww.guest_command_with(&options, &environment, &[]));
        Self {
            running,
            _environment: environment,
            _ww: ww,
        }
    }

    /// Spawns so many, and waits until they have gone. Returns what the node holds then.
    #[track_caller]
    fn spawn(&mut self, how: &str, number: u32) -> Footprint {
        let line = format!("{how} {number}");
        self.running.type_line(&line);
        if how == "once" {
            self.running.stdout_line(&format!("alive {number}"));
        }
        self.running.stdout_line(&line);
        Footprint::of(self.running.pid())
    }

    #[track_caller]
    fn end(mut self) {
        self.running.close_stdin();
        assert_eq!(self.running.code(), 0);
    }
}

#[track_caller]
fn assert_as_before(before: &Footprint, after: &Footprint, spare_kib: u64) {
    assert!(
        after.rss_kib < before.rss_kib + spare_kib,
        "{before:?}, {after:?}"
    );
    assert!(
        after.threads <= before.threads + SPARE_THREADS,
        "{before:?}, {after:?}"
    );
    assert!(
        after.descriptors <= before.descriptors + SPARE_DESCRIPTORS,
        "{before:?}, {after:?}"
    );
}

#[test]
pub fn churn() {
    let mut churn = Churn::begin();
    let before = churn.spawn("row", WARM);
    let after = churn.spawn("row", IN_A_ROW);
    println!("in a row: {before:?}, {after:?}");
    assert_as_before(&before, &after, SPARE_ROW_KIB);
    churn.end();
}

#[test]
fn a_thousand_cells_at_once_leave_nothing() {
    let mut churn = Churn::begin();
    let before = churn.spawn("once", WARM);
    let after = churn.spawn("once", AT_ONCE);
    println!("at once: {before:?}, {after:?}");
    assert_as_before(&before, &after, SPARE_ONCE_KIB);
    // What stays is kept for the next ones, and does not grow with them.
    let again = churn.spawn("once", AT_ONCE);
    println!("once more: {again:?}");
    assert_as_before(&after, &again, SPARE_ROW_KIB);
    churn.end();
}
