//! Who owns a cell, and when it ends: the guest `owns` tries each case and tells how it went.

use fixtures::{Environment, guests};
use serde_json::json;

use crate::{Attempts, ww};

// Row 84: ownership, detaching, waiting, killing, and what is taken back with a cell or without it.
#[test]
pub fn owns() {
    let environment = Environment::new(guests::OWNS);
    for (guest, name) in [
        (guests::BEATS, "beats"),
        (guests::EXIT_CODE, "exit_code"),
        (guests::SERVES, "serves"),
    ] {
        environment.copy(guest, &format!("bin/{name}.wasm"));
    }
    let tried = Attempts::of(&ww().guest(&environment, &[]).ok().stdout());
    assert_eq!(
        tried.ok("dropping the last reference"),
        &json!({ "beats before": true, "gone after": true })
    );
    assert_eq!(
        tried.ok("detaching"),
        &json!({ "again": true, "beats after": true })
    );
    assert_eq!(
        tried.ok("detached by a child that ends"),
        &json!({ "code": 0, "gone after": true })
    );
    assert_eq!(tried.ok("waiting"), &json!({ "told 7": 50, "after": 7 }));
    assert_eq!(
        tried.ok("killing"),
        &json!({ "status": "killed", "again": true, "memory": 0, "gone": true })
    );
    let exported = tried.ok("what it exported");
    assert_eq!(exported["before"], true);
    for failed in ["after", "bootstrap"] {
        let told = exported[failed].as_str().unwrap();
        assert!(told.contains("has ended"), "{told}");
    }
    let revoked = tried.ok("a revoked grant");
    assert_eq!(revoked["code"], 9);
    assert!(
        revoked["told"]
            .as_str()
            .unwrap()
            .contains("revoked: enough")
    );
    assert_eq!(revoked["beats after"], 0, "nothing starts after it");
    assert_eq!(revoked["let go"], true);
    let narrowed = tried.ok("a narrowed grant");
    assert_eq!(
        (&narrowed["code"], &narrowed["beats"]),
        (&json!(9), &json!(0))
    );
    let told = narrowed["told"].as_str().unwrap();
    for part in [
        "attenuated: ByteStream.write may not be called on this capability",
        "has narrowed to ByteStream.close",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(
        tried.ok("a spawn that is given up"),
        &json!({ "gone": true })
    );
}
