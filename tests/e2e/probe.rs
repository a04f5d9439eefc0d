//! A cell can do nothing that it was not granted: a program that tries everything there is, with no grants, with
//! each grant alone, and after what it had was taken back. What it may is listed here, so that an authority that is
//! added fails these tests until somebody has written it down.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fixtures::{Environment, Finished, guests};
use schema::interfaces::{Interface, Method, MethodId};
use serde_json::{Value, json};

use crate::{Stage, json, ww};

/// What the probe ends with once it has tried everything.
const CODE: i32 = 3;

/// What every cell may, whatever it was granted.
const EVERYBODY: &[&str] = &[
    "arguments / its arguments",
    "environment / names of variables",
    "environment / the current folder",
    "clocks / the time of day",
    "clocks / measure time, and sleep",
    "random numbers / random bytes",
    "standard streams / read standard input",
    "standard streams / write standard output",
    "standard streams / write standard error",
    "files / folders that it starts with",
    "files / read its own program",
    "files / list /",
    "files / list /boot",
    "files / list //",
    "files / list /./",
    "files / list /tmp",
    "files / write /tmp/probe",
    "files / by the descriptor of /tmp: create probe",
    "files / list /var",
    "files / write /var/probe",
    "files / by the descriptor of /var: create probe",
    "capabilities by name / all that were granted",
    "calls / membrane: Membrane.graft",
    "calls / membrane: Membrane.watch",
    "calls / membrane: Membrane.attenuate",
    "its end / end with a code of its own",
];

/// Methods that are in the contract, and that this node does not serve.
const UNSERVED: &[&str] = &["Host.dial", "Host.serve", "Host.open", "Host.accept"];

/// What can be granted, and of which interface it is.
const GRANTS: [(&str, &str); 3] = [
    ("host", "Host"),
    ("executor", "Executor"),
    ("ipfs", "Client"),
];

/// What changes something, of content.
const CHANGES: &[&str] = &[
    "UnixFS.add",
    "Block.put",
    "Block.rm",
    "Dag.put",
    "Dag.import",
    "Pin.add",
    "Pin.rm",
    "Name.publish",
    "Name.put",
    "Key.generate",
    "Key.rename",
    "Key.remove",
    "Object.put",
    "Object.addLink",
    "Object.rmLink",
    "Object.setData",
    "Object.appendData",
    "Swarm.connect",
    "PubSub.publish",
    "Routing.provide",
];

/// What is not below any path, of content, and changes nothing.
const BEYOND: &[&str] = &[
    "Pin.ls",
    "Pin.verify",
    "Pin.isPinned",
    "Name.resolve",
    "Name.record",
    "Key.list",
    "Swarm.peers",
    "Swarm.localAddrs",
    "PubSub.subscribe",
    "PubSub.peers",
    "Routing.findPeer",
    "Routing.findProviders",
];

/// What leads along a path, of content, and changes nothing.
const PATHS: &[&str] = &[
    "Client.resolvePath",
    "Client.resolveNode",
    "UnixFS.cat",
    "UnixFS.ls",
    "UnixFS.get",
    "UnixFS.stat",
    "Block.get",
    "Block.stat",
    "Dag.get",
    "Dag.resolve",
    "Dag.export",
    "Object.get",
];

/// The lines that the probe prints.
fn probe(options: &[&str], args: &[&str]) -> Vec<Value> {
    let environment = Environment::new(guests::PROBE);
    let ww = ww();
    if options.iter().any(|option| option.starts_with("ipfs")) {
        crate::add_content(&ww);
    }
    let mut command = ww.guest_command_with(options, &environment, args);
    command.env("WW_PROBE_CANARY", "sings");
    json(&fixtures::finish(&mut command).expect(CODE).stdout())
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}

/// What it got through with: what succeeded, and what failed for reasons of the method's own.
fn reached(lines: &[Value]) -> BTreeSet<String> {
    let reached = lines.iter().filter(|line| {
        let error = text(line, "error");
        let refusals = [
            "failed: notGranted: ",
            "failed: attenuated: ",
            "unimplemented: ",
        ];
        let refused = refusals.iter().any(|start| error.starts_with(start))
            || error.contains(": attenuated: this ipfs is ");
        line.get("ok").is_some() || text(line, "kind") == "calls" && !refused
    });
    let name = |line: &Value| format!("{} / {}", text(line, "kind"), text(line, "attempt"));
    reached.map(name).collect()
}

fn interface(name: &str) -> &'static Interface {
    let found = Interface::all().iter().find(|each| each.name == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

/// What is reached through a method, and through whatever it gives, but for these. What gives another of an interface
/// that was passed on the way is not followed.
fn through(
    path: &str,
    interface: &Interface,
    method: &Method,
    above: &[u64],
    without: &[&str],
) -> Vec<String> {
    let name = format!("{}.{}", interface.name, method.name);
    if UNSERVED.contains(&name.as_str()) || without.contains(&name.as_str()) {
        return Vec::new();
    }
    let mut all = vec![format!("calls / {path}: {name}")];
    let above = [above, &[interface.id]].concat();
    for given in method.gives.iter().filter(|given| !above.contains(given)) {
        let given = Interface::of_id(*given).unwrap();
        let path = format!("{path}.{}", method.name);
        for each in given.methods {
            all.extend(through(&path, given, each, &above, without));
        }
    }
    all
}

/// What is reached by whoever holds these methods of a grant, of which the interface is this, but for some.
fn expected(grant: Option<(&str, &Interface, &[&Method])>, without: &[&str]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = EVERYBODY.iter().map(|name| (*name).to_owned()).collect();
    if let Some((name, interface, methods)) = grant {
        all.insert(format!("capabilities by name / `{name}`"));
        for method in methods {
            all.extend(through(name, interface, method, &[], without));
        }
    }
    all
}

/// The options that grant this, and nothing that would be granted otherwise.
fn alone<'a>(name: &str, grant: &'a str) -> Vec<&'a str> {
    let others = ["host", "executor"]
        .into_iter()
        .filter(|other| *other != name);
    let denied = others.flat_map(|other| ["--deny", other]);
    denied.chain(["--grant", grant]).collect()
}

#[track_caller]
fn assert_same(told: &BTreeSet<String>, expected: &BTreeSet<String>, options: &[&str]) {
    let more: Vec<_> = told.difference(expected).collect();
    let less: Vec<_> = expected.difference(told).collect();
    assert!(
        more.is_empty(),
        "{options:?}: an authority that nobody has listed: {more:#?}"
    );
    assert!(less.is_empty(), "{options:?}: not reached: {less:#?}");
}

/// A refusal says who, what, why, and what would allow it.
#[track_caller]
fn assert_refusals(lines: &[Value], grant: &str, allowed: &Method, interface: &Interface) {
    let mut refused = 0;
    // What is not of this kind no grant of it allows; what is of no kind at all might be had of a cell.
    let ids = || Interface::all().iter().flat_map(Interface::numbered);
    let whole = MethodId::closure(interface.numbered().map(|(id, _)| id));
    let gives_any = |id: &MethodId| id.method().is_some_and(|method| method.gives_any);
    let foreign = whole.iter().any(gives_any);
    let never: Vec<String> = ids()
        .filter(|(id, _)| !whole.contains(id))
        .map(|(id, _)| id.to_string())
        .collect();
    for line in lines.iter().filter(|line| text(line, "kind") == "calls") {
        let Some((path, method)) = text(line, "attempt").split_once(": ") else {
            panic!("no call: {line}");
        };
        let error = text(line, "error");
        if path != grant || line.get("ok").is_some() || !error.contains("notGranted") {
            continue;
        }
        refused += 1;
        let why = format!(
            "failed: notGranted: cell 1 (/boot/main.wasm) may not call {method} through its grant `{grant}`, \
             which allows {}.{}. What allows it: {}",
            interface.name,
            allowed.name,
            match never.iter().any(|name| name == method) || !foreign && method.starts_with("0x") {
                true => "nothing; no grant of this kind has such a method".to_owned(),
                false => format!("`ww run --grant {grant}"),
            }
        );
        assert!(error.starts_with(&why), "{error}\nis not\n{why}");
    }
    // All others of its own interface, at least.
    assert!(refused + 1 >= interface.methods.len(), "{refused} refusals");
}

#[test]
fn a_cell_that_was_granted_nothing_can_do_nothing() {
    let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = there.local_addr().unwrap().to_string();
    let options = ["--deny", "host", "--deny", "executor"];
    let lines = probe(&options, &[&address]);
    assert_same(&reached(&lines), &expected(None, &[]), &options);
    let find = |attempt: &str| {
        let found = lines.iter().find(|line| text(line, "attempt") == attempt);
        found.map(|line| &line["ok"]).unwrap()
    };
    assert_eq!(find("names of variables"), &json!([]));
    assert_eq!(
        find("folders that it starts with"),
        &json!(["/", "/tmp", "/var"])
    );
    assert_eq!(find("list //"), &json!(["boot"]));
    assert_eq!(find("all that were granted"), &json!([]));
    assert_eq!(find("membrane: Membrane.watch"), "waits");
    // Nobody has called.
    there.set_nonblocking(true).unwrap();
    assert!(there.accept().is_err());
}

#[test]
fn a_cell_can_do_what_its_one_grant_is_for_and_no_more() {
    for (grant, name) in GRANTS {
        let interface = interface(name);
        let options = alone(grant, grant);
        let lines = probe(&options, &[]);
        let methods: Vec<&Method> = interface.methods.iter().collect();
        let expected = expected(Some((grant, interface, &methods)), &[]);
        assert_same(&reached(&lines), &expected, &options);
    }
}

#[test]
fn a_cell_can_call_the_one_method_that_it_was_granted_and_what_that_gives() {
    for (grant, name) in GRANTS {
        let interface = interface(name);
        for method in interface.methods {
            let only = format!("{grant}:{}", method.name);
            let options = alone(grant, &only);
            let lines = probe(&options, &[]);
            let expected = expected(Some((grant, interface, &[method])), &[]);
            assert_same(&reached(&lines), &expected, &options);
            assert_refusals(&lines, grant, method, interface);
        }
    }
}

#[test]
fn content_that_was_granted_in_part_is_in_reach_in_that_part() {
    let interface = interface("Client");
    let methods: Vec<&Method> = interface.methods.iter().collect();
    let below = "ipfs=ipfs,under=/ipfs/bafybeid4wnp4ydlzb3gpvdhmqqv4lokmisrcto4yzmxeh7bom2uxj7z264";
    let elsewhere =
        "ipfs=ipfs,under=/ipfs/bafkreid4pp7ie2za6xrn2mziv7qs6awg6zmfv6m335yw7nqxwxagkfp644";
    let all = [CHANGES, BEYOND].concat();
    for (grant, without) in [
        ("ipfs=ipfs,pins=mine", &[][..]),
        ("ipfs=ipfs,read-only", CHANGES),
        (below, &all),
        (elsewhere, &[&all[..], PATHS].concat()),
    ] {
        let options = alone("ipfs", grant);
        let lines = probe(&options, &[]);
        let expected = expected(Some(("ipfs", interface, &methods)), without);
        assert_same(&reached(&lines), &expected, &options);
    }
}

#[test]
fn no_number_stands_for_what_a_cell_was_not_given() {
    let lines = forgeries();
    let (neighbour, attempts) = lines.split_last().unwrap();
    assert_eq!(neighbour["ok"], "running", "{neighbour}");
    assert!(attempts.len() >= 20, "{attempts:?}");
    for line in attempts {
        assert!(line.get("ok").is_none(), "it got through: {line}");
    }
}

fn forgeries() -> Vec<Value> {
    let environment = Environment::new(guests::PROBE);
    json(&ww().guest(&environment, &["forgeries"]).ok().stdout())
}

// What was reached through it, what is under way, and what is asked for anew.
#[test]
fn what_a_parent_takes_back_is_gone_with_all_that_was_reached_through_it() {
    let stage = Stage::new(guests::PROBE).with(&["--grant", "host", "--grant", "ipfs"]);
    stage.add_content();
    let lines = json(&stage.run(&["revocation"]).ok().stdout());
    let of = |prefix: &str| -> Vec<&Value> {
        let begins = |line: &&Value| text(line, "attempt").starts_with(prefix);
        lines.iter().filter(begins).collect()
    };
    // Before, all that there is was in reach.
    let before: BTreeSet<String> = reached(&lines)
        .iter()
        .filter_map(|name| Some(name.replace("before: ", "")).filter(|_| name.contains("before: ")))
        .collect();
    let mut all = BTreeSet::new();
    for (grant, name) in GRANTS {
        let interface = interface(name);
        for method in interface.methods {
            all.extend(through(grant, interface, method, &[], &[]));
        }
    }
    // The cell has no files, and so no component to send.
    let sends = |name: &String| name.contains(".runBytes.") || name.contains(".runBytes:");
    all.retain(|name| !sends(name));
    assert_same(&before, &all, &["before"]);

    let (after, anew) = (of("after: "), of("anew: "));
    assert_eq!(after.len(), of("before: ").len());
    assert!(!anew.is_empty());
    let mut lost = [after, anew].concat();
    lost.extend(of("a call under way"));
    lost.extend(of("a new call on what was reached"));
    for line in lost {
        assert_eq!(
            line["error"], "disconnected: revoked: the trial is over",
            "{line}"
        );
    }
    assert_eq!(
        of("grafted anew")[0]["ok"],
        json!(["host", "executor", "ipfs"])
    );
    assert_eq!(of("the cell itself")[0]["ok"], "exited with 0");
}

#[test]
fn what_lies_outside_the_image_is_out_of_reach_by_any_path() {
    let outside = Environment::empty();
    outside
        .write("secret", "the treasure")
        .write("image/etc/motd", "hello");
    outside.copy(guests::PROBE, "image/boot/main.wasm");
    let ww = ww();
    let home = ww.home().to_owned();
    fs::write(home.join("canary"), "x").unwrap();
    let paths = [
        outside.join("secret"),
        outside.join("image/etc/motd"),
        home.join("keys/node"),
        home.join("run"),
        home.join("canary"),
        "/etc/../../secret".into(),
        "../secret".into(),
        "/etc/motd/../../../secret".into(),
    ];
    let paths: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let before = outside.fingerprint();
    let run = |args: &[&str]| -> Finished {
        let mut command = ww.command(["run", "--port", "0"]);
        command.arg(outside.join("image")).arg("--").args(args);
        fixtures::finish(&mut command)
    };
    let args = [&["127.0.0.1:80"], &paths[..]].concat();
    let finished = run(&args).expect(CODE);
    let lines = json(&finished.stdout());
    for path in &paths {
        for verb in ["read", "list", "write", "remove"] {
            let attempt = format!("{verb} {path}");
            let line = lines
                .iter()
                .find(|line| text(line, "attempt") == attempt)
                .unwrap();
            assert!(line.get("ok").is_none(), "{line}");
        }
    }
    assert_eq!(outside.fingerprint(), before);
    assert!(home.join("canary").exists() && home.join("keys/node").exists());
    links_out_of_the_image(&outside, &run);
}

/// Links to what is outside are refused before anything runs, the ones that seem to lead back too.
fn links_out_of_the_image(outside: &Environment, run: &dyn Fn(&[&str]) -> Finished) {
    let link = outside.join("image/etc/out");
    let secret = outside.join("secret");
    for target in [
        secret.to_str().unwrap(),
        "../../secret",
        "../usr/up/../secret",
    ] {
        outside
            .link("image/usr/up", "..")
            .link("image/etc/out", target);
        let finished = run(&["127.0.0.1:80", "/etc/out"]);
        assert!(!finished.stdout().contains("treasure"));
        finished.refused(&["out"]);
        fs::remove_file(&link).unwrap();
        fs::remove_file(outside.join("image/usr/up")).unwrap();
    }
}

/// Set to anything, it has the table written anew.
const WRITE: &str = "WW_WRITE_DOCS";

const BEGIN: &str = "<!-- What follows is generated";
const END: &str = "<!-- The end of what is generated -->";

#[test]
fn the_table_in_the_docs_is_what_the_probe_says() {
    let mut lines = probe(&["--deny", "host", "--deny", "executor"], &[]);
    lines.extend(
        forgeries()
            .into_iter()
            .filter(|line| line["attempt"] != "the neighbour"),
    );
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sandbox.md");
    let written = fs::read_to_string(&page).unwrap();
    let (before, rest) = written.split_once(BEGIN).unwrap();
    let (note, rest) = rest.split_once("-->\n").unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let fresh = format!("{before}{BEGIN}{note}-->\n{}{END}{after}", tables(&lines));
    if std::env::var_os(WRITE).is_some() {
        fs::write(&page, &fresh).unwrap();
    }
    assert!(
        written == fresh || std::env::var_os(WRITE).is_some(),
        "docs/sandbox.md is not what the probe says: {WRITE}=1 cargo test --package ww --test e2e the_table_in_the_docs"
    );
}

fn tables(lines: &[Value]) -> String {
    let (can, cannot): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.get("ok").is_some());
    format!(
        "\n## What it can do\n\n{}\n## What it cannot do\n\n{}\n",
        table("what it gets", &can),
        table("what it is told", &cannot)
    )
}

/// A row of a table: a kind of attempts, what they have in common, what came of them, and what each was.
struct Row<'a> {
    kind: &'a str,
    common: &'a str,
    told: String,
    attempts: Vec<&'a str>,
}

/// One row for all attempts of a kind that came to the same.
fn table(outcome: &str, lines: &[&Value]) -> String {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for line in lines {
        let kind = text(line, "kind");
        let (common, attempt) = in_common(kind, text(line, "attempt"));
        let told = told(line, attempt);
        let same =
            |row: &&mut Row<'_>| row.kind == kind && row.common == common && row.told == told;
        match rows.iter_mut().find(same) {
            Some(row) => row.attempts.push(attempt),
            None => rows.push(Row {
                kind,
                common,
                told,
                attempts: vec![attempt],
            }),
        }
    }
    let mut table = format!("| | what it tries | {outcome} |\n|---|---|---|\n");
    for row in rows {
        let tries = format!("{}{}", row.common, row.attempts.join("; "));
        let cells = [row.kind, &tries, &row.told].map(|cell| cell.replace('|', "\\|"));
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    table
}

/// What an attempt is named after, and the rest: on what a call is made, what is done with a file.
fn in_common<'a>(kind: &str, attempt: &'a str) -> (&'a str, &'a str) {
    let end = match (attempt.find(": "), kind) {
        (Some(place), _) => place + 2,
        (None, "files") => attempt.find(' ').map_or(0, |place| place + 1),
        (None, _) => 0,
    };
    attempt.split_at(end)
}

fn told(line: &Value, attempt: &str) -> String {
    match (&line["ok"], text(line, "error")) {
        (Value::Null, "") | (Value::Bool(true), _) => "yes".to_owned(),
        // The names are told once.
        (Value::Null, error) if text(line, "kind") == "capabilities by name" => {
            let name = attempt.trim_matches('`');
            let error = error.replace(attempt, "`NAME`");
            error.replace(&format!("--grant {name}"), "--grant NAME")
        }
        (Value::Null, error) => error.to_owned(),
        (Value::String(text), _) => text.clone(),
        (value, _) => format!("`{value}`"),
    }
}
