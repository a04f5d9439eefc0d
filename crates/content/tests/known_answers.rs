//! CIDs that the Go implementation gives, for content that is made here.
//!
//! The answers come from boxo 0.39, the library that Kubo adds with (`importer/balanced`, `unixfs/io`,
//! 256 KiB chunks, 174 links; CIDv1 with raw leaves, CIDv0 without): `answers/answers.go` makes the same
//! content and prints them, and says how to run it. A program like it was itself checked against
//! Kubo 0.22, run as a whole: both gave the same CIDs for the same files in CIDv0, where Kubo's library
//! build has no other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::Path;

use content::import::{DryRun, Options};
use content::tree::{LocalTree, Node};
use content::{Cid, CidVersion, EmbeddedStore, MemoryStore, directory, export, import};

const CHUNK: usize = 256 * 1024;
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Bytes of xorshift64, little-endian, from [`SEED`].
fn pattern(bytes: usize) -> Vec<u8> {
    let mut state = SEED;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

#[test]
fn files_have_kubos_cids() {
    let all = pattern(45 * 1024 * 1024);
    let known = [
        (
            0,
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        ),
        (
            CHUNK,
            "bafkreidemtpffvxst7k3g26s3az3rhzz6jbsqfctdys3e3hyedvd2kzdcy",
        ),
        (
            CHUNK + 1,
            "bafybeihuvmmuxpnginsztsbeifrs6xb4mjkosxmyvrd3ud6h33evi7iqx4",
        ),
        (
            2 * CHUNK,
            "bafybeiak5gsuzjqw4t5zyikpdeyp2o6ntiqmcpjptbrvuyitokgmhw5qpq",
        ),
        (
            174 * CHUNK,
            "bafybeie6ljkwmvsffq5e3ottyzwzkloha5qwqu3e6wi6scw53esjy423dy",
        ),
        (
            174 * CHUNK + 1,
            "bafybeigspejv3cz7pe6wczxb6ivnmjtxynuc67j4a2d4hy2hyajkhahc7a",
        ),
        (
            45 * 1024 * 1024,
            "bafybeiecib6aehc2b3ennqpzzs4m5p7mceojpsc4gsp7l5lg3m2472hs2u",
        ),
    ];
    for (bytes, expected) in known {
        let store = MemoryStore::default();
        let cid = import::stream(&store, &mut Cursor::new(&all[..bytes])).unwrap();
        assert_eq!(cid.to_string(), expected, "{bytes} bytes");
        assert_eq!(import::cid_of_file(&all[..bytes]).unwrap(), cid);
        let mut back = Vec::new();
        assert_eq!(export::file(&store, &cid, &mut back).unwrap(), bytes as u64);
        assert!(back == all[..bytes], "{bytes} bytes come back");
    }
}

#[test]
fn a_small_file_has_kubos_cid() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("hello");
    fs::write(&path, "hello world\n").unwrap();
    let cid = import::file(&MemoryStore::default(), &path).unwrap();
    let known = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
    assert_eq!(cid.to_string(), known);
}

fn make_tree(root: &Path) {
    for directory in ["boot", "usr/share/deep/er", "var", "etc/naïve"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (path, bytes) in [
        ("boot/main.wasm", &b"\0asm\x0d\0\x01\0"[..]),
        ("usr/share/a.txt", b"a\n"),
        ("usr/share/a", b"just a\n"),
        ("usr/share/a-b", b""),
        ("usr/share/deep/er/big", &pattern(3 * CHUNK + 7)),
        ("etc/naïve/日本語.txt", "こんにちは\n".as_bytes()),
        ("etc/naïve/🦀", b"crab\n"),
        ("etc/.hidden", b"h\n"),
    ] {
        fs::write(root.join(path), bytes).unwrap();
    }
    symlink("../usr/share/a.txt", root.join("etc/link")).unwrap();
}

const TREE: &str = "bafybeihho6ywyxoim62qfcdjvnur3uxehn5iodxrk5jhgdeyiulpaxqwq4";
const FHS: [&str; 5] = ["boot", "bin", "etc", "usr", "var"];

#[test]
fn files_have_kubos_old_cids() {
    let all = pattern(45 * 1024 * 1024);
    let known = [
        (0, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
        (1, "QmYgeDNcNoWGunNmxb2do8E5oMALcrxnzxCWLpzrWeBjZ4"),
        (CHUNK, "QmXQ4ZkKirB2Zb6wHWAcnJCH8SYMhFX8VJti8DDSbecW6w"),
        (CHUNK + 1, "QmXvgfEzy3p9r74AY3dfHgymaRquR6BCDCLAXk7vkHN326"),
        (
            174 * CHUNK + 1,
            "QmPyjYkDZjhKDbNwg2keGwG1LHLbAkLi8ZvrUoNuMsQiAW",
        ),
        (
            45 * 1024 * 1024,
            "QmdaFVRdUDv15mMzGAWC56b7aQPCSPnJzcFWpjHK4mQB5c",
        ),
    ];
    for (bytes, expected) in known {
        let store = MemoryStore::default();
        let cid = import::stream_with(&store, &mut &all[..bytes], v0()).unwrap();
        assert_eq!(cid.to_string(), expected, "{bytes} bytes");
        let mut back = Vec::new();
        assert_eq!(export::file(&store, &cid, &mut back).unwrap(), bytes as u64);
        assert!(back == all[..bytes], "{bytes} bytes come back");
    }
}

fn v0() -> Options<'static> {
    Options {
        cid_version: CidVersion::V0,
        ..Options::default()
    }
}

#[test]
fn a_tree_with_links_unicode_and_hidden_names_has_kubos_cid() {
    let scratch = tempfile::tempdir().unwrap();
    make_tree(scratch.path());
    let store = MemoryStore::default();
    let cid = import::directory(&store, scratch.path(), &FHS).unwrap();
    assert_eq!(cid.to_string(), TREE);
    let big = directory::resolve(&store, &cid, &["usr", "share", "deep", "er", "big"]).unwrap();
    assert_eq!(
        big.to_string(),
        "bafybeidls24lv6j6b7iktfmqr63l73us3gbiuihitffckxk42j76ck3lci"
    );
    let link = directory::resolve(&store, &cid, &["etc", "link"]).unwrap();
    assert_eq!(
        link.to_string(),
        "bafybeia34w5nh2c7qncmkjiv463zcu5isojitnjuutkpspt4hc23eqe5cu"
    );
}

#[test]
fn what_lies_beside_the_named_directories_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    make_tree(scratch.path());
    fs::write(scratch.path().join(".env"), "KEY=secret").unwrap();
    fs::create_dir(scratch.path().join("target")).unwrap();
    let store = MemoryStore::default();
    let cid = import::directory(&store, scratch.path(), &FHS).unwrap();
    assert_eq!(cid.to_string(), TREE);
}

#[test]
fn an_empty_tree_is_the_empty_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let cid = import::directory(&MemoryStore::default(), scratch.path(), &FHS).unwrap();
    let known = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
    assert_eq!(cid.to_string(), known);
}

#[test]
fn a_tree_published_into_the_embedded_store_is_read_back_by_another_process_object() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, out) = (scratch.path().join("source"), scratch.path().join("out"));
    fs::create_dir(&source).unwrap();
    make_tree(&source);
    let place = scratch.path().join("store");
    let cid = import::directory(&EmbeddedStore::open(&place).unwrap(), &source, &FHS).unwrap();
    export::to_directory(&EmbeddedStore::open(&place).unwrap(), &cid, &out).unwrap();
    let again = import::directory(&MemoryStore::default(), &out, &FHS).unwrap();
    assert_eq!(again, cid);
    assert_eq!(
        fs::read_link(out.join("etc/link")).unwrap(),
        Path::new("../usr/share/a.txt")
    );
}

#[test]
fn a_tree_in_version_0_has_kubos_old_cid_and_comes_back() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, out) = (scratch.path().join("source"), scratch.path().join("out"));
    fs::create_dir(&source).unwrap();
    make_tree(&source);
    let local = LocalTree::open(&source, &FHS).unwrap();
    let store = MemoryStore::default();
    let cid = import::local_tree_with(&store, &local, v0()).unwrap();
    let known = "QmY4RmpAF5zfPWk6a5rNRWaTkbBRndHp4XCuCjHxfwUZpS";
    assert_eq!(cid.to_string(), known);
    export::to_directory(&store, &cid, &out).unwrap();
    let again = import::directory(&MemoryStore::default(), &out, &FHS).unwrap();
    assert_eq!(again.to_string(), TREE);
}

/// A tree of one directory with these files.
fn listed(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> (tempfile::TempDir, LocalTree) {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("usr")).unwrap();
    for (name, content) in files {
        fs::write(scratch.path().join("usr").join(name), content).unwrap();
    }
    let local = LocalTree::open(scratch.path(), &["usr"]).unwrap();
    (scratch, local)
}

/// Empty files whose names and CIDs come to `over` bytes more than 256 KiB: 64 bytes an entry.
fn crowded(cid_bytes: usize, over: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    let name_bytes = 64 - cid_bytes;
    (0..4095)
        .map(move |n| format!("f{n:00$}", name_bytes - 1))
        .chain(["z".repeat(name_bytes + over)])
        .map(|name| (name, Vec::new()))
}

fn numbered(
    count: usize,
    name: impl Fn(usize) -> String,
) -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..count).map(move |n| (name(n), format!("{n}\n").into_bytes()))
}

/// Adds the tree in both versions, and checks that everything in it is found again, by listing and by
/// name.
fn added(local: &LocalTree) -> [String; 2] {
    [CidVersion::V0, CidVersion::V1].map(|cid_version| {
        let options = || Options {
            cid_version,
            ..Options::default()
        };
        let store = MemoryStore::default();
        let root = import::local_tree_with(&store, local, options()).unwrap();
        assert_eq!(
            import::local_tree_with(&DryRun, local, options()).unwrap(),
            root
        );
        let usr = directory::resolve(&store, &root, &["usr"]).unwrap();
        let entries = directory::list(&store, &usr).unwrap();
        let names: Vec<_> = local
            .tree()
            .iter()
            .filter_map(|(path, node)| Some((path.as_str().strip_prefix("usr/")?, node)))
            .filter(|(name, _)| !name.contains('/'))
            .collect();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), &entry.node))
            .collect();
        assert!(names == found);
        for entry in entries.iter().step_by(97) {
            let cid: Cid = directory::resolve(&store, &root, &["usr", &entry.name]).unwrap();
            assert_eq!(cid, entry.cid);
        }
        assert!(directory::resolve(&store, &root, &["usr", "not there"]).is_err());
        root.to_string()
    })
}

#[test]
fn directories_are_sharded_where_kubo_begins_to() {
    let answers = [
        (
            0,
            [
                "QmUajx6ZzK3ga3hoJFTASSxJMfc91JH1zwtAwdqCjUhTX8",
                "bafybeibf3wjykypvgbknm4alezxbs4d3ulost5z4jer3hleuszdj6rvxay",
            ],
        ),
        (
            1,
            [
                "QmeBTsNBfnSk1szHTAccsHe8jCbVyPRn3CiF6TE5c5PZkT",
                "bafybeidy76glmvgcaynmeqca2dnuwtt5xwzlcgpemapyqk4dmcub5hsmve",
            ],
        ),
    ];
    for (over, [v0, v1]) in answers {
        let (_scratch, local) = listed(crowded(34, over));
        assert_eq!(added(&local)[0], v0, "{over} over, version 0");
        let (_scratch, local) = listed(crowded(36, over));
        assert_eq!(added(&local)[1], v1, "{over} over, version 1");
    }
}

#[test]
fn ten_thousand_entries_have_kubos_cids() {
    let (_scratch, local) = listed(numbered(10_000, |n| format!("entry-{n:05}")));
    let known = [
        "QmYuB8j49C4NVxMfsgfw6raJj8nvLbKvvaHbzCPTkez48Q",
        "bafybeibzqxakmlwi4ycskb2eo6deja6v32m4dfuizw54bigmuj5sbodgse",
    ];
    assert_eq!(added(&local), known);
}

#[test]
fn sharded_unicode_names_have_kubos_cids() {
    let (_scratch, local) = listed(numbered(5000, |n| format!("{n:04} é日本語🦀")));
    let known = [
        "QmWyksU7hgPTenUSXZyygS9Qi5fmzQNBbsvPHwEGTSX3vc",
        "bafybeig4yt6sbqjx6oq3fnqfb26izq4bshmctdouqszkwvuy5qu4rhd4cm",
    ];
    assert_eq!(added(&local), known);
}

/// The hashes of these pairs share their first three, four and five bytes.
const COLLIDING: [&str; 6] = [
    "collide-3228810",
    "collide-2412819",
    "collide-1466716",
    "collide-2773160",
    "collide-2088384",
    "collide-3075755",
];

#[test]
fn names_that_collide_several_levels_deep_have_kubos_cids() {
    let colliding = COLLIDING.map(|name| (name.to_owned(), name.as_bytes().to_vec()));
    let filler = (0..4095).map(|n| (format!("f{n:027}"), Vec::new()));
    let (scratch, _) = listed(filler.chain(colliding));
    // A sharded directory in a sharded directory.
    let inner = scratch.path().join("usr/inner/usr");
    fs::create_dir_all(&inner).unwrap();
    for (name, content) in numbered(10_000, |n| format!("entry-{n:05}")) {
        fs::write(inner.join(name), content).unwrap();
    }
    let local = LocalTree::open(scratch.path(), &["usr"]).unwrap();
    let known = [
        "QmZHdimSe7JpC3RRpPspnXNdWKgKuVhDJKENLKN125qNsu",
        "bafybeido5b3thrpqtlaj3t24ne264cjgn6xj54cloncj6epxfjc4a5kwfi",
    ];
    assert_eq!(added(&local), known);
    let store = MemoryStore::default();
    let root = import::local_tree(&store, &local).unwrap();
    for name in COLLIDING {
        let cid = directory::resolve(&store, &root, &["usr", name]).unwrap();
        assert_eq!(
            directory::stat(&store, &cid).unwrap(),
            Node::File {
                bytes: name.len() as u64
            }
        );
    }
}
