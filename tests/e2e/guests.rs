//! A test for each guest program, checked when this is compiled.

use std::time::{Duration, Instant};

use fixtures::{Environment, Running, guests};

use crate::churn::churn;
use crate::content::content;
use crate::images::an_environment_keeps_what_it_writes_under_var as keeps_var;
use crate::limits::{
    calls_under_way as calls_at_once, cells_below as governs, forks, open_files as opens_files,
    temporary_files as fills_tmp,
};
use crate::processes::{owns, owns as beats};
use crate::reading::a_file_is_the_same_in_whatever_pieces_and_from_whatever_layer_it_is_read as reads_image;
use crate::rpc::{
    calls_grant, exchanges, keeper, lending, lends, reflects, rpc_bytes, rpc_floods, rpc_leaves,
    rpc_promises, rpc_rules, rpc_shapes,
};
use crate::{Attempts, Stage, json, output, ww};

macro_rules! assert_test_exists {
    ($name:ident) => {
        #[allow(unused_imports)]
        use self::$name as _;
    };
}
fixtures::foreach_guest!(assert_test_exists);

// `tests/node`: an epoch ends at the node's own hand.
mod epochs {}

/// What `runbytes` tells about a child, which is this program.
#[track_caller]
fn child(program: &str, options: &[&str], args: &[&str]) -> serde_json::Value {
    let environment = Environment::new(guests::RUNBYTES);
    environment.copy(program, "bin/child.wasm");
    let args = [options, &["/bin/child.wasm"], args].concat();
    json(&ww().guest(&environment, &args).ok().stdout()).remove(0)
}

// Row 34: what is not taken is waited for, and all of it arrives.
#[test]
fn backpressure() {
    const MIB: usize = 24;
    let finished = Stage::new(guests::BACKPRESSURE)
        .run(&[&MIB.to_string()])
        .ok();
    assert_eq!(finished.stdout_bytes().len(), MIB << 20);
    assert!(finished.stderr().contains("done"));
}

// Row 85.
#[test]
fn bytestream() {
    let environment = Environment::new(guests::BYTESTREAM);
    environment.copy(guests::ECHO, "bin/echo.wasm");
    let tried = Attempts::of(&ww().guest(&environment, &[]).ok().stdout());
    assert!(tried.error("read 0").contains("maxBytes is 0"));
    tried.ok("write");
    assert_eq!(tried.ok("read 2"), &serde_json::json!(b"he"));
    assert_eq!(tried.ok("read rest"), &serde_json::json!(b"llo"));
    tried.ok("close while a read is pending");
    assert_eq!(tried.ok("the pending read"), &serde_json::json!([]));
    tried.ok("close again");
    assert!(tried.error("write after close").contains("closed"));
    assert_eq!(tried.ok("read at the end"), &serde_json::json!([]));
    assert_eq!(tried.ok("exit code"), 0);
}

// `Process.bootstrap`: a child exports, its parent calls, and each may be on a vat of its own.
#[test]
fn calls_child() {
    let environment = Environment::new(guests::CALLS_CHILD);
    environment.copy(guests::SERVES, "bin/serves.wasm");
    assert_eq!(ww().guest(&environment, &[]).ok().stdout(), "GRÜSSE\n");
}

#[test]
fn serves() {
    // As a child it is called by `calls_child`. As the first cell it has nobody to serve, and goes on.
    let stage = Stage::new(guests::SERVES);
    let mut running = Running::start(stage.command(&[]).env("RUST_LOG", "ww=debug"));
    running.stderr_line("a cell has started");
    running.terminate();
    // It ends by itself once its conversation has: nobody had to kill it.
    assert_eq!(running.code(), 0);
}

#[test]
fn echo_rpc() {
    let told = json(&output(guests::ECHO_RPC, &[]));
    let sizes: Vec<_> = told.iter().map(|line| line["bytes"].as_u64()).collect();
    assert_eq!(sizes.len(), 3);
    assert_eq!(sizes.last(), Some(&Some(1 << 20)));
    for line in told {
        assert_eq!(line["same"], true, "{line}");
    }
}

// Row 37: every code, not just whether it is 0.
#[test]
fn exit_code() {
    let ww = ww();
    let environment = Environment::new(guests::EXIT_CODE);
    for code in [0, 1, 2, 7, 100, 127, 128, 255] {
        ww.guest(&environment, &[&code.to_string()]).expect(code);
    }
}

// Rows 84, 91: a guest that never reads a reply is cut off; nobody else is, and the host goes on.
#[test]
fn flood_calls() {
    let tried = Attempts::of(&output(guests::FLOOD_CALLS, &["1000000"]));
    assert_eq!(tried.error("flood"), "Error::Closed");
    let told = child(guests::FLOOD_CALLS, &[], &["1000000"]);
    let tried = Attempts::of(told["stdout"].as_str().unwrap());
    assert_eq!(tried.error("flood"), "Error::Closed");
}

// Rows 3, 93: every way to write is refused but in /tmp and /var, and so is every way out. What is there can be read.
#[test]
fn fs_probe() {
    let environment = Environment::new(guests::FS_PROBE);
    environment
        .write("etc/motd", "welcome")
        .link("etc/alias", "motd");
    let before = environment.fingerprint();
    let ww = ww();
    let args = [
        "/etc/motd",
        "/etc/alias",
        "/etc/../etc/motd",
        "/proc/self/environ",
    ];
    let output = ww.guest(&environment, &args).ok().stdout();
    let tried = Attempts::of(&output);
    for line in &tried.0 {
        let name = line["attempt"].as_str().unwrap();
        let writes = ["write ", "rename ", "unlink ", "mkdir ", "rmdir "];
        if writes.iter().any(|verb| name.starts_with(verb)) {
            match name.contains(" /tmp/") || name.contains(" /var/") {
                true => drop(tried.ok(name)),
                false => drop(tried.error(name)),
            }
        }
    }
    assert_eq!(tried.ok("list /tmp"), &serde_json::json!([]));
    assert_eq!(tried.ok("list /"), &serde_json::json!(["boot", "etc"]));
    tried.error("list ..");
    tried.error("list /..");
    tried.error("read /etc/passwd");
    tried.error("read ../../etc/passwd");
    tried.error("read /../../etc/passwd");
    tried.error("read /boot/../etc/passwd");
    tried.error("read /proc/self/environ");
    assert_eq!(tried.ok("read /etc/motd"), 7);
    assert_eq!(tried.ok("read /etc/alias"), 7);
    assert_eq!(tried.ok("read /etc/../etc/motd"), 7);
    assert_eq!(environment.fingerprint(), before);
}

// Rows 83, 86, 87: the first cell holds the host and the executor of epoch 0; a child without grants none.
#[test]
fn graft_empty() {
    let first = output(guests::GRAFT_EMPTY, &[]);
    let tried = Attempts::of(&first);
    assert_eq!(
        tried.0[0]["grants"],
        serde_json::json!(["host", "executor"])
    );
    assert_eq!(tried.0[0]["epoch"], 0);
    tried.ok("host");
    tried.ok("executor");

    let told = child(guests::GRAFT_EMPTY, &[], &[]);
    let tried = Attempts::of(told["stdout"].as_str().unwrap());
    assert_eq!(tried.0[0]["grants"], serde_json::json!([]));
    for grant in ["host", "executor", "ipfs"] {
        let refusal = tried.error(grant);
        // Who refuses, what, and how that is lifted.
        assert!(
            refusal.contains(grant) && refusal.contains("parent"),
            "{refusal}"
        );
    }
}

// Rows 4, 82, 102: the id is the node's, and stays.
#[test]
fn graft_id() {
    let ww = ww();
    let environment = Environment::new(guests::GRAFT_ID);
    let run = || {
        let finished = ww.guest(&environment, &[]).ok();
        let told = json(&finished.stdout()).remove(0);
        let id = told["peer_id"].as_str().unwrap().to_owned();
        assert!(finished.stderr().contains(&format!("peer_id={id}")));
        assert!(!told["addrs_hex"].as_array().unwrap().is_empty());
        id
    };
    let id = run();
    id.parse::<swarm::PeerId>().unwrap();
    assert_eq!(run(), id);
}

// Rows 1, 82: each method of Host, with a second node as the peer.
#[test]
fn host_calls() {
    let elsewhere = Stage::new(guests::IDLE);
    let mut other = elsewhere.start(&[]);
    let line = other.stderr_line("listening");
    other.stdout_line("idle");
    let word = |start: &str| {
        let (_, rest) = line.split_once(start).unwrap();
        rest.split([' ', ',', ']']).next().unwrap().to_owned()
    };
    let peer: swarm::PeerId = word("peer_id=").parse().unwrap();
    let addr: swarm::Multiaddr = word("addrs=[").parse().unwrap();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let (peer, addr) = (hex(&peer.to_bytes()), hex(addr.as_ref()));

    let stage = Stage::new(guests::HOST_CALLS).with(&["--grant", "host"]);
    let tried = Attempts::of(&stage.run(&[&peer, &addr]).ok().stdout());
    assert_eq!(tried.ok("executor"), "by way of the host");
    tried.ok("connect");
    assert_eq!(tried.ok("peers")[0]["peer_id_hex"], peer.as_str());

    // A peer that is somebody else than it was said to be is not connected to.
    let stranger = "12D3KooWQwiu2SDMx4FL4ERr2CiB5RDt7JHopJt7h9yq4n1iR7Bz";
    let stranger = hex(&stranger.parse::<swarm::PeerId>().unwrap().to_bytes());
    let tried = Attempts::of(&stage.run(&[&stranger, &addr]).ok().stdout());
    assert!(tried.error("connect").contains("connect: "));
    assert_eq!(tried.ok("peers"), &serde_json::json!([]));

    // Nor is what is no peer at all.
    let tried = Attempts::of(&stage.run(&["00", &addr]).ok().stdout());
    assert!(tried.error("connect").contains("connect: "));
}

// An idle cell costs no CPU.
#[test]
fn idle() {
    let stage = Stage::new(guests::IDLE);
    let mut running = stage.start(&[]);
    running.stdout_line("idle");
    let before = ticks(running.pid());
    std::thread::sleep(Duration::from_secs(2));
    let used = ticks(running.pid()) - before;
    // A hundred to the second: this is a twentieth of a core, for the whole node.
    assert!(used <= 10, "{used} ticks in two seconds");
}

/// The time that a process has had a processor, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn main_err() {
    let finished = Stage::new(guests::MAIN_ERR).run(&[]).expect(1);
    let stderr = finished.stderr();
    assert!(
        stderr.contains("error: cannot open the safe: the key is missing"),
        "{stderr}"
    );
}

// Row 92: memory ends at the limit, and how the guest ends then has a name.
#[test]
fn memhog() {
    let told = output(guests::MEMHOG, &[]);
    let mib: u64 = told
        .trim()
        .strip_prefix("refused after ")
        .and_then(|rest| rest.strip_suffix(" MiB"))
        .and_then(|mib| mib.parse().ok())
        .unwrap_or_else(|| panic!("{told}"));
    assert!((200..256).contains(&mib), "{mib}");

    let died = Stage::new(guests::MEMHOG).run(&["die"]).expect(137);
    assert!(died.stderr().contains("out of memory"), "{}", died.stderr());
    assert_eq!(
        child(guests::MEMHOG, &[], &["die"])["status"],
        "out of memory"
    );
}

// Row 91: beside guests that never rest, calls are answered, and killing them works.
#[test]
fn neighbour() {
    let environment = Environment::new(guests::NEIGHBOUR);
    environment.copy(guests::SPIN, "bin/spin.wasm");
    let told = ww().guest(&environment, &["/bin/spin.wasm", "3"]).ok();
    assert_eq!(
        told.stdout(),
        "answered 200 beside 3\nkilled\nkilled\nkilled\n"
    );
}

// Row 3: no network, of any kind. The address to try is one that somebody listens on.
#[test]
fn net_probe() {
    let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = there.local_addr().unwrap().to_string();
    let tried = Attempts::of(&output(guests::NET_PROBE, &[&address]));
    for attempt in ["tcp connect", "tcp listen", "udp send", "dns"] {
        tried.error(attempt);
    }
}

// A message over the limit fails its call and no other; far over it, the guest ends.
#[test]
fn oversized_message() {
    let tried = Attempts::of(&output(guests::OVERSIZED_MESSAGE, &["9"]));
    let refusal = tried.error("oversized");
    assert!(
        refusal.contains("8388608") && refusal.contains("ByteStream"),
        "{refusal}"
    );
    tried.ok("small");

    let environment = Environment::new(guests::OVERSIZED_MESSAGE);
    let ended = ww().guest(&environment, &["64"]).expect(134);
    assert!(
        ended.stderr().contains("bytes in one call"),
        "{}",
        ended.stderr()
    );
}

// Row 60: a trap tells the functions that it was in, and with --wasm-debug their lines.
#[test]
fn panics() {
    let ww = ww();
    let environment = Environment::new(guests::PANICS);
    let functions = [
        "innermost_function",
        "middle_function",
        "outermost_function",
    ];
    let ended = ww.guest(&environment, &[]).expect(134);
    let stderr = ended.stderr();
    assert!(stderr.contains("deliberate panic"), "{stderr}");
    assert!(stderr.contains("trapped: "), "{stderr}");
    for function in functions {
        assert!(stderr.contains(function), "{function} is not in\n{stderr}");
    }

    let mut command = ww.command(["run", "--port", "0", "--wasm-debug"]);
    let ended = fixtures::finish(command.arg(environment.path())).expect(134);
    let stderr = ended.stderr();
    for function in functions {
        let line = stderr.lines().find(|line| line.contains(function));
        let line = line.unwrap_or_else(|| panic!("{function} is not in\n{stderr}"));
        assert!(line.contains("panics/src/main.rs:"), "{line}");
    }

    let told = child(guests::PANICS, &[], &[]);
    let status = told["status"].as_str().unwrap();
    assert!(status.starts_with("trapped: "), "{status}");
    assert!(status.contains("innermost_function"), "{status}");
}

// Rows 33, 55, 58: any command component runs, without the SDK.
#[test]
fn plain() {
    assert_eq!(output(guests::PLAIN, &[]), "plain\n");
}

// Rows 3, 58: arguments as given; of the host's environment nothing.
#[test]
fn print_env() {
    let stage = Stage::new(guests::PRINT_ENV);
    let mut command = stage.command(&["--flag", "", "two words", "grüße"]);
    command.env("WW_E2E_CANARY", "sings");
    let told = json(&fixtures::finish(&mut command).ok().stdout());
    let args = ["/boot/main.wasm", "--flag", "", "two words", "grüße"];
    assert_eq!(told[0]["args"], serde_json::json!(args));
    assert_eq!(told[1]["env"], serde_json::json!({}));
}

// What a cell can do that was granted nothing, something, or has lost it: in `probe`. Here, that it tries it all.
#[test]
fn probe() {
    let stage = Stage::new(guests::PROBE);
    let tried = Attempts::of(&stage.run(&[]).expect(3).stdout());
    tried.error("write /etc/probe");
    tried.error("host: Host.connect");
    tried.ok("executor.load.spawn.stdout: ByteStream.read");
}

// What is no message is refused, each by itself.
#[test]
fn raw_messages() {
    let environment = Environment::new(guests::RAW_MESSAGES);
    let ended = ww().guest(&environment, &[]).expect(134);
    let tried = Attempts::of(&ended.stdout());
    for malformed in [
        "empty",
        "half a table",
        "too many segments",
        "cut short",
        "two at once",
    ] {
        assert_eq!(tried.error(malformed), "Error::Malformed", "{malformed}");
    }
    assert_eq!(tried.error("too large"), "Error::TooLarge(8388608)");
    tried.ok("receive");
    // The last one is too large for the host to look at.
    assert!(
        ended.stderr().contains("bytes in one call"),
        "{}",
        ended.stderr()
    );
}

#[test]
fn roundtrips() {
    let told = output(guests::ROUNDTRIPS, &["3", "20"]);
    assert_eq!(told.lines().count(), 3);
    for line in told.lines() {
        line.parse::<u64>().unwrap();
    }
}

// Rows 83, 84: a child's arguments, environment, streams, code and status; killing it.
#[test]
fn runbytes() {
    let told = child(
        guests::PRINT_ENV,
        &["--env", "A=b=c", "--env", "EMPTY="],
        &["--env", "two words", ""],
    );
    let printed = json(told["stdout"].as_str().unwrap());
    let args = ["/bin/child.wasm", "--env", "two words", ""];
    assert_eq!(printed[0]["args"], serde_json::json!(args));
    let env = serde_json::json!({ "A": "b=c", "EMPTY": "" });
    assert_eq!(printed[1]["env"], env);

    // A malformed entry fails the call: left out, it would shift or hide something.
    let environment = Environment::new(guests::RUNBYTES);
    environment.copy(guests::PRINT_ENV, "bin/child.wasm");
    let ww = ww();
    for entry in ["novalue", "=nameless"] {
        let failed = ww
            .guest(&environment, &["--env", entry, "/bin/child.wasm"])
            .expect(1);
        assert!(
            failed.stderr().contains("is not NAME=VALUE"),
            "{}",
            failed.stderr()
        );
    }
    // What is no component is refused by its parent's call.
    let failed = ww.guest(&environment, &["/etc/passwd"]).expect(1);
    assert!(failed.stderr().contains("error: "), "{}", failed.stderr());

    let told = child(guests::EXIT_CODE, &[], &["200"]);
    assert_eq!(told["exit_code"], 200);
    assert_eq!(told["status"], "exited with 200");

    let told = child(guests::ECHO, &["--stdin", "over and back"], &[]);
    assert_eq!(told["stdout"], "over and back");

    for endless in [guests::SPIN, guests::IDLE] {
        let told = child(endless, &["--kill-after", "50"], &[]);
        assert_eq!(told["status"], "killed");
        assert_eq!(told["exit_code"], 137);
    }
}

// There is one conversation for each cell.
#[test]
fn second_connect() {
    let tried = Attempts::of(&output(guests::SECOND_CONNECT, &[]));
    assert_eq!(tried.error("rpc connect"), "Error::Taken");
    for attempt in ["first", "second"] {
        for step in ["read", "check-write"] {
            let refusal = tried.error(&format!("{attempt} {step}"));
            assert!(refusal.contains("taken before"), "{refusal}");
        }
    }
}

// Row 86: a child that is granted something by name has it, and nothing beside it.
#[test]
fn spawns() {
    let environment = Environment::new(guests::SPAWNS);
    environment.copy(guests::GRAFT_EMPTY, "bin/graft_empty.wasm");
    let ww = ww();
    let told = ww.guest(&environment, &[]).ok().stdout();
    let tried = Attempts::of(&told);
    // CIDv1, dag-pb, sha2-256: more than one chunk.
    assert!(tried.0[0]["cid"].as_str().unwrap().starts_with("01701220"));
    let imports = tried.0[0]["imports"].as_array().unwrap();
    assert!(
        imports.contains(&"wetware:rpc/rpc@0.1.0".into()),
        "{imports:?}"
    );
    assert_eq!(
        tried.0[1]["grants"],
        serde_json::json!(["executor", "friend"])
    );
    tried.ok("executor");
    tried.error("host");
    tried.error("ipfs");
    assert!(told.ends_with("\n0\n"), "{told}");

    for path in ["/bin/absent.wasm", "/bin/../../../etc/passwd", ""] {
        let failed = ww.guest(&environment, &[path]).expect(1);
        assert!(failed.stderr().contains("load: "), "{}", failed.stderr());
    }
}

// Row 91: a guest that never calls the host still ends when it is asked to.
#[test]
fn spin() {
    let stage = Stage::new(guests::SPIN);
    let mut running = stage.start(&[]);
    running.stdout_line("spinning");
    let asked = Instant::now();
    running.interrupt();
    assert_eq!(running.code(), 130);
    assert!(asked.elapsed() < Duration::from_secs(30));
}

#[test]
fn stack_overflow() {
    let ww = ww();
    let environment = Environment::new(guests::STACK_OVERFLOW);
    let ended = ww.guest(&environment, &[]).expect(134);
    let stderr = ended.stderr();
    assert!(stderr.contains("stack overflow"), "{stderr}");
    assert!(stderr.contains("recurse"), "{stderr}");
    // The one in memory ends below address 0, and the backtrace says where.
    let ended = ww.guest(&environment, &["memory"]).expect(134);
    let stderr = ended.stderr();
    assert!(stderr.contains("out of bounds memory access"), "{stderr}");
    assert!(stderr.contains("recurse_in_memory"), "{stderr}");

    let told = child(guests::STACK_OVERFLOW, &[], &[]);
    let status = told["status"].as_str().unwrap();
    assert!(status.starts_with("trapped: stack overflow"), "{status}");
}

// The standard library keeps only whether the code was 0; the SDK's `exit` is for the rest.
#[test]
fn std_exit() {
    Stage::new(guests::STD_EXIT).run(&[]).expect(1);
}

// Row 34, and: what a child reports is never what it waits for.
#[test]
fn stderr_flood() {
    let told = child(guests::STDERR_FLOOD, &["--unread"], &["4"]);
    assert_eq!(told["exit_code"], 0);
    // The latest of it is kept for a parent that does read.
    let told = child(guests::STDERR_FLOOD, &[], &["1"]);
    assert_eq!(told["stdout"], "done\n");

    let flooded = Stage::new(guests::STDERR_FLOOD).run(&["1"]).ok();
    assert_eq!(flooded.stdout(), "done\n");
    assert!(flooded.stderr().len() >= 1 << 20);
}

// A pipe is no terminal. What a terminal is seen as is in `stdio`.
#[test]
fn stdin_echo_tty() {
    let told = json(&output(guests::STDIN_ECHO_TTY, &[])).remove(0);
    for stream in ["stdin", "stdout", "stderr", "std_stdin"] {
        assert_eq!(told[stream], false, "{stream}");
    }
}

// The same conversation as a byte stream.
#[test]
fn streams_raw() {
    let told = output(guests::STREAMS_RAW, &[]);
    told.trim().parse::<swarm::PeerId>().unwrap();
}

#[test]
fn timers() {
    let told = output(guests::TIMERS, &[]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "first",
            "second: true",
            "third",
            "sum: 4",
            "in time: Ok(4)",
            "slept: true"
        ]
    );
}

// Each method with and without is in `twins`. Here: to narrow something gives nothing that the cell does not have.
#[test]
fn twins() {
    let stage = crate::Stage::new(guests::TWINS).with(&["--grant", "ipfs"]);
    stage.add_content();
    let told = json(&stage.run(&[]).ok().stdout());
    let connect = told.iter().find(|line| line["method"] == "Host.connect");
    let with = connect.unwrap()["with"].as_str().unwrap();
    assert!(with.starts_with("failed: notGranted: cell 1 "), "{with}");
}
