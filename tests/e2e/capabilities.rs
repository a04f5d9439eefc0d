//! The wire contract, and the example that shows it. Calls on each capability are in `guests`.

use std::path::Path;
use std::process::{Command, Stdio};

use fixtures::{Environment, guests};

use crate::ww;

// Rows 80, 81, 86: that ids and ordinals are the published ones is for `crates/schema`.
#[test]
fn the_schemas_compile_with_the_reference_compiler() {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("capnp");
    for schema in ["system", "stem", "ipfs"] {
        let compiled = Command::new("capnp")
            .args(["compile", "-o-", "--src-prefix"])
            .arg(&schemas)
            .arg("-I")
            .arg(&schemas)
            .arg(schemas.join(format!("{schema}.capnp")))
            .stdin(Stdio::null())
            .output()
            .expect("the Cap'n Proto compiler is missing: apt-get install capnproto");
        let stderr = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{schema}: {stderr}");
        assert!(!compiled.stdout.is_empty());
    }
}

// Rows 83, 84, 85: the example in examples/parent.
#[test]
fn a_program_runs_another_and_talks_to_it() {
    let environment = Environment::new(guests::PARENT);
    environment.copy(guests::ECHO, "bin/echo.wasm");
    let told = ww().guest(&environment, &[]).ok().stdout();
    assert_eq!(
        told,
        "the child said: Is anybody there?\nthe child ended with 0\n"
    );
}
