//! Pins.

use serde_json::json;

use super::{NOBODYS, Shelf, refused, text};

// Row 88: Pin.
#[test]
fn what_is_pinned_stays_until_its_last_name_has_gone() {
    let shelf = Shelf::new();
    let tried = shelf.play(&["pins"]);
    let (root, inner) = (text(tried.ok("root")), text(tried.ok("add below")));
    assert_eq!(tried.ok("before"), &json!([false, ""]));
    assert_eq!(text(tried.ok("add")), root);
    assert_eq!(text(tried.ok("add direct")), root);
    assert_eq!(tried.ok("is pinned")[0], true);
    let (bare, one, two) = (
        json!(["bare", root, true]),
        json!(["one", root, false]),
        json!(["two", inner, false]),
    );
    let all = json!({ "pins": [bare, one, two], "more": false });
    assert_eq!(tried.ok("ls"), &all);
    assert_eq!(tried.ok("ls one"), &json!({ "pins": [one], "more": false }));
    assert_eq!(tried.ok("ls page"), &json!({ "pins": [one], "more": true }));
    assert_eq!(tried.ok("ls beyond"), &json!({ "pins": [], "more": false }));
    // The directory and its two files.
    assert_eq!(tried.ok("verify"), &json!([3, 0]));
    refused(&tried, "rm other", &["two", root]);
    tried.ok("rm");
    refused(&tried, "rm again", &["one", root]);
    assert_eq!(tried.ok("ls after"), &json!({ "pins": [], "more": false }));
    assert_eq!(tried.ok("after"), &json!([false, ""]));
    refused(&tried, "verify unpinned", &[root]);
    refused(&tried, "add missing", &[NOBODYS]);
    let pins = shelf.ww.run(["pin", "ls"]).ok().stdout();
    assert!(pins.contains("two") && !pins.contains(root), "{pins}");
}
