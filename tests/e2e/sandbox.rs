//! Hostile guests: the host stays, and so do their neighbours. One guest at a time is in `guests`.

use fixtures::guests;

use crate::{Stage, json};

// Rows 3, 91, 92: a child that ends badly, in each of the ways there are, is its parent's to judge.
#[test]
fn a_parent_outlives_whatever_its_children_do() {
    let stage = Stage::new(guests::RUNBYTES);
    for (program, args, status) in [
        (guests::PANICS, &[][..], "trapped: "),
        (guests::STACK_OVERFLOW, &[], "trapped: stack overflow"),
        (guests::MEMHOG, &["die"], "out of memory"),
        (guests::RAW_MESSAGES, &[], "trapped: "),
        (guests::FLOOD_CALLS, &["1000000"], "exited with 0"),
        (guests::STDERR_FLOOD, &["2"], "exited with 0"),
        (guests::MAIN_ERR, &[], "exited with 1"),
    ] {
        stage.environment.copy(program, "bin/child.wasm");
        let args = [&["/bin/child.wasm"], args].concat();
        let told = json(&stage.run(&args).ok().stdout()).remove(0);
        let ended = told["status"].as_str().unwrap();
        assert!(ended.starts_with(status), "{program}: {ended}");
    }
}

// Row 3: the secrets of the node are not within reach of the image.
#[test]
fn the_nodes_key_is_not_in_the_tree_that_a_guest_sees() {
    let stage = Stage::new(guests::FS_PROBE);
    let key = stage.ww.home().join("keys/node");
    let key = key.to_str().unwrap();
    let args = [key, "/keys/node", "/../keys/node", "/../../keys/node"];
    let tried = crate::Attempts::of(&stage.run(&args).ok().stdout());
    assert!(std::path::Path::new(key).exists());
    for path in args {
        tried.error(&format!("read {path}"));
    }
    assert_eq!(tried.ok("list /"), &serde_json::json!(["boot"]));
}
