//! CIDs that the Go implementation gives, for content that is made here.
//!
//! The answers come from boxo 0.39, the library that Kubo adds with (`importer/balanced`, `unixfs/io`,
//! 256 KiB chunks, 174 links, raw leaves, CIDv1). The program that asked it was itself checked against
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

use content::{EmbeddedStore, MemoryStore, directory, export, import};

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
