//! `ww inspect`: what a component says of itself, told before any of it runs.

use fixtures::guests;
use serde_json::Value;

use crate::place;

#[test]
fn an_environment_is_inspected_by_its_entry() {
    let place = place();
    place.copy(guests::GRAFT_ID, "boot/main.wasm");
    let told = place.ww(&["inspect"]).ok().stdout();
    assert!(told.starts_with("imports\n"), "{told}");
    assert!(
        told.contains("asks its host for what it was granted"),
        "{told}"
    );
    assert!(told.contains("  wasi:cli/run@0.2"), "{told}");
    assert!(
        told.contains("It can run, and will look for grants"),
        "{told}"
    );
}

#[test]
fn a_component_that_cannot_ask_needs_no_grant() {
    let place = place();
    place.copy(guests::PLAIN, "plain.wasm");
    let told = place.ww(&["inspect", "plain.wasm"]).ok().stdout();
    assert!(told.contains("It can run, and needs no grant"), "{told}");
    let told = place.ww(&["inspect", "--json", "plain.wasm"]).ok().stdout();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["command"], true);
    assert_eq!(told["imports"][0]["missing"], Value::Null);
}

#[test]
fn a_published_environment_is_inspected_by_its_cid() {
    let place = place();
    place.copy(guests::HELLO, "boot/main.wasm");
    let cid = place.ww(&["push"]).ok().stdout();
    let path = format!("/ipfs/{}", cid.trim());
    let told = place.ww(&["inspect", &path]).ok().stdout();
    assert_eq!(told, place.ww(&["inspect", "."]).ok().stdout());
}

#[test]
fn what_a_cell_does_not_have_is_marked() {
    let place = place();
    let wasm = wat::parse_str(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance))
            (import "wasi:sockets/tcp@0.2.0" (instance)))"#,
    );
    place.write("odd.wasm", wasm.unwrap());
    let told = place.ww(&["inspect", "odd.wasm"]).ok().stdout();
    assert!(
        told.contains("MISSING: cells have no HTTP of their own"),
        "{told}"
    );
    assert!(told.contains("sockets: every use is refused"), "{told}");
    assert!(
        told.ends_with("It cannot run here: it imports what cells do not have.\n"),
        "{told}"
    );
}

#[test]
fn what_is_no_component_is_refused() {
    let place = place();
    place.write("notes.txt", "hello");
    let failed = place.ww(&["inspect", "notes.txt"]).expect(1);
    assert!(
        failed.stderr().contains("not a WebAssembly component"),
        "{}",
        failed.stderr()
    );
    let failed = place.ww(&["inspect", "absent"]).expect(1);
    assert!(
        failed.stderr().contains("cannot read absent"),
        "{}",
        failed.stderr()
    );
}
