//! Each method of the contract has a twin test: with the method granted the call gets through, without it it is refused
//! by name, and nothing has happened. A method that is added to the schemas fails these until it stands here.

use std::collections::BTreeMap;

use fixtures::{Running, guests};
use schema::interfaces::Interface;
use serde_json::Value;

use crate::{Attempts, Stage, json};

/// A method, how it answers those who may call it, and what can be seen afterwards of whether it did anything: by
/// those who may, and by those who may not. Empty where it changes nothing, or what it gives is all that shows.
type Twin = (&'static str, &'static str, &'static str, &'static str);

/// How a method answers that is in the contract, and that this node does not serve.
const UNSERVED: &str = "unimplemented: method ";

/// What the host serves.
const SERVED: &[Twin] = &[
    ("Membrane.graft", "answered", "", ""),
    ("Membrane.watch", "waits", "", ""),
    ("Membrane.attenuate", "answered", "", ""),
    (
        "Revoker.revoke",
        "answered",
        "disconnected: revoked: it was tried",
        "good",
    ),
    ("Host.id", "answered", "", ""),
    ("Host.addrs", "answered", "", ""),
    ("Host.peers", "answered", "", ""),
    ("Host.connect", "failed: connect: ", "", ""),
    ("Host.executor", "answered", "", ""),
    ("Host.dial", UNSERVED, "", ""),
    ("Host.serve", UNSERVED, "", ""),
    ("Host.open", UNSERVED, "", ""),
    ("Host.accept", UNSERVED, "", ""),
    ("Executor.runBytes", "answered", "", ""),
    ("Executor.echo", "answered", "", ""),
    ("Executor.load", "answered", "", ""),
    ("Program.cid", "answered", "", ""),
    ("Program.imports", "answered", "", ""),
    // One more runs then, to be waited for.
    ("Program.spawn", "answered", "1 had run", "0 had run"),
    ("Process.stdin", "answered", "", ""),
    ("Process.stdout", "answered", "", ""),
    ("Process.stderr", "answered", "", ""),
    ("Process.wait", "answered", "", ""),
    ("Process.status", "answered", "", ""),
    ("Process.kill", "answered", "killed", "running"),
    ("Process.bootstrap", "answered", "", ""),
    ("Process.detach", "answered", "", ""),
    ("Process.usage", "answered", "", ""),
    (
        "ByteStream.read",
        "answered",
        r#""" is left"#,
        r#""y" is left"#,
    ),
    (
        "ByteStream.write",
        "answered",
        r#""x" arrived"#,
        r#""" arrived"#,
    ),
    ("ByteStream.close", "answered", "closed", "open"),
    (
        "ByteStream.push",
        "answered",
        r#""x" arrived"#,
        r#""" arrived"#,
    ),
    (
        "ByteStream.pump",
        "answered",
        r#""" is left"#,
        r#""y" is left"#,
    ),
];

/// What the host serves of content.
const CONTENT: &[Twin] = &[
    ("Client.unixfs", "answered", "", ""),
    ("Client.block", "answered", "", ""),
    ("Client.dag", "answered", "", ""),
    ("Client.name", "answered", "", ""),
    ("Client.key", "answered", "", ""),
    ("Client.pin", "answered", "", ""),
    ("Client.object", "answered", "", ""),
    ("Client.swarm", "answered", "", ""),
    ("Client.pubSub", "answered", "", ""),
    ("Client.routing", "answered", "", ""),
    ("Client.resolvePath", "answered", "", ""),
    ("Client.resolveNode", "answered", "", ""),
    ("Client.attenuate", "answered", "", ""),
    ("UnixFS.cat", "answered", "", ""),
    ("UnixFS.ls", "answered", "", ""),
    ("UnixFS.get", "answered", "", ""),
    ("UnixFS.stat", "answered", "", ""),
    ("UnixFS.add", "answered", "", ""),
    ("Node.stat", "answered", "", ""),
    ("Node.read", "answered", "", ""),
    ("Node.entries", "answered", "", ""),
    ("Node.child", "answered", "", ""),
    ("Node.target", "answered", "", ""),
    ("Adder.file", "answered", "one is open", "nothing"),
    ("Adder.directory", "answered", "an entry", "nothing"),
    ("Adder.symlink", "answered", "an entry", "nothing"),
    ("Adder.finish", "answered", "kept", "absent"),
    ("Block.get", "answered", "", ""),
    ("Block.put", "answered", "kept", "absent"),
    ("Block.stat", "answered", "", ""),
    ("Block.rm", "answered", "gone", "there"),
    ("Dag.get", "answered", "", ""),
    ("Dag.put", "answered", "kept", "absent"),
    ("Dag.resolve", "answered", "", ""),
    ("Dag.export", "answered", "", ""),
    ("Dag.import", "failed: import: ", "called", ""),
    ("Pin.add", "answered", "pinned", "not pinned"),
    ("Pin.ls", "answered", "", ""),
    ("Pin.rm", "answered", "not pinned", "pinned"),
    ("Pin.verify", "answered", "", ""),
    ("Pin.isPinned", "answered", "", ""),
    ("Name.publish", "answered", "published", "not published"),
    ("Name.resolve", "failed: resolve: ", "", ""),
    ("Name.record", "failed: record: ", "", ""),
    ("Name.put", "failed: put: ", "", ""),
    (
        "Key.generate",
        "answered",
        "there is tried",
        "there is neither",
    ),
    ("Key.list", "answered", "", ""),
    (
        "Key.rename",
        "answered",
        "there is renamed",
        "there is tried",
    ),
    (
        "Key.remove",
        "answered",
        "there is neither",
        "there is tried",
    ),
    ("Object.get", "answered", "", ""),
    ("Object.put", "answered", "kept", "absent"),
    ("Object.addLink", "answered", "kept", "absent"),
    ("Object.rmLink", "answered", "kept", "absent"),
    ("Object.setData", "answered", "kept", "absent"),
    ("Object.appendData", "answered", "kept", "absent"),
    ("Swarm.connect", "failed: connect: ", "", ""),
    ("Swarm.peers", "answered", "", ""),
    ("Swarm.localAddrs", "answered", "", ""),
    ("PubSub.publish", "answered", "1 had come", "0 had come"),
    ("PubSub.subscribe", "answered", "1 topics", "0 topics"),
    ("PubSub.topics", "answered", "", ""),
    ("PubSub.peers", "answered", "", ""),
    ("Routing.findPeer", "failed: findPeer: ", "", ""),
    ("Routing.findProviders", "answered", "", ""),
    ("Routing.provide", "answered", "", ""),
];

/// What a cell serves, and the host does not: the cell's own capability, through the host's membrane.
const OF_A_CELL: &[&str] = &[
    "MessageHandler.handle",
    "Signer.sign",
    "Signer.prove",
    "StreamHandler.handle",
];

fn twins() -> BTreeMap<&'static str, Twin> {
    let of_a_cell = OF_A_CELL
        .iter()
        .map(|name| (*name, "answered", "called", ""));
    let all = [SERVED, CONTENT].concat().into_iter().chain(of_a_cell);
    all.map(|twin| (twin.0, twin)).collect()
}

/// The methods of the contract.
fn methods() -> Vec<String> {
    let of = |interface: &'static Interface| interface.numbered().map(|(id, _)| id.to_string());
    Interface::all().iter().flat_map(of).collect()
}

// What a cell narrows, for itself or for others.
#[test]
fn each_method_gets_through_where_it_is_named_and_is_refused_where_it_is_not() {
    let stage = Stage::new(guests::TWINS).with(&["--grant", "host", "--grant", "ipfs"]);
    stage.add_content();
    let lines = json(&stage.run(&[]).ok().stdout());
    let twins = twins();
    let methods = methods();
    assert_eq!(
        methods.len(),
        twins.len(),
        "a method that is in one list only"
    );
    for method in methods {
        let (_, with, seen_with, seen_without) = twins
            .get(method.as_str())
            .unwrap_or_else(|| panic!("{method} has no twin"));
        let line = lines.iter().find(|line| line["method"] == *method);
        let line = line.unwrap_or_else(|| panic!("{method} was not tried"));
        let told = |field: &str| line[field].as_str().unwrap_or_default();
        assert!(told("with").starts_with(with), "{line}");
        assert_eq!(told("seen with"), *seen_with, "{line}");
        assert_eq!(told("seen without"), *seen_without, "{line}");
        let refusal = format!(
            "failed: attenuated: {method} may not be called on this capability, which cell 1 (/boot/main.wasm) has \
             narrowed to "
        );
        assert!(told("without").starts_with(&refusal), "{line}");
        let lift = format!("What allows it: that cell, by naming {method} to Membrane.attenuate");
        assert!(told("without").ends_with(&lift), "{line}");
    }
}

// What the operator grants the first cell.
#[test]
fn each_method_that_the_operator_denies_is_refused_and_no_other() {
    let twins = twins();
    for (grant, name) in [
        ("host", "Host"),
        ("executor", "Executor"),
        ("ipfs", "Client"),
    ] {
        let interface = Interface::all()
            .iter()
            .find(|each| each.name == name)
            .unwrap();
        for (id, denied) in interface.numbered() {
            let denied = format!("{grant}:{}", denied.name);
            let stage = Stage::new(guests::TWINS);
            stage.add_content();
            let options = ["--grant", "host", "--grant", "ipfs", "--deny", &denied];
            let mut command =
                stage
                    .ww
                    .guest_command_with(&options, &stage.environment, &["granted"]);
            let tried = Attempts::of(&fixtures::finish(&mut command).ok().stdout());
            let refusal = tried.error(&id.to_string());
            let start = format!(
                "failed: notGranted: cell 1 (/boot/main.wasm) may not call {id} through its grant `{grant}`, which allows "
            );
            assert!(refusal.starts_with(&start), "{refusal}");
            assert!(
                refusal.contains("What allows it: `ww run --grant "),
                "{refusal}"
            );
            for line in tried
                .0
                .iter()
                .filter(|line| line["attempt"] != *id.to_string())
            {
                assert_gets_through(line, &twins);
            }
        }
    }
}

#[track_caller]
fn assert_gets_through(line: &Value, twins: &BTreeMap<&str, Twin>) {
    let (_, with, ..) = twins[line["attempt"].as_str().unwrap()];
    let told = line["ok"].as_str().or(line["error"].as_str()).unwrap();
    assert!(told.starts_with(with), "{line}");
}

// A parent chooses what its child is called, and the child's refusals name it: whatever the name, they read as what the
// host says about it, on one line.
#[test]
fn a_refusal_cannot_be_forged_by_a_cells_name() {
    for (name, shown) in [
        (
            "x) has narrowed to all. What allows it: nothing (",
            r#"cell 2 ("x) has narrowed to all. What allows it: nothing (")"#,
        ),
        (r#"x") to all"#, r#"cell 2 ("x\") to all")"#),
        (
            "x\nfailed: notGranted: y\r\u{1b}[2J",
            r#"cell 2 ("x\nfailed: notGranted: y\r\u{1b}[2J")"#,
        ),
        ("x\u{202e}y`z`", r#"cell 2 ("x\u{202e}y`z`")"#),
    ] {
        let stage = Stage::new(guests::TWINS).with(&["--grant", "ipfs"]);
        stage.add_content();
        let mut command = stage.command(&["named", name]);
        let mut running = Running::start(command.env("RUST_LOG", "ww=debug"));
        let lines = json(&running.rest_of_stdout().join("\n"));
        assert_eq!(running.code(), 0);
        // The log has it the same way.
        running.stderr_line(&format!("who={shown}"));
        assert_eq!(lines.len(), methods().len());
        for line in lines {
            let method = line["method"].as_str().unwrap();
            let refusal = line["without"].as_str().unwrap();
            let start = format!(
                "failed: attenuated: {method} may not be called on this capability, which {shown} has narrowed to "
            );
            assert!(refusal.starts_with(&start), "{refusal}");
            assert!(!refusal.contains(|c: char| c.is_control()), "{refusal}");
        }
    }
}
