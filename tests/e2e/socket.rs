//! `ww run --rpc-socket`: local programs that call the node. Cap'n Proto's own implementation, by way of pycapnp, is
//! the client, with the schemas as they are published; `client.py` has the scenarios.

mod file;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fixtures::{Environment, PATIENCE, Running, finish, guests, python};
use serde_json::Value;

use crate::{Stage, json};

/// A node with a socket, whose first cell waits to be told to stop.
struct Node {
    running: Running,
    folder: Environment,
    // Outlives what runs in it.
    stage: Stage,
}

impl Node {
    fn start(options: &[&str]) -> Self {
        Self::start_with(guests::IDLE, options)
    }

    fn start_with(guest: &str, options: &[&str]) -> Self {
        let folder = Environment::empty();
        let stage = Stage::new(guest);
        let mut command = stage.ww.command(["run", "--port", "0", "--rpc-socket"]);
        command
            .arg(folder.join("ww.sock"))
            .arg("--audit")
            .arg(folder.join("audit"))
            .args(options)
            .arg(stage.environment.path());
        let mut running = Running::start(&mut command);
        running.stderr_line("listening");
        Self {
            running,
            folder,
            stage,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("ww.sock")
    }

    /// A client that goes through this scenario.
    #[track_caller]
    fn client(&self, scenario: &str, args: &[&str]) -> Command {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = python(&project.join("tests/e2e/socket/client.py"));
        command
            .arg(project.join("capnp"))
            .arg(self.socket())
            .arg(scenario)
            .args(args);
        command
    }

    /// Runs a client through this scenario, to its end.
    #[track_caller]
    fn call(&self, scenario: &str, args: &[&str]) {
        finish(&mut self.client(scenario, args)).ok();
    }

    /// What the audit tells by now.
    fn audit(&self) -> Vec<Value> {
        let text = self.folder.read("audit");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        json(whole)
    }

    /// Waits until the audit has told that nothing is left of a holder.
    #[track_caller]
    fn wait_for_the_end_of(&self, kind: &str, number: u64) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let audit = self.audit();
            let end = audit
                .iter()
                .find(|line| line["event"] == "revocation" && line[kind] == number);
            if let Some(end) = end {
                return end["reason"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "{kind} {number}: {audit:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ctrl-C; nothing may be left.
    #[track_caller]
    fn stop(mut self) {
        self.running.interrupt();
        assert_eq!(self.running.code(), 130);
        assert_eq!(self.folder.entries(), ["audit"]);
        assert!(self.stage.ww.scratch().is_empty());
    }
}

/// Runs a client through a scenario on a node of its own.
#[track_caller]
fn scenario(name: &str, options: &[&str], args: &[&str]) {
    let node = Node::start(options);
    node.call(name, args);
    node.stop();
}

// Rows 80, 81, 86, 88: an independent implementation reads the schemas; ids are those that were published.
#[test]
fn schemas_are_those_that_were_published() {
    scenario("schemas_are_those_that_were_published", &[], &[]);
}

// Rows 82, 86, 87: Host.id, addrs, peers, executor; connect is refused; the session is for epoch 0; `ipfs` is null.
#[test]
fn a_session_holds_what_the_operator_grants() {
    scenario("a_session_holds_what_the_operator_grants", &[], &[]);
}

// Row 86: what is not granted is null, whichever it is.
#[test]
fn what_is_denied_is_null() {
    let options = ["--deny", "executor", "--deny", "host:peers"];
    scenario("what_is_denied_is_null", &options, &[]);
}

// Row 82: Host.connect, once it is granted.
#[test]
fn what_is_granted_by_another_name_is_listed() {
    let options = [
        "--deny",
        "host",
        "--deny",
        "executor",
        "--grant",
        "net:connect=host",
    ];
    scenario("what_is_granted_by_another_name_is_listed", &options, &[]);
}

// Row 83.
#[test]
fn components_run_from_bytes() {
    let args = [guests::HELLO, guests::PRINT_ENV];
    scenario("components_run_from_bytes", &[], &args);
}

// Row 83: `Executor.load`, `Program.cid`, `imports` and `spawn` with arguments and environment.
#[test]
fn a_program_is_loaded_once_and_runs_often() {
    let args = [guests::PRINT_ENV];
    scenario("a_program_is_loaded_once_and_runs_often", &[], &args);
}

#[test]
fn a_guest_calls_what_its_client_serves() {
    let args = [guests::CALLS_GRANT];
    scenario("a_guest_calls_what_its_client_serves", &[], &args);
}

#[test]
fn limits_have_names() {
    let args = [guests::MEMHOG, guests::SPIN];
    scenario("limits_have_names", &[], &args);
}

// Rows 84, 85.
#[test]
fn a_process_is_fed_read_and_waited_for() {
    let args = [guests::ECHO, guests::SPIN, guests::SERVES, guests::MAIN_ERR];
    scenario("a_process_is_fed_read_and_waited_for", &[], &args);
}

// Row 85: `push` and `pump`, to a stream that the client serves and to another process.
#[test]
fn streams_are_pushed_and_pumped() {
    scenario("streams_are_pushed_and_pumped", &[], &[guests::ECHO]);
}

// Row 87: `watch` waits for the next epoch; `attenuate` and `Revoker`.
#[test]
fn what_is_narrowed_can_be_taken_back() {
    scenario("what_is_narrowed_can_be_taken_back", &[], &[]);
}

#[test]
fn clients_have_sessions_of_their_own() {
    scenario("clients_have_sessions_of_their_own", &[], &[guests::ECHO]);
}

#[test]
fn the_client_too_many_is_told_so_and_the_others_are_served() {
    let most = ww::socket::MAX_CLIENTS.to_string();
    scenario("too_many_are_told_so", &[], &[&most]);
}

#[test]
fn a_client_that_vanishes_leaves_no_cell_behind() {
    let node = Node::start(&["--limit", "cells=2"]);
    let args = [guests::SPIN, guests::IDLE];
    let mut client = Running::start(&mut node.client("it_waits_until_it_is_killed", &args));
    client.stdout_line("holding");
    assert!(
        !node
            .audit()
            .iter()
            .any(|line| line["event"] == "revocation")
    );
    drop(client);
    assert_eq!(node.wait_for_the_end_of("client", 2), "the client has gone");
    for cell in [3, 4] {
        let reason = node.wait_for_the_end_of("cell", cell);
        assert!(reason.starts_with("the cell has ended: "), "{reason}");
    }
    // All that it took of the limit is there again.
    node.call("there_is_room_for", &[guests::SPIN]);
    node.stop();
}

#[test]
fn the_audit_tells_about_clients_as_about_cells() {
    let node = Node::start(&[]);
    node.call("a_session_holds_what_the_operator_grants", &[]);
    node.wait_for_the_end_of("client", 2);
    let told = node.audit();
    let of_client = |event: &str| -> Vec<&Value> {
        let lines = told.iter().filter(|line| line["client"] == 2);
        lines.filter(|line| line["event"] == event).collect()
    };
    assert_eq!(of_client("grant").len(), 2);
    assert_eq!(of_client("refusal")[0]["method"], "Host.connect");
    assert!(
        of_client("use")
            .iter()
            .any(|line| line["method"] == "Host.id")
    );
    assert!(
        told.iter()
            .all(|line| line["client"] != 2 || line["program"] == "rpc-socket")
    );
    node.stop();
}

// Row 99: whoever waits for something is told, and nothing holds the node up.
#[test]
fn a_node_that_stops_tells_its_clients() {
    let node = Node::start(&[]);
    let scenario = "calls_under_way_are_told_that_the_node_stops";
    let mut client = Running::start(&mut node.client(scenario, &[guests::SPIN]));
    client.stdout_line("holding");
    node.stop();
    client.stdout_line("told");
    assert_eq!(client.code(), 0);
}

#[test]
fn the_socket_goes_with_the_first_cell() {
    let mut node = Node::start_with(guests::ECHO, &[]);
    let scenario = "calls_under_way_are_told_that_the_node_stops";
    let mut client = Running::start(&mut node.client(scenario, &[guests::SPIN]));
    client.stdout_line("holding");
    node.running.close_stdin();
    assert_eq!(node.running.code(), 0);
    assert_eq!(node.folder.entries(), ["audit"]);
    client.stdout_line("told");
    assert_eq!(client.code(), 0);
}

#[test]
fn the_program_in_the_documentation_works_as_written() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(project.join("docs/running.md")).unwrap();
    let (_, rest) = document.split_once("```python\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    let node = Node::start(&[]);
    let script = Environment::empty();
    script.write("remote.py", program);
    let mut command = python(&script.join("remote.py"));
    command
        .arg(node.socket())
        .args([guests::PRINT_ENV, "word"])
        .current_dir(project);
    let told = finish(&mut command).ok().stdout();
    assert!(told.starts_with("node 0024"), "{told}");
    assert!(told.contains(r#""word""#), "{told}");
    node.stop();
}
