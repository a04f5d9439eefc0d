//! The committed code is what the schemas generate.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

#[test]
fn committed_code_is_what_the_schemas_generate() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (schema, committed) in [
        ("rpc", "src/rpc_capnp.rs"),
        ("lab", "tests/vat/lab_capnp.rs"),
    ] {
        let output = tempfile::tempdir().unwrap();
        capnpc::CompilerCommand::new()
            .src_prefix(crate_dir.join("schema"))
            .output_path(output.path())
            .file(
                crate_dir
                    .join("schema")
                    .join(schema)
                    .with_extension("capnp"),
            )
            .run()
            .expect("the `capnp` compiler is missing: apt-get install capnproto libcapnp-dev");
        let fresh = output.path().join(format!("{schema}_capnp.rs"));
        assert!(
            std::fs::read_to_string(fresh).unwrap()
                == std::fs::read_to_string(crate_dir.join(committed)).unwrap(),
            "{committed} has drifted: run `make schema` and commit it"
        );
    }
}
