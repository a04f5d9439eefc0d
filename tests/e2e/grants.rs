//! What the operator hands the first cell: by default little, by `--grant` more, by `--deny` less; and the
//! audit of what is done with it.

use std::path::Path;

use fixtures::guests;
use serde_json::Value;

use crate::{Attempts, Stage, json};

const PEER: &str = "00";

// A refusal says who, what, why, and what would allow it; the guest goes on.
#[test]
fn by_default_a_program_may_look_at_the_node_but_not_reach_out() {
    let tried = Attempts::of(&Stage::new(guests::HOST_CALLS).run(&[PEER]).ok().stdout());
    tried.ok("executor");
    tried.ok("peers");
    let refused = tried.error("connect");
    assert!(refused.contains("notGranted: "), "{refused}");
    for told in [
        "cell 1 (/boot/main.wasm)",
        "may not call Host.connect",
        "its grant `host`, which allows Host.id, Host.addrs, Host.peers, Host.executor",
        "`ww run --grant host:id,addrs,peers,executor,connect`",
    ] {
        assert!(refused.contains(told), "{told:?} is not in {refused}");
    }
}

#[test]
fn the_line_that_a_refusal_names_allows_it() {
    let stage =
        Stage::new(guests::HOST_CALLS).with(&["--grant", "host:id,addrs,peers,executor,connect"]);
    let tried = Attempts::of(&stage.run(&[PEER]).ok().stdout());
    let told = tried.error("connect");
    assert!(!told.contains("notGranted"), "{told}");
    assert!(told.contains("connect: "), "the host's own refusal: {told}");
}

#[test]
fn what_is_denied_is_absent() {
    let stage = Stage::new(guests::GRAFT_ID).with(&["--deny", "host"]);
    let told = stage.run(&[]).expect(1).stderr();
    assert!(told.contains("not granted `host`"), "{told}");
    assert!(told.contains("`ww run --grant host`"), "{told}");
}

#[test]
fn a_denied_method_is_refused_and_the_others_are_not() {
    let stage = Stage::new(guests::HOST_CALLS).with(&["--deny", "host:peers"]);
    let failed = stage.run(&[]).expect(1);
    let tried = Attempts::of(&failed.stdout());
    tried.ok("executor");
    assert!(
        failed.stderr().contains("may not call Host.peers"),
        "{}",
        failed.stderr()
    );
}

#[test]
fn a_slip_of_the_pen_is_refused_before_anything_runs() {
    for (options, code, told) in [
        (["--grant", "hots"], 2, "there is no `hots` to be granted"),
        (
            ["--grant", "host:connekt"],
            2,
            "Host has no method `connekt`",
        ),
        (["--deny", "hots"], 1, "nothing is granted under this name"),
    ] {
        let failed = Stage::new(guests::PLAIN)
            .with(&options)
            .run(&[])
            .expect(code);
        assert!(failed.stderr().contains(told), "{}", failed.stderr());
        assert_eq!(failed.stdout(), "");
    }
}

fn audited(guest: &'static str, options: &[&str], args: &[&str]) -> Vec<Value> {
    audit_of(&Stage::new(guest), options, args)
}

fn audit_of(stage: &Stage, options: &[&str], args: &[&str]) -> Vec<Value> {
    let file = stage.ww.home().join("audit.jsonl");
    let mut command = stage.ww.command(["run", "--port", "0", "--audit"]);
    command
        .arg(&file)
        .args(options)
        .arg(stage.environment.path());
    fixtures::finish(command.arg("--").args(args)).ok();
    mode_is_private(&file);
    json(&std::fs::read_to_string(&file).unwrap())
}

fn mode_is_private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_audit_tells_grants_uses_refusals_and_the_end() {
    let told = audited(guests::HOST_CALLS, &[], &[PEER]);
    let find = |event: &str, field: &str, value: &str| {
        told.iter()
            .find(|line| line["event"] == event && line[field] == value)
            .unwrap_or_else(|| panic!("no {event} with {field} {value}: {told:?}"))
    };
    let host = find("grant", "grant", "host");
    assert_eq!(
        host["methods"],
        serde_json::json!(["Host.id", "Host.addrs", "Host.peers", "Host.executor"])
    );
    assert_eq!(find("grant", "grant", "executor")["methods"], "all");
    assert_eq!(find("use", "method", "Host.executor")["count"], 1);
    assert_eq!(find("use", "method", "Executor.echo")["grant"], "host");
    let refusal = find("refusal", "method", "Host.connect");
    assert_eq!(refusal["count"], 1);
    assert!(
        refusal["reason"]
            .as_str()
            .unwrap()
            .starts_with("notGranted: ")
    );
    let last = told.last().unwrap();
    assert_eq!(last["event"], "revocation");
    assert_eq!(last["reason"], "the cell has ended: exited with code 0");
    for line in &told {
        assert_eq!(line["cell"], 1);
        assert_eq!(line["program"], "/boot/main.wasm");
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn the_audit_counts_what_one_method_is_called() {
    let told = audited(guests::ROUNDTRIPS, &[], &["100", "1"]);
    let uses = told.iter().filter(|line| line["event"] == "use");
    let counted: u64 = uses.map(|line| line["count"].as_u64().unwrap()).sum();
    assert!(counted >= 100, "{told:?}");
    assert!(told.len() < 10, "counted, not listed: {}", told.len());
}

#[test]
fn the_audit_counts_what_is_narrowed_and_taken_back() {
    let stage = Stage::new(guests::OWNS);
    stage.environment.copy(guests::BEATS, "bin/beats.wasm");
    let told = audit_of(&stage, &[], &[]);
    let find = |event: &str| told.iter().find(|line| line["event"] == event);
    let narrowed = find("attenuation").unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(narrowed["count"], 2);
    let first = narrowed["first"].as_str().unwrap();
    assert!(first.starts_with("ByteStream."), "{first}");
    let revoked = find("revocation of narrowed capabilities").unwrap();
    assert_eq!(revoked["count"], 1);
    assert_eq!(revoked["reason"], "revoked: enough");
}
