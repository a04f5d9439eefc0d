//! Reading files and directories.

use std::collections::BTreeMap;
use std::fs;

use fixtures::{Environment, guests};
use serde_json::json;

use crate::peers::parts;

use super::{NOBODYS, Shelf, pattern, refused, text};

const BIG: u64 = 3 * 1024 * 1024 + 17;

/// Entries of the large directories.
const MANY: usize = 5000;

// Rows 88, 89, 90: UnixFS, against the embedded store.
#[test]
pub fn a_guest_reads_what_was_added_in_any_pieces_and_pages() {
    let shelf = Shelf::new();
    let tree = Environment::empty();
    tree.write("small", "hello").write("big", pattern(BIG));
    tree.link("link", "big");
    for directory in ["many", "sharded"] {
        fs::create_dir(tree.join(directory)).unwrap();
    }
    // The longer names make it too large for one block.
    let long = "n".repeat(60);
    for number in 0..MANY {
        fs::write(tree.join(&format!("many/{number:04}")), "x").unwrap();
        fs::write(tree.join(&format!("sharded/{number:04}{long}")), "x").unwrap();
    }
    let root = shelf.add(&["-r"], tree.path());
    let path = format!("/ipfs/{root}");
    let tried = shelf.play(&["files", &path]);

    assert_eq!(tried.ok("cat"), "hello");
    refused(&tried, "cat big", &["1048576", &BIG.to_string(), "get()"]);
    refused(&tried, "cat many", &["not a file"]);
    refused(&tried, "cat nothing", &["nothing", "not found", &root]);
    refused(&tried, "cat no path", &["cat: ", "not a CID"]);

    // As `ww ls` tells it, whose CIDs are text; those of the guest came in their binary form.
    let listed = shelf.ww.run(["ls", "--offline", &root]).ok().stdout();
    let cids: BTreeMap<&str, &str> = listed
        .lines()
        .map(|line| {
            let (cid, rest) = line.split_once(' ').unwrap();
            (rest.split_once(' ').unwrap().1.trim_end_matches('/'), cid)
        })
        .collect();
    for (name, kind, size) in [
        ("small", "file", 5),
        ("big", "file", BIG),
        ("link", "symlink", 3),
        ("many", "directory", 0),
    ] {
        let stat = tried.ok(&format!("stat {name}"));
        assert_eq!(stat["type"], kind);
        assert_eq!(stat["size"], size, "{name}");
        assert_eq!(stat["cid"], cids[name]);
    }
    assert_eq!(tried.ok("stat big")["blocks"], 13);
    assert!(tried.ok("stat big")["dag_bytes"].as_u64().unwrap() > BIG);
    assert_eq!(tried.ok("stat many")["blocks"], MANY);

    assert_eq!(tried.ok("whole"), BIG);
    assert_eq!(tried.ok("from an offset"), BIG - 1_000_003);
    assert_eq!(tried.ok("a part"), 524_290);
    assert_eq!(tried.ok("past the end"), 0);
    refused(&tried, "entries of a file", &["not a directory"]);
    refused(&tried, "target of a file", &["not a symbolic link"]);
    assert_eq!(tried.ok("target"), "big");
    refused(&tried, "read a link", &["not a file"]);

    for (name, last) in [
        ("many", "4999".to_owned()),
        ("sharded", format!("4999{long}")),
    ] {
        let pages = tried.ok(&format!("pages {name}"));
        assert_eq!(pages["count"], MANY, "{name}");
        assert_eq!(pages["pages"], 7);
        assert_eq!(pages["last"], last);
        assert_eq!(pages["first"]["size"], 1);
        refused(&tried, &format!("all {name}"), &["5000", "4096", "`after`"]);
        refused(&tried, &format!("too many {name}"), &["4097", "4096"]);
        let behind = json!({ "count": 0, "more": false });
        assert_eq!(tried.ok(&format!("behind {name}")), &behind);
        let first = &tried.ok(&format!("ls {name}"))[0];
        assert_eq!(first, &pages["first"]);
        assert_eq!(tried.ok(&format!("list {name}")), MANY);
    }
    assert_eq!(tried.ok("child"), "hello");
    refused(&tried, "child elsewhere", &["../small"]);

    assert_eq!(tried.ok("read_at"), 4000);
    assert_eq!(tried.ok("read_at nothing"), 0);
    refused(&tried, "read too much", &["1000"]);

    let small = tried.ok(&format!("resolveNode {path}/small"));
    assert_eq!(text(small), cids["small"]);
    let resolved = tried.ok(&format!("resolvePath {path}/small"));
    assert_eq!(text(resolved), format!("{path}/small"));
    refused(&tried, &format!("resolveNode {path}/nothing"), &["nothing"]);
    for call in ["resolveNode", "resolvePath"] {
        refused(
            &tried,
            &format!("{call} /etc/passwd"),
            &[call, "/ipfs/<CID>"],
        );
    }
}

// Row 89: against Kubo, which has what this node has not.
#[test]
fn a_guest_reads_what_only_kubo_has() {
    let Some(kubo) = parts::kubo_url() else {
        return;
    };
    let tree = Environment::new(guests::PLAIN);
    tree.write("etc/small", "hello")
        .write("etc/big", pattern(BIG))
        .write("etc/many/0", "x")
        .write("etc/many/1", "yz");
    let publisher = crate::ww();
    let folder = tree.path().to_str().unwrap();
    let mut push = publisher.command(["push", "--ipfs-url", &kubo, folder]);
    let pushed = fixtures::finish(push.env_remove("WW_OFFLINE"));
    let path = format!("/ipfs/{}/etc", pushed.ok().stdout().trim());

    let shelf = Shelf::new();
    let run = |source: &[&str]| {
        let options = [&["--grant", "ipfs=ipfs,read-only"], source].concat();
        let words = ["look", &path];
        let mut command = shelf
            .ww
            .guest_command_with(&options, &shelf.environment, &words);
        crate::Attempts::of(
            &fixtures::finish(command.env_remove("WW_OFFLINE"))
                .ok()
                .stdout(),
        )
    };
    refused(&run(&["--offline"]), "cat", &["block", "not in this store"]);
    // Then it is here, and nobody has to be asked.
    for source in [&["--ipfs-url", &kubo][..], &["--offline"]] {
        let tried = run(source);
        assert_eq!(tried.ok("cat"), "hello");
        let listed = tried.ok("ls").as_array().unwrap();
        let told: Vec<_> = listed
            .iter()
            .map(|entry| (&entry["name"], &entry["size"]))
            .collect();
        assert_eq!(told, [(&json!("0"), &json!(1)), (&json!("1"), &json!(2))]);
        assert_eq!(tried.ok("whole"), BIG);
    }
}

// Row 88: what nobody has is an error at once, not a wait.
#[test]
fn what_is_not_there_is_an_error() {
    let told = Shelf::new().play(&["follow", NOBODYS]);
    refused(&told, "end", &[NOBODYS]);
    assert_eq!(told.ok("bytes"), 0);
}

/// Begins to read a file of eight mebibytes, breaks it near its end by what is done to the file of a block, and reads on.
#[track_caller]
fn broken_while_it_is_read(harm: impl Fn(&std::path::Path)) -> (crate::Attempts, String) {
    const BYTES: u64 = 8 << 20;
    const CHUNK: usize = 256 * 1024;
    let shelf = Shelf::new();
    let tree = Environment::empty();
    let data = pattern(BYTES);
    tree.write("file", &data);
    let cid = shelf.add(&[], &tree.join("file"));
    let mut running = shelf.start(&["follow", &cid]);
    running.stdout_line("begun");
    let chunk = &data[20 * CHUNK..21 * CHUNK];
    harm(&shelf.block(chunk));
    running.type_line("");
    let rest = running.rest_of_stdout().join("\n");
    assert_eq!(running.code(), 0);
    let tried = crate::Attempts::of(&rest);
    assert_eq!(tried.ok("bytes"), 20 * CHUNK);
    let leaf = content::Block::new(content::Codec::Raw, chunk.to_vec()).unwrap();
    (tried, leaf.cid().to_string())
}

#[test]
fn a_block_that_is_corrupted_under_a_reader_is_an_error_and_never_a_wrong_byte() {
    let (tried, leaf) = broken_while_it_is_read(|file| {
        let mut bytes = fs::read(file).unwrap();
        bytes[1000] ^= 1;
        fs::remove_file(file).unwrap();
        fs::write(file, bytes).unwrap();
    });
    refused(&tried, "end", &["corrupt", &leaf]);
    refused(&tried, "again", &["corrupt", &leaf]);
}

#[test]
fn a_block_that_goes_under_a_reader_is_an_error() {
    let (tried, leaf) = broken_while_it_is_read(|file| fs::remove_file(file).unwrap());
    refused(&tried, "end", &[&leaf]);
    refused(&tried, "again", &[&leaf]);
}

#[test]
fn a_block_that_is_cut_short_under_a_reader_is_an_error() {
    let (tried, leaf) = broken_while_it_is_read(|file| {
        let bytes = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        fs::write(file, &bytes[..1000]).unwrap();
    });
    refused(&tried, "end", &[&leaf]);
}
