//! Content with less authority, by the operator and by a parent, and with bounds.

use fixtures::Environment;
use serde_json::Value;

use super::{Shelf, refused, text};
use crate::Attempts;

/// A shelf with a tree, and two paths in it: of one file, and of another beside its directory.
fn two_files() -> (Shelf, String, String) {
    let shelf = Shelf::new();
    let tree = Environment::empty();
    tree.write("in/file", "inside").write("out", "outside");
    let root = shelf.add(&["-r", "--pin-name", "theirs"], tree.path());
    (
        shelf,
        format!("/ipfs/{root}/in/file"),
        format!("/ipfs/{root}/out"),
    )
}

/// What changes nothing that others see, and what changes something.
const READS_ELSEWHERE: [&str; 6] = [
    "read outside",
    "block outside",
    "dag outside",
    "export outside",
    "resolve outside",
    "narrowed read outside",
];
const CHANGES: [&str; 9] = [
    "add",
    "block put",
    "import",
    "object change",
    "pin",
    "connect",
    "publish",
    "provide",
    "narrowed add",
];

#[track_caller]
fn is_read_only(tried: &Attempts) {
    for change in CHANGES {
        refused(
            tried,
            change,
            &["attenuated", "read-only", "without readOnly"],
        );
    }
    tried.error("key");
}

#[track_caller]
fn is_held_to(tried: &Attempts, subtree: &str) {
    for elsewhere in READS_ELSEWHERE.iter().chain(&["object outside"]) {
        refused(tried, elsewhere, &["attenuated", subtree, "begins with"]);
    }
    tried.error("read by way of ..");
    for beyond in ["pins", "peers", "addrs"] {
        refused(tried, beyond, &["attenuated", subtree, "without a subtree"]);
    }
    refused(tried, "narrow outside", &["attenuated", subtree]);
    assert_eq!(tried.ok("read inside"), 6);
    assert_eq!(tried.ok("narrowed read inside"), 6);
    for change in CHANGES {
        refused(tried, change, &["attenuated"]);
    }
    tried.error("key");
}

#[track_caller]
fn sees_only_its_own_pins(tried: &Attempts) {
    let pins = tried.ok("pins")["pins"].as_array().unwrap();
    let names: Vec<&Value> = pins.iter().map(|pin| &pin[0]).collect();
    assert_eq!(names, ["mine"]);
    refused(tried, "unpin theirs", &["theirs"]);
}

// Row 88.
#[test]
fn a_guest_with_all_of_it_may_do_everything() {
    let (shelf, inside, outside) = two_files();
    let tried = shelf.play(&["tries", &inside, &outside]);
    for attempt in READS_ELSEWHERE {
        tried.ok(attempt);
    }
    for attempt in [
        "add",
        "block put",
        "pin",
        "publish",
        "provide",
        "narrow outside",
    ] {
        tried.ok(attempt);
    }
    assert_eq!(tried.ok("pins")["pins"].as_array().unwrap().len(), 2);
    for namespace in ["a/b", "/"] {
        refused(&tried, &format!("namespace {namespace}"), &["no slash"]);
    }
}

#[test]
fn read_only_by_the_operator() {
    let (shelf, inside, outside) = two_files();
    let shelf = shelf.granting("ipfs=ipfs,read-only");
    let tried = shelf.play(&["tries", &inside, &outside]);
    for attempt in READS_ELSEWHERE {
        tried.ok(attempt);
    }
    is_read_only(&tried);
}

#[test]
fn below_one_path_by_the_operator() {
    let (shelf, inside, outside) = two_files();
    let subtree = inside.trim_end_matches("/file").to_owned();
    let shelf = shelf.granting(&format!("ipfs=ipfs,under={subtree}"));
    is_held_to(&shelf.play(&["tries", &inside, &outside]), &subtree);
}

#[test]
fn one_namespace_of_pins_by_the_operator() {
    let (shelf, inside, outside) = two_files();
    let shelf = shelf.granting("ipfs=ipfs,pins=guests");
    let tried = shelf.play(&["tries", &inside, &outside]);
    sees_only_its_own_pins(&tried);
    tried.ok("add");
    let pins = shelf.ww.run(["pin", "ls"]).ok().stdout();
    assert!(pins.contains("guests/mine"), "{pins}");
    // No name leads out of it.
    tried.error("pin ..");
    assert_eq!(pins.matches("theirs").count(), 1, "{pins}");
}

#[test]
fn a_parent_narrows_what_its_child_has_and_nothing_widens_it() {
    let (shelf, inside, outside) = two_files();
    let subtree = inside.trim_end_matches("/file").to_owned();
    let (root, _) = outside.rsplit_once('/').unwrap();
    let narrowed = |shelf: &Shelf, options: &[&str]| {
        let words = [&["narrows", &inside, &outside][..], options].concat();
        let tried = shelf.play(&words);
        assert_eq!(tried.ok("child"), 0);
        tried
    };
    is_read_only(&narrowed(&shelf, &["read-only"]));
    let (wide, narrow) = (format!("under={root}"), format!("under={subtree}"));
    is_held_to(&narrowed(&shelf, &[&narrow]), &subtree);
    // One behind the other: the intersection.
    is_held_to(&narrowed(&shelf, &[&wide, &narrow, "read-only"]), &subtree);
    sees_only_its_own_pins(&narrowed(&shelf, &["pins=guests", "pins=inner"]));
    let pins = shelf.ww.run(["pin", "ls"]).ok().stdout();
    assert!(pins.contains("guests/inner/mine"), "{pins}");
    // And behind what the operator says.
    let shelf = shelf.granting(&format!("ipfs=ipfs,read-only,under={root}"));
    is_held_to(&narrowed(&shelf, &[&narrow]), &subtree);
    is_read_only(&narrowed(&shelf, &["pins=guests"]));
    let words = ["narrows", &inside, &outside, &narrow, &wide];
    let refused = fixtures::finish(&mut shelf.command(&words)).expect(1);
    assert!(
        refused.stderr().contains("is held to"),
        "{}",
        refused.stderr()
    );
}

/// A mebibyte as it is stored: four chunks and their root, each with what a block takes beside its bytes.
const STORED: std::ops::Range<u64> = (1 << 20) + 5 * 4096..(1 << 20) + 6 * 4096;

// Row 91.
#[test]
fn a_guest_that_adds_more_than_it_may_is_told_and_goes_on() {
    let shelf = Shelf::new().limit("content=4MiB");
    let tried = shelf.play(&["fill", "10", "a"]);
    assert_eq!(tried.ok("added"), 3);
    refused(&tried, "all", &["limit: content: "]);
    assert_eq!(tried.ok("read"), 1 << 20);
    // Another node has its own; and what is there already costs nothing.
    let tried = shelf.play(&["fill", "3", "b"]);
    assert_eq!(tried.ok("added"), 3);
    let tried = shelf.limit("content=64KiB").play(&["fill", "3", "b"]);
    assert_eq!(tried.ok("added"), 3);
}

// Row 91.
#[test]
fn what_a_child_adds_comes_out_of_what_it_was_given_and_is_used_up_when_it_ends() {
    let shelf = Shelf::new();
    let child = |tried: &Attempts, name: &str| {
        let told = tried.ok(name);
        let used = told["content_bytes"].as_u64().unwrap();
        (Attempts::of(text(&told["stdout"])), used)
    };
    let tried = shelf.limit("content=32MiB").play(&["budget", "3"]);
    for name in ["first", "second", "one", "other"] {
        let (told, used) = child(&tried, name);
        assert_eq!(told.ok("added"), 3, "{name}");
        told.ok("all");
        assert!((3 * STORED.start..3 * STORED.end).contains(&used), "{used}");
    }
    for name in ["bounded", "narrowed", "promised"] {
        let (told, used) = child(&tried, name);
        assert_eq!(told.ok("added"), 1, "{name}");
        refused(&told, "all", &["limit: content: "]);
        // What had been stored of the one that was too much is there, too.
        assert!((STORED.start..2 << 20).contains(&used), "{used}");
    }
    tried.ok("own");

    // However many come after one another: nobody fills the disk by ending.
    let tried = Shelf::new().limit("content=8MiB").play(&["spend", "3"]);
    for (name, added) in [("first", 3), ("second", 3), ("third", 1), ("fourth", 0)] {
        let (told, _) = child(&tried, name);
        assert_eq!(told.ok("added"), added, "{name}");
    }
    let (told, _) = child(&tried, "fourth");
    refused(&told, "all", &["limit: content: "]);
}
