//! Data between codecs with the answers of the Go implementation, paths through blocks, and walks over
//! graphs that are large, deep, broken or hostile.
//!
//! The answers come from go-ipld-prime 0.23 and go-codec-dagpb 1.7, which Kubo 0.39 is built with. One
//! difference is meant: Go writes the number 1.0 in JSON as `1`, which is another number when it is read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use content::dag::{self, DagError, Limits};
use content::{Block, BlockStore, Cid, Codec, ContentError, IpfsPath, MemoryStore, import};

const LEAF: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
const V0: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn json_becomes_the_cbor_that_go_writes_and_comes_back() {
    let map =
        format!(r#"{{"bb":1,"a":[true,false,{{"/":"{LEAF}"}}],"c":{{"/":{{"bytes":"AQID/w"}}}}}}"#);
    let known = [
        ("{}", "a0"),
        ("[]", "80"),
        ("null", "f6"),
        ("-1", "20"),
        ("9223372036854775807", "1b7fffffffffffffff"),
        ("-9223372036854775808", "3b7fffffffffffffff"),
        ("1.0", "fb3ff0000000000000"),
        ("0.1", "fb3fb999999999999a"),
        ("1e+300", "fb7e37e43c8800759c"),
        ("1.5e-9", "fb3e19c511dc3a41df"),
        (r#""é<>&\u2028\u0001\"\\/""#, "6cc3a93c3e26e280a801225c2f"),
        (
            &map,
            "a3616183f5f4d82a58250001551220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8\
             55616344010203ff62626201",
        ),
    ];
    for (json, cbor) in known {
        let block = dag::convert(Codec::DagJson, json.as_bytes(), Codec::DagCbor).unwrap();
        assert_eq!(hex(block.bytes()), cbor, "{json}");
        let text = dag::to_json(&block).unwrap();
        let again = dag::convert(Codec::DagJson, text.as_bytes(), Codec::DagCbor).unwrap();
        assert_eq!(again, block, "{text}");
    }
    let sorted =
        format!(r#"{{"a":[true,false,{{"/":"{LEAF}"}}],"bb":1,"c":{{"/":{{"bytes":"AQID/w"}}}}}}"#);
    let block = dag::convert(Codec::DagJson, map.as_bytes(), Codec::DagJson).unwrap();
    assert_eq!(block.bytes(), sorted.as_bytes());
}

#[test]
fn a_dag_pb_node_is_written_as_go_writes_it_and_shown_as_kubo_shows_it() {
    let data = r#"{"/":{"bytes":"CAE"}}"#;
    let (a, b) = (
        format!(r#"{{"Hash":{{"/":"{LEAF}"}},"Name":"a","Tsize":0}}"#),
        format!(r#"{{"Hash":{{"/":"{V0}"}},"Name":"b","Tsize":4}}"#),
    );
    let bare = format!(r#"{{"Hash":{{"/":"{LEAF}"}}}}"#);
    let given = format!(r#"{{"Links":[{b},{a},{bare}],"Data":{data}}}"#);
    let block = dag::convert(Codec::DagJson, given.as_bytes(), Codec::DagPb).unwrap();
    let known = "bafybeignqaielcf6sg4h6to7n2xnav6ysix7zmplaj2wjaxpepybaypeu4";
    assert_eq!(block.cid().to_string(), known);
    let shown = format!(r#"{{"Data":{data},"Links":[{bare},{a},{b}]}}"#);
    assert_eq!(dag::to_json(&block).unwrap(), shown);
}

#[test]
fn raw_blocks_are_shown_as_bytes_and_made_from_bytes_alone() {
    let block = Block::new(Codec::Raw, &b"\x01\x02\x03\xff"[..]).unwrap();
    let text = r#"{"/":{"bytes":"AQID/w"}}"#;
    assert_eq!(dag::to_json(&block).unwrap(), text);
    assert_eq!(
        dag::convert(Codec::DagJson, text.as_bytes(), Codec::Raw).unwrap(),
        block
    );
}

#[test]
fn what_a_codec_has_no_form_for_is_refused() {
    let cases = [
        ("{}", Codec::Raw),
        ("{}", Codec::DagPb),
        (r#"{"Links":[],"Other":1}"#, Codec::DagPb),
        (r#"{"Links":[{"Name":"a"}]}"#, Codec::DagPb),
        (r#"{"Links":[],"Data":"text"}"#, Codec::DagPb),
    ];
    for (json, codec) in cases {
        let refused = dag::convert(Codec::DagJson, json.as_bytes(), codec);
        assert!(
            matches!(
                refused,
                Err(ContentError::Dag(DagError::NotExpressible { .. }))
            ),
            "{json}"
        );
    }
    for json in [
        "",
        "{",
        "1 2",
        r#"{"a":1,"a":2}"#,
        r#"{"/":"nope"}"#,
        r#"{"/":{"bytes":"?"}}"#,
    ] {
        let refused = dag::convert(Codec::DagJson, json.as_bytes(), Codec::DagCbor);
        assert!(
            matches!(
                refused,
                Err(ContentError::Dag(DagError::InputInvalid { .. }))
            ),
            "{json}"
        );
    }
    // {"/": "<CID>"} as data is no link and must not be shown as one.
    let text = [&b"\xa1\x61/\x78\x3b"[..], LEAF.as_bytes()].concat();
    let refused = dag::to_json(&Block::new(Codec::DagCbor, text).unwrap());
    assert!(matches!(
        refused,
        Err(ContentError::Dag(DagError::NotExpressible { .. }))
    ));
    let long = vec![b' '; dag::MAX_INPUT_BYTES + 1];
    let refused = dag::convert(Codec::DagJson, &long, Codec::DagCbor);
    assert!(matches!(
        refused,
        Err(ContentError::Dag(DagError::InputTooBig { .. }))
    ));
}

#[test]
fn a_block_that_would_grow_a_hundredfold_is_searched_for_links_but_not_taken_apart() {
    let mut bytes = vec![0x9a, 0, 0x10, 0, 0];
    bytes.resize(bytes.len() + (1 << 20), 0x80);
    let block = Block::new(Codec::DagCbor, bytes).unwrap();
    assert!(dag::links(&block).unwrap().is_empty());
    let refused = dag::to_json(&block);
    assert!(matches!(
        refused,
        Err(ContentError::Dag(DagError::Malformed { .. }))
    ));
}

fn put(store: &MemoryStore, codec: Codec, json: &str) -> Cid {
    let block = dag::convert(Codec::DagJson, json.as_bytes(), codec).unwrap();
    store.put(&block).unwrap();
    *block.cid()
}

fn link(cid: &Cid) -> String {
    format!(r#"{{"/":"{cid}"}}"#)
}

#[test]
fn paths_lead_through_keys_indexes_names_and_links() {
    let store = MemoryStore::default();
    let leaf = put(&store, Codec::Raw, r#"{"/":{"bytes":"AQ"}}"#);
    let folder = format!(
        r#"{{"Data":{{"/":{{"bytes":"CAE"}}}},"Links":[{{"Hash":{},"Name":"file","Tsize":1}}]}}"#,
        link(&leaf)
    );
    let folder = put(&store, Codec::DagPb, &folder);
    let inner = put(
        &store,
        Codec::DagJson,
        &format!(r#"{{"deep":[{{"x":7}},{}]}}"#, link(&folder)),
    );
    let root = put(
        &store,
        Codec::DagCbor,
        &format!(r#"{{"a":{{"b":[1,{}]}}}}"#, link(&inner)),
    );
    let at = |tail: &str| format!("/ipfs/{root}{tail}").parse::<IpfsPath>().unwrap();

    let cases: [(&str, Cid, &[&str]); 8] = [
        ("", root, &[]),
        ("/a", root, &["a"]),
        ("/a/b/0", root, &["a", "b", "0"]),
        ("/a/b/1", inner, &[]),
        ("/a/b/1/deep", inner, &["deep"]),
        ("/a/b/1/deep/0/x", inner, &["deep", "0", "x"]),
        ("/a/b/1/deep/1", folder, &[]),
        ("/a/b/1/deep/1/file", leaf, &[]),
    ];
    for (tail, cid, rest) in cases {
        let found = dag::resolve(&store, &at(tail)).unwrap();
        assert_eq!(found.cid, cid, "{tail}");
        assert_eq!(found.rest, rest, "{tail}");
    }
    assert_eq!(
        dag::get_json(&store, &at("/a/b/1/deep/0")).unwrap(),
        r#"{"x":7}"#
    );
    assert_eq!(
        dag::get_json(&store, &at("/a/b/1/deep/1/file")).unwrap(),
        r#"{"/":{"bytes":"AQ"}}"#
    );

    for tail in [
        "/b",
        "/a/b/2",
        "/a/b/01",
        "/a/b/-1",
        "/a/b/0/x",
        "/a/b/1/deep/1/Links",
        "/a/b/1/deep/1/Links/0/Hash",
        "/a/b/1/deep/1/file/x",
    ] {
        let refused = dag::resolve(&store, &at(tail));
        let last = tail.rsplit('/').next().unwrap();
        assert!(
            matches!(&refused, Err(ContentError::Dag(DagError::NotFound { name, .. })) if tail.contains(&**name)),
            "{tail} ({last}): {refused:?}"
        );
    }
}

#[test]
fn a_path_leads_through_a_sharded_directory_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("usr");
    std::fs::create_dir(&folder).unwrap();
    for n in 0..5000 {
        std::fs::write(folder.join(format!("{n:060}")), n.to_string()).unwrap();
    }
    let store = MemoryStore::default();
    let root = import::directory(&store, scratch.path(), &["usr"]).unwrap();
    let at = |name: &str| {
        format!("/ipfs/{root}/usr/{name}")
            .parse::<IpfsPath>()
            .unwrap()
    };
    let found = dag::resolve(&store, &at(&format!("{:060}", 4321))).unwrap();
    assert_eq!(found.cid, import::cid_of_file(b"4321").unwrap());
    for absent in ["4321", "00"] {
        let refused = dag::resolve(&store, &at(absent));
        assert!(matches!(
            refused,
            Err(ContentError::Dag(DagError::NotFound { .. }))
        ));
    }
}

fn visited(store: &MemoryStore, root: &Cid) -> Vec<Cid> {
    let mut seen = Vec::new();
    let walked = dag::walk(store, root, &Limits::default(), &mut |block| {
        seen.push(*block.cid());
        Ok(())
    })
    .unwrap();
    assert_eq!(walked.blocks, seen.len() as u64);
    seen
}

#[test]
fn each_block_is_visited_once_parents_first_links_in_order() {
    let store = MemoryStore::default();
    let one = put(&store, Codec::Raw, r#"{"/":{"bytes":"AQ"}}"#);
    let two = put(&store, Codec::Raw, r#"{"/":{"bytes":"Ag"}}"#);
    let inner = put(
        &store,
        Codec::DagCbor,
        &format!("[{},{}]", link(&two), link(&one)),
    );
    let root = put(
        &store,
        Codec::DagCbor,
        &format!("[{},{},{}]", link(&inner), link(&one), link(&inner)),
    );
    assert_eq!(visited(&store, &root), [root, inner, two, one]);
}

#[test]
fn a_graph_may_be_deeper_than_any_stack_and_wide_where_it_repeats() {
    let store = MemoryStore::default();
    let mut root = put(&store, Codec::Raw, r#"{"/":{"bytes":""}}"#);
    // Every level names the one below twice: 2^20,000 paths, 20,000 blocks.
    for _ in 0..20_000 {
        let pair = format!("[{},{}]", link(&root), link(&root));
        root = put(&store, Codec::DagCbor, &pair);
    }
    assert_eq!(visited(&store, &root).len(), 20_001);
}

#[test]
fn a_missing_block_is_named_and_limits_hold() {
    let store = MemoryStore::default();
    let gone: Cid = LEAF.parse().unwrap();
    let here = put(&store, Codec::Raw, r#"{"/":{"bytes":"AQ"}}"#);
    let root = put(
        &store,
        Codec::DagCbor,
        &format!("[{},{}]", link(&here), link(&gone)),
    );
    let walk = |blocks, bytes| dag::walk(&store, &root, &Limits { blocks, bytes }, &mut |_| Ok(()));
    assert!(matches!(walk(9, 900), Err(ContentError::BlockMissing { cid }) if cid == gone));
    assert!(matches!(
        walk(1, 900),
        Err(ContentError::Dag(DagError::TooManyBlocks { .. }))
    ));
    assert!(matches!(
        walk(9, 9),
        Err(ContentError::Dag(DagError::TooManyBytes { .. }))
    ));
}

#[test]
fn a_graph_of_links_to_nowhere_is_refused_before_it_fills_the_memory() {
    let store = MemoryStore::default();
    let mut root = put(&store, Codec::Raw, r#"{"/":{"bytes":""}}"#);
    // Each level holds 40,000 links that are never reached, behind the one to the next level.
    for level in 0..20_u8 {
        let mut links = vec![0x99, 0x9c, 0x41];
        let mut push = |cid: &Cid| {
            links.extend([0xd8, 0x2a, 0x58, 0x25, 0]);
            links.extend(cid.to_bytes());
        };
        push(&root);
        for n in 0..40_000_u32 {
            let mut cid = root.to_bytes();
            cid.truncate(4);
            cid[1] = 0x55;
            cid.extend([level; 28]);
            cid.extend(n.to_be_bytes());
            push(&Cid::try_from(cid).unwrap());
        }
        let block = Block::new(Codec::DagCbor, links).unwrap();
        store.put(&block).unwrap();
        root = *block.cid();
    }
    let refused = dag::walk(&store, &root, &Limits::default(), &mut |_| Ok(()));
    assert!(
        matches!(
            refused,
            Err(ContentError::Dag(DagError::TooManyLinks { .. }))
        ),
        "{refused:?}"
    );
}
