//! Blocks, values, nodes, and CARs.

use fixtures::Environment;
use serde_json::json;

use super::{Shelf, pattern, refused, text};

// Row 88: Block.
#[test]
fn blocks_are_put_read_and_removed_unless_something_keeps_them() {
    let shelf = Shelf::new();
    let tried = shelf.play(&["blocks"]);
    let cid = text(tried.ok("put"));
    let block = content::Block::new(content::Codec::Raw, &b"a block"[..]).unwrap();
    assert_eq!(cid, block.cid().to_string());
    assert_eq!(tried.ok("get"), "a block");
    assert_eq!(tried.ok("get bare"), "a block");
    assert_eq!(tried.ok("stat"), &json!({ "cid": cid, "bytes": 7 }));
    tried.ok("rm");
    refused(&tried, "stat removed", &[cid]);
    refused(&tried, "rm again", &[cid]);
    tried.error("rm nothing");
    tried.error("rm garbage");
    refused(&tried, "rm pinned", &["pin"]);
    assert_eq!(tried.ok("pinned"), "pinned");
    refused(&tried, "rm deep", &["pin"]);
    tried.ok("put dag-cbor");
    tried.ok("put dag-json");
    tried.ok("put dag-pb");
    refused(&tried, "put dag-xml", &["dag-xml", "dag-cbor"]);
    refused(&tried, "put 3 MiB", &["limit"]);
}

// Row 88: Dag.
#[test]
fn values_are_kept_in_one_codec_given_in_another_and_paths_lead_into_them() {
    let shelf = Shelf::new();
    let tried = shelf.play(&["values"]);
    let root = text(tried.ok("put"));
    assert!(root.starts_with("bafyrei"), "{root}");
    let whole = tried.ok("get ");
    assert_eq!(&whole["data"], tried.ok("text"));
    assert_eq!(whole["cid"], root);
    assert_eq!(
        tried.ok("get /a/2/b"),
        &json!({ "data": "true", "cid": root })
    );
    assert_eq!(
        tried.ok("resolve /a/2/b"),
        &json!({ "cid": root, "rest": "a/2/b" })
    );
    let found = tried.ok("get /inner/deep/1/x");
    assert_eq!(found["data"], "\"found\"");
    assert_ne!(found["cid"], root);
    let resolved = json!({ "cid": found["cid"], "rest": "deep/1/x" });
    assert_eq!(tried.ok("resolve /inner/deep/1/x"), &resolved);
    tried.error("get /a/7");
    assert_eq!(tried.ok("resolve /file")["rest"], "");
    // One byte of CBOR.
    assert_eq!(tried.ok("get as cbor")["data"], "\u{1}");
    refused(&tried, "get as raw", &["dag-json or dag-cbor"]);
    refused(&tried, "get long", &["a message of", "8388608"]);
    tried.ok("get after long");
    tried.error("put broken");
    assert!(text(tried.ok("put as dag-json")).starts_with("baguqee"));
}

// Row 88: Object.
#[test]
fn nodes_are_patched_and_each_patch_is_a_new_one() {
    let tried = Shelf::new().play(&["objects"]);
    let put = tried.ok("put");
    assert_eq!(put["data"], "data");
    let link = &put["links"][0];
    assert_eq!((&link[0], &link[1]), (&json!("first"), &json!(7)));
    let both = tried.ok("addLink");
    assert_eq!(both["links"], json!([link, ["second", 7, link[2]]]));
    let removed = &tried.ok("rmLink first")["links"];
    assert_eq!(removed, &json!([["second", 7, link[2]]]));
    refused(&tried, "rmLink third", &["third", "not found"]);
    assert_eq!(tried.ok("setData")["data"], "other");
    assert_eq!(tried.ok("appendData")["data"], "other data");
    assert_eq!(tried.ok("appendData")["links"], put["links"]);
    assert_eq!(tried.ok("unchanged"), put);
    tried.error("get raw");
    assert_eq!(tried.ok("linked"), "a child");
}

// Row 88: Dag.export.
#[test]
fn an_exported_car_is_that_of_ww_car_export() {
    let shelf = Shelf::new();
    let tree = Environment::empty();
    tree.write("a/big", pattern(2_500_000)).write("b", "b");
    let root = shelf.add(&["-r"], tree.path());
    let exported = shelf.run(&["export", &root]);
    let car = shelf.ww.run(["car", "export", "--offline", &root]).ok();
    assert!(exported.stdout_bytes() == car.stdout_bytes());
    shelf.run(&["export", &format!("/ipfs/{root}/a")]);
}

// Row 88: Dag.import.
#[test]
fn a_car_that_a_guest_serves_is_imported_if_it_is_whole_and_good() {
    let source = Shelf::new();
    let tree = Environment::empty();
    tree.write("file", pattern(3_000_001));
    let cid = source.add(&[], &tree.join("file"));
    let car = source.ww.run(["car", "export", "--offline", &cid]).ok();

    let shelf = Shelf::new();
    shelf.environment.write("etc/whole.car", car.stdout_bytes());
    let tried = shelf.play(&["import", &cid]);
    refused(&tried, "cut", &["import", "cut off after 6 whole blocks"]);
    refused(&tried, "torn", &["import", "the tape tore"]);
    refused(&tried, "corrupted", &["import", "corrupt"]);
    refused(&tried, "corrupted and stalled", &["import", "corrupt"]);
    tried.error("no CAR");
    tried.error("nothing");
    tried.error("not kept");
    // Twelve chunks and their root.
    let whole = json!({ "roots": [cid], "blocks": 13 });
    assert_eq!(tried.ok("whole"), &whole);
    assert_eq!(tried.ok("kept"), 3_000_001);
    let pins = shelf.ww.run(["pin", "ls"]).ok().stdout();
    assert!(pins.contains("imported"), "{pins}");

    let poor = Shelf::new().limit("content=2MiB");
    poor.environment.write("etc/whole.car", car.stdout_bytes());
    let tried = poor.play(&["import", &cid]);
    refused(&tried, "whole", &["import", "limit: content: "]);
    tried.error("kept");
}
