//! Adding files and trees.

use fixtures::Environment;

use super::{Shelf, pattern, refused, text};

/// What the guest adds in several ways.
fn tree() -> Environment {
    let tree = Environment::empty();
    tree.write("dir/one", pattern(3_000_001))
        .write("dir/two", "two")
        .link("dir/link", "one");
    std::fs::create_dir(tree.join("empty")).unwrap();
    tree
}

// Rows 88, 97: what a guest adds has the CID that `ww add` gives it.
#[test]
fn what_a_guest_adds_is_what_ww_add_would_have_added() {
    let shelf = Shelf::new();
    let tree = tree();
    let hash = |args: &[&str], path: &std::path::Path| shelf.add(&[&["-n"], args].concat(), path);
    let (v1, v0) = (
        hash(&["-r"], tree.path()),
        hash(&["-r", "--cid-version", "0"], tree.path()),
    );
    assert!(v0.starts_with("Qm"), "{v0}");
    let tried = shelf.play(&["adding"]);

    assert_eq!(text(tried.ok("tree")), v1);
    assert_eq!(text(tried.ok("tree v0")), v0);
    assert_eq!(text(tried.ok("only hash")), v1);
    assert_eq!(text(tried.ok("tree by the SDK")), v1);
    let one = hash(&[], &tree.join("dir/one"));
    assert_eq!(text(tried.ok("lone file")), one);

    let half = Environment::empty();
    half.write("half", "half a file");
    refused(&tried, "unclosed", &["half", "not closed"]);
    refused(&tried, "the same path", &["half", "already"]);
    refused(&tried, "write after close", &["closed"]);
    refused(&tried, "read", &["writing only"]);
    assert_eq!(text(tried.ok("closed")), hash(&["-r"], half.path()));
    refused(&tried, "finish again", &["finished"]);
    refused(&tried, "file after finish", &["finished"]);

    let kept = Environment::empty();
    kept.write("kept", "kept");
    assert_eq!(text(tried.ok("given up")), hash(&["-r"], kept.path()));
    for path in ["../up", "/root", "a//b", "a/./b", "nul\0"] {
        tried.error(&format!("path {path}"));
    }
    tried.error("below a file");
    assert_eq!(tried.ok("files open"), 16);
    refused(&tried, "too many open", &["limit", "16", "close one"]);

    // It is in the store, and what was pinned stays; the rest may go.
    let pins = shelf.ww.run(["pin", "ls"]).ok().stdout();
    let hello = text(tried.ok("by the SDK"));
    assert!(
        pins.contains(hello) && pins.contains("kept by a guest"),
        "{pins}"
    );
    let cat = |path: &str| shelf.ww.run(["cat", "--offline", path]);
    assert_eq!(cat(&format!("{v0}/dir/two")).ok().stdout(), "two");
    assert_eq!(
        cat(&format!("{v1}/dir/one")).ok().stdout_bytes(),
        pattern(3_000_001)
    );
    shelf.ww.run(["gc"]).ok();
    assert_eq!(cat(hello).ok().stdout(), "hello");
    cat(&format!("{v1}/dir/two")).expect(1);
}

// Row 88.
#[test]
fn what_is_only_hashed_is_not_kept() {
    let shelf = Shelf::new();
    let tree = tree();
    let cid = shelf.add(&["-n"], &tree.join("dir/one"));
    shelf.ww.run(["cat", "--offline", &cid]).expect(1);
}

// Row 66: the example in examples/keep.
#[test]
fn the_example_keeps_what_it_reads() {
    let ww = crate::ww();
    let environment = Environment::new(fixtures::guests::KEEP);
    let run = |options: &[&str], args: &[&str]| {
        let options = [&["--offline"], options].concat();
        ww.guest_command_with(&options, &environment, args)
    };
    let mut keeping = fixtures::Running::start(&mut run(&["--grant", "ipfs"], &[]));
    keeping.type_line("hello");
    keeping.close_stdin();
    let path = keeping.stdout_line("/ipfs/");
    assert_eq!(keeping.code(), 0);
    let reads = ["--grant", "ipfs=ipfs,read-only"];
    let told = fixtures::finish(&mut run(&reads, &[&path])).ok();
    assert_eq!(told.stdout(), "hello\n");

    let tree = tree();
    let added = ww.run(["add", "-rQ", tree.path().to_str().unwrap()]).ok();
    let path = format!("/ipfs/{}/dir/", added.stdout().trim());
    let listed = fixtures::finish(&mut run(&reads, &[&path])).ok().stdout();
    let names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(names, ["\"link\"", "\"one\"", "\"two\""]);

    // What is missing is said, with what lifts it.
    let refused = fixtures::finish(&mut run(&[], &[&path])).expect(1).stderr();
    assert!(refused.contains("`ww run --grant ipfs`"), "{refused}");
}
