//! The wire contract as the reference compiler reads it: the committed code is fresh, and every id and
//! ordinal is the recorded one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use capnp::message::ReaderOptions;
use capnp::schema_capnp::{code_generator_request, field, node};

#[path = "../examples/generate/interfaces.rs"]
mod interfaces;

const INSTALL: &str = "the `capnp` compiler is missing: apt-get install capnproto libcapnp-dev";
const MODULES: [&str; 3] = ["system", "stem", "ipfs"];

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn schemas() -> Vec<PathBuf> {
    MODULES
        .iter()
        .map(|name| crate_dir().join(format!("../../capnp/{name}.capnp")))
        .collect()
}

#[test]
fn committed_code_is_what_the_schemas_generate() {
    let output = tempfile::tempdir().unwrap();
    let mut command = capnpc::CompilerCommand::new();
    command
        .src_prefix(crate_dir().join("../../capnp"))
        .output_path(output.path());
    for schema in schemas() {
        command.file(schema);
    }
    command.run().expect(INSTALL);
    for name in MODULES {
        let file = format!("{name}_capnp.rs");
        let fresh = std::fs::read_to_string(output.path().join(&file)).unwrap();
        let committed = std::fs::read_to_string(crate_dir().join("src").join(&file)).unwrap();
        assert!(
            fresh == committed,
            "{file} has drifted: run `make schema` and commit it"
        );
    }
}

#[test]
fn the_committed_table_of_interfaces_is_what_the_schemas_generate() {
    let fresh = interfaces::table(&schemas()).expect(INSTALL);
    let committed = std::fs::read_to_string(crate_dir().join("src/interfaces/table.rs")).unwrap();
    assert!(
        fresh == committed,
        "the table has drifted: run `make schema` and commit it"
    );
}

#[test]
fn ids_and_ordinals_are_the_recorded_ones() {
    let recorded = std::fs::read_to_string(crate_dir().join("tests/contract.txt")).unwrap();
    let actual = contract();
    assert_eq!(
        recorded, actual,
        "the wire contract changed; only appending is allowed. If that is what happened, record:\n{actual}"
    );
}

/// One line for each type, method, field and enumerant of our three files, as the reference compiler sees them.
fn contract() -> String {
    let compiled = Command::new("capnp")
        .args(["compile", "-o-"])
        .args(schemas())
        .output()
        .expect(INSTALL);
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let message =
        capnp::serialize::read_message(&mut compiled.stdout.as_slice(), ReaderOptions::new())
            .unwrap();
    let request: code_generator_request::Reader<'_> = message.get_root().unwrap();
    let nodes: BTreeMap<u64, node::Reader<'_>> = request
        .get_nodes()
        .unwrap()
        .iter()
        .map(|node| (node.get_id(), node))
        .collect();
    let mut lines = Vec::new();
    for node in nodes.values() {
        let name = node.get_display_name().unwrap().to_string().unwrap();
        let name = Path::new(&name)
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if !MODULES
            .iter()
            .any(|module| name.starts_with(&format!("{module}.capnp")))
        {
            continue;
        }
        let id = node.get_id();
        match node.which().unwrap() {
            node::Interface(interface) => {
                lines.push(format!("{name} @{id:#018x} interface"));
                for (ordinal, method) in interface.get_methods().unwrap().iter().enumerate() {
                    lines.push(format!(
                        "{name}.{}@{ordinal}",
                        method.get_name().unwrap().to_str().unwrap()
                    ));
                }
            }
            node::Struct(body) => {
                // The parameters and results of a method have ids that follow from the interface's.
                if !name.contains('$') {
                    lines.push(format!("{name} @{id:#018x} struct"));
                }
                for field in body.get_fields().unwrap().iter() {
                    let field_name = field.get_name().unwrap().to_str().unwrap();
                    match field.get_ordinal().which().unwrap() {
                        field::ordinal::Explicit(ordinal) => {
                            lines.push(format!("{name}.{field_name}@{ordinal}"))
                        }
                        field::ordinal::Implicit(()) => {
                            lines.push(format!("{name}.{field_name}#{}", field.get_code_order()))
                        }
                    }
                }
            }
            node::Enum(body) => {
                lines.push(format!("{name} @{id:#018x} enum"));
                for (ordinal, value) in body.get_enumerants().unwrap().iter().enumerate() {
                    lines.push(format!(
                        "{name}.{}@{ordinal}",
                        value.get_name().unwrap().to_str().unwrap()
                    ));
                }
            }
            node::File(()) => lines.push(format!("{name} @{id:#018x} file")),
            _ => lines.push(format!("{name} @{id:#018x} other")),
        }
    }
    lines.sort();
    lines.join("\n") + "\n"
}
