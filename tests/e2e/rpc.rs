//! No guest breaks its host by the RPC protocol, nor a cell beside it.
//!
//! The attackers are children of `keeper`, which looks after each of them whether its own calls and those on a
//! neighbour are answered. What an attack may come to: errors with a name, or the end of the attacker's
//! own conversation.

use std::collections::BTreeMap;

use fixtures::{Environment, Running, Ww, guests};
use serde_json::Value;

use crate::{Attempts, Stage, json, ww};

/// What the node may hold at most after an attack, and in between, beside what it held before: far below what any
/// of the attacks asks for. A few cells and full queues come to half of it.
const SETTLED_KIB: u64 = 192 << 10;
const PEAK_KIB: u64 = 384 << 10;

/// Threads that may be left over for a while: each vat keeps some for what blocks.
const SPARE_THREADS: u64 = 24;

/// A node under attack.
struct Siege {
    running: Running,
    before: Footprint,
    // Outlive what runs in them.
    _environment: Environment,
    _ww: Ww,
}

/// What an attacker told, and how it ended.
struct Told {
    lines: Attempts,
    status: String,
}

impl Siege {
    /// Attackers on the thread of their parent.
    fn begin() -> Self {
        Self::with_neighbours(0)
    }

    /// Attackers on another thread than their parent's, where the host has one.
    fn begin_elsewhere() -> Self {
        Self::with_neighbours(1)
    }

    fn with_neighbours(count: u32) -> Self {
        let environment = image(guests::KEEPER);
        let ww = ww();
        // All of the host, so that what refuses is what is called, and not the grant.
        let mut running = Running::start(&mut ww.guest_command_with(
            &["--grant", "host"],
            &environment,
            &[&count.to_string()],
        ));
        running.stdout_line("STILL HERE");
        let before = Footprint::of(running.pid());
        Self {
            running,
            before,
            _environment: environment,
            _ww: ww,
        }
    }

    /// Runs an attacker. Everyone else has to be well after it.
    #[track_caller]
    fn attack(&mut self, words: &[&str]) -> Told {
        self.running.type_line(&words.join("\t"));
        let line = self.running.stdout_line("beside");
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["own"], "still here", "{words:?}: {told}");
        assert_eq!(told["beside"], "STILL HERE", "{words:?}: {told}");
        let child = &told["child"];
        let text = child["stdout"].as_str();
        let text = text.unwrap_or_else(|| panic!("{words:?}: {told}"));
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('{')).collect();
        Told {
            lines: Attempts(json(&lines.join("\n"))),
            status: child["status"].as_str().unwrap().to_owned(),
        }
    }

    /// As [`Siege::attack`], for an attacker that ends by itself and tells how it went under its name.
    #[track_caller]
    fn survive(&mut self, guest: &str, name: &str, count: u32) -> Value {
        let told = self.attack(&[&format!("/bin/{guest}.wasm"), name, &count.to_string()]);
        assert_eq!(told.status, "exited with 0", "{name}");
        told.lines.ok(name).clone()
    }

    /// Ends the siege: the host has given back what the attackers took.
    #[track_caller]
    fn end(mut self) {
        let after = Footprint::of(self.running.pid());
        let Footprint {
            rss_kib,
            peak_kib,
            threads,
            descriptors: _,
        } = self.before;
        assert!(after.rss_kib < rss_kib + SETTLED_KIB, "{after:?}");
        assert!(after.peak_kib < peak_kib + PEAK_KIB, "{after:?}");
        assert!(after.threads <= threads + SPARE_THREADS, "{after:?}");
        self.running.close_stdin();
        assert_eq!(self.running.code(), 0);
    }
}

/// What a process takes.
#[derive(Debug)]
pub struct Footprint {
    pub rss_kib: u64,
    peak_kib: u64,
    pub threads: u64,
    pub descriptors: u64,
}

impl Footprint {
    pub fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.unwrap().parse().unwrap()
        };
        Self {
            rss_kib: number("VmRSS:"),
            peak_kib: number("VmHWM:"),
            threads: number("Threads:"),
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))
                .unwrap()
                .count() as u64,
        }
    }
}

/// An image with this entry, and whatever attackers need.
fn image(entry: &str) -> Environment {
    let environment = Environment::new(entry);
    for program in [
        guests::CALLS_GRANT,
        guests::ECHO,
        guests::EXCHANGES,
        guests::IDLE,
        guests::LENDS,
        guests::PLAIN,
        guests::REFLECTS,
        guests::RPC_BYTES,
        guests::RPC_FLOODS,
        guests::RPC_LEAVES,
        guests::RPC_PROMISES,
        guests::RPC_RULES,
        guests::RPC_SHAPES,
        guests::SERVES,
    ] {
        let (_, name) = program.rsplit_once('/').unwrap();
        environment.copy(program, &format!("bin/{name}"));
    }
    environment
}

/// How often calls came to this.
fn count(told: &Value, kind: &str) -> u64 {
    told["counts"][kind].as_u64().unwrap_or(0)
}

/// Whether one of the errors has these words.
fn names(told: &Value, words: &str) -> bool {
    let reasons = told["reasons"].as_object().unwrap();
    reasons.keys().any(|reason| reason.contains(words))
}

/// The keeper is the parent in every siege; this is what it sees of one that does nothing.
#[test]
pub fn keeper() {
    let mut siege = Siege::begin();
    let told = siege.attack(&["/bin/plain.wasm"]);
    assert_eq!(told.status, "exited with 0");
    siege.end();
}

// Parameters of every shape, for every method of every interface, from the same thread and from another.
#[test]
pub fn rpc_shapes() {
    for mut siege in [Siege::begin(), Siege::begin_elsewhere()] {
        let told = siege.attack(&["/bin/rpc_shapes.wasm", "shapes"]);
        assert_eq!(told.lines.ok("answered"), true);
        for (name, methods) in [
            ("membrane", 3),
            ("host", 9),
            ("executor", 3),
            ("program", 3),
            ("stdin", 5),
            ("stdout", 5),
            ("process", 9),
        ] {
            let told = told.lines.ok(name);
            let counts: BTreeMap<String, u64> =
                serde_json::from_value(told["counts"].clone()).unwrap();
            assert_eq!(counts.values().sum::<u64>(), methods * 20, "{told}");
            assert_eq!(told["closed"], false, "{told}");
        }
        // What there is none of is refused by name, whatever the capability.
        let told = siege.attack(&["/bin/rpc_shapes.wasm", "unknown"]);
        assert_eq!(told.lines.ok("answered"), true);
        for line in &told.lines.0[..7] {
            let counts = line["ok"]["counts"].as_object().unwrap();
            assert!(counts.keys().eq(["unimplemented"]), "{line}");
        }
        siege.end();
    }
}

/// Rules, and the words with which the host ends the conversation of who breaks one.
const ENDS: &[(&str, &str)] = &[
    ("release what is not held", "does not hold"),
    ("release too often", "released 1000 times"),
    ("return what was not asked", "was not asked or has returned"),
    ("return twice", "was not asked or has returned"),
    ("return what was kept for nobody", "not held back"),
    ("resolve what is no promise", "is no promise"),
    ("lift an embargo that is not in force", "not in force"),
    ("embargo what is the host's", "does not lead back"),
    ("embargo what does not exist", "does not hold"),
    ("ask twice under one number", "asked already"),
    (
        "ask for the bootstrap under a number in use",
        "asked already",
    ),
    ("call what is not held", "does not hold"),
    ("give what is not held", "does not hold"),
    ("a deep obsolete save", "deeply"),
    ("a deep provision", "deeply"),
    ("a return that is not understood", "a return was answered"),
    ("a finish that is not understood", "a finish was answered"),
    (
        "a disembargo that is not understood",
        "a disembargo was answered",
    ),
    ("a call that is not understood", "was not asked"),
    ("a resolution that is not understood", "does not hold"),
];

/// What the host passes over, or refuses by an exception.
const PASSES: &[&str] = &[
    "release nothing",
    "finish what was not asked",
    "finish twice",
    "return elsewhere",
    "return to a third party",
    "resolve what is not held",
    "resolve to something new what is not held",
    "resolve twice",
    "call nothing",
    "call what no call promises",
    "give what no call promises",
    "give too much",
    "deep parameters",
    "unimplemented in unimplemented",
];

/// What belongs to levels that are not served, and is sent back.
const UNSERVED: &[&str] = &[
    "embargo for a third party",
    "embargo a provision",
    "keep the results for a third party",
    "obsolete save",
    "obsolete delete",
    "provide",
    "accept",
    "join",
];

#[test]
pub fn rpc_rules() {
    for mut siege in [Siege::begin(), Siege::begin_elsewhere()] {
        for (rule, reason) in ENDS {
            let told = siege.survive("rpc_rules", rule, 0);
            assert_eq!(told["answered"], false, "{rule}: {told}");
            let aborted = told["aborted"].as_str().unwrap_or_default();
            assert!(aborted.contains(reason), "{rule}: {told}");
        }
        for rule in PASSES.iter().chain(UNSERVED) {
            let told = siege.survive("rpc_rules", rule, 0);
            assert_eq!(told["answered"], true, "{rule}: {told}");
            let sent_back = u64::from(UNSERVED.contains(rule));
            let unimplemented = told["others"]["unimplemented"].as_u64().unwrap_or(0);
            assert_eq!(unimplemented, sent_back, "{rule}: {told}");
        }
        let told = siege.survive("rpc_rules", "abort", 0);
        assert_eq!(told["closed"], true);
        siege.end();
    }
}

#[test]
pub fn rpc_bytes() {
    let mut siege = Siege::begin();
    for seed in 1..=100 {
        let told = siege.attack(&["/bin/rpc_bytes.wasm", &format!("{seed}"), "1000"]);
        let told = told.lines.ok("damaged messages");
        // It is told why, unless what it happened to send is an abort of its own.
        assert_ne!(told["answered"], told["closed"], "{seed}: {told}");
    }
    siege.end();
}

#[test]
pub fn rpc_promises() {
    for mut siege in [Siege::begin(), Siege::begin_elsewhere()] {
        let mut promise = |name: &str| {
            let told = siege.survive("rpc_promises", name, 0);
            assert_eq!(told["answered"], true, "{name}: {told}");
            told
        };
        assert!(names(&promise("to itself"), "resolves to itself"));
        assert_eq!(count(&promise("to the host's own"), "unimplemented"), 1);
        assert!(names(&promise("to nothing"), "resolved to no capability"));
        let told = promise("to what the waiting call promises");
        assert_eq!(count(&told, "canceled"), 1, "{told}");
        promise("to another promise");
        for ring in [
            "in a ring of two",
            "in a ring of many",
            "in rings through several children",
            "in a long chain",
            "a grant that a call promises",
            "a grant that is what it will be granted to",
            "a signer that a call promises",
        ] {
            promise(ring);
        }
        assert!(names(&promise("a grant that a call breaks"), "absent.wasm"));
        assert!(names(
            &promise("a grant that is not there"),
            "invalid capability"
        ));
        let told = promise("calls on what a child promises");
        assert_eq!(count(&told, "results"), 504, "{told}");
        for circle in [
            "in a circle through another cell",
            "in a circle through two cells",
        ] {
            go_in_circles(&mut siege, circle);
        }
        siege.end();
    }
}

/// A call that goes round in a circle ends at a limit, or waits for itself until its cell is killed: which of the
/// two depends on what the cells know of each other when it is made.
#[track_caller]
fn go_in_circles(siege: &mut Siege, name: &str) {
    let told = siege.attack(&["kill", "1000", "/bin/rpc_promises.wasm", name]);
    if told.status != "killed" {
        let told = told.lines.ok(name);
        let refused = count(told, "overloaded") + count(told, "failed");
        assert!(refused > 0, "{name}: {told}");
    }
}

// A grant that is called is what the promise was for, or says why there is none.
#[test]
pub fn calls_grant() {
    let mut siege = Siege::begin();
    let told = siege.attack(&["/bin/rpc_promises.wasm", "a grant that a call promises"]);
    assert_eq!(told.lines.ok("first"), "hello");
    let told = siege.attack(&["/bin/rpc_promises.wasm", "a grant that a call breaks"]);
    assert!(told.lines.error("first").contains("absent.wasm"));
    let own = "a grant that is what it will be granted to";
    let told = siege.attack(&["/bin/rpc_promises.wasm", own]);
    assert!(told.lines.error("first").contains("no capability"));
    siege.end();
}

// A cell that exports what it was granted: what its parent gets back is its own.
#[test]
pub fn reflects() {
    let mut siege = Siege::begin_elsewhere();
    go_in_circles(&mut siege, "in a circle through another cell");
    siege.end();
}

#[test]
pub fn rpc_floods() {
    let mut siege = Siege::begin();
    let mut flood = |name: &str, count: u32, reason: &str| {
        let told = siege.survive("rpc_floods", name, count);
        assert!(reason.is_empty() || names(&told, reason), "{name}: {told}");
        let is_closed = told["closed"] == true;
        let answered = told["answered when all is finished"] == true;
        assert_ne!(is_closed, answered, "{name}: {told}");
        told
    };
    let in_a_row = "129 calls in a row";
    flood("a chain of calls", 1000, in_a_row);
    flood("a chain of calls", 100_000, "1024 calls are under way");
    let unread = flood("a chain of calls, never read", 100_000, "under way");
    assert_eq!(unread["closed"], true, "{unread}");
    flood("a chain of capabilities", 2000, "1024 calls are under way");
    let unread = flood("echoes, never read", 10_000, "are left unread");
    assert!(count(&unread, "results") < 200, "{unread}");
    flood("epochs that do not come", 5000, "1024 calls are under way");
    flood("exits that do not come", 5000, "1024 calls are under way");
    flood("bytes that do not come", 5000, "16 reads and writes");
    flood("streams, never released", 5000, "");
    flood("exports of a child, never released", 2000, "");
    let held = "4096 capabilities are held";
    flood("executors, never released", 5000, "");
    let narrowed = "1024 capabilities are held narrowed";
    flood("capabilities narrowed, never released", 2000, narrowed);
    flood("programs, never released", 5000, held);
    flood("children, never released", 200, "");
    flood("children with grants, one after the other", 20, "");
    flood("a pump into itself", 1, "for reading only");
    let many = "1000000 entries";
    flood("one argument, named again and again", 1_000_000, many);
    let limit = "Read limit exceeded";
    flood("large arguments, named again and again", 1024, limit);
    flood(
        "lists for another cell, named again and again",
        1_000_000,
        limit,
    );
    flood("a large message", 1, "");
    // What waits for the child to read is held back first, and then refused.
    flood("pushes", 6, "bytes are under way");

    // Held back, it can be killed.
    let told = siege.attack(&["kill", "500", "/bin/rpc_floods.wasm", "pushes", "1000"]);
    assert_eq!(told.status, "killed");
    siege.end();
}

#[test]
pub fn rpc_leaves() {
    for mut siege in [Siege::begin(), Siege::begin_elsewhere()] {
        for _ in 0..3 {
            let mut leave = |how: &str| siege.attack(&["/bin/rpc_leaves.wasm", how]).status;
            assert_eq!(leave("hang-up"), "exited with 0");
            assert_eq!(leave("exit"), "exited with 3");
            assert!(leave("trap").starts_with("trapped: "));
            let told = siege.attack(&["kill", "200", "/bin/rpc_leaves.wasm", "stay"]);
            assert_eq!(told.status, "killed");
        }
        siege.end();
    }
}

// Two cells that send more than there is room for, and do not read.
#[test]
pub fn exchanges() {
    let mut siege = Siege::begin();
    let told = siege.attack(&["/bin/exchanges.wasm"]);
    assert_eq!(told.lines.ok("answered"), true);
    let told: Vec<&Value> = told.lines.0.iter().map(|line| &line["ok"]).collect();
    assert_eq!(told.len(), 3);
    for told in &told[..2] {
        let ended = count(told, "results") + count(told, "overloaded");
        assert_eq!(ended, 8, "{told}");
    }
    siege.end();
}

// Streams that cells lend each other, over whichever threads they are on: calls arrive in the order in which they
// were made, and with the lender goes what it lent.
#[test]
pub fn lending() {
    let told = ww().guest(&image(guests::LENDING), &["4"]).ok().stdout();
    let lines = json(&told);
    let all = |attempt: &str| -> Vec<Value> {
        let found = lines.iter().filter(|line| line["attempt"] == attempt);
        found.cloned().collect()
    };
    for attempt in ["in order", "in order to itself"] {
        assert_eq!(all(attempt).len(), 4);
        for line in all(attempt) {
            assert_eq!(line["ok"], 100, "{line}");
        }
    }
    for attempt in [
        "a call under way",
        "taken away, for the parent",
        "a new look",
    ] {
        assert_eq!(all(attempt).len(), 4);
        for line in all(attempt) {
            let error = line["error"].as_str().unwrap_or_default();
            assert!(error.starts_with("Disconnected"), "{line}");
        }
    }
    // The borrower says how its own call went.
    for line in all("taken away, for whom it was lent to") {
        let said = line["ok"].as_str().unwrap_or_default();
        assert!(said.starts_with("Disconnected"), "{line}");
    }
    for line in all("the borrower") {
        assert_eq!(line["ok"], "running", "{line}");
    }
}

// Alone it has nobody to lend to, and goes on until its conversation ends.
#[test]
pub fn lends() {
    let stage = Stage::new(guests::LENDS);
    let mut running = Running::start(stage.command(&[]).env("RUST_LOG", "ww=debug"));
    running.stderr_line("a cell has started");
    running.terminate();
    assert_eq!(running.code(), 0);
}
