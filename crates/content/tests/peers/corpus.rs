//! Trees that are awkward to name.

use std::fs;
use std::path::{Path, PathBuf};

use content::import::{self, Options};
use content::tree::LocalTree;
use content::{Cid, CidVersion, MemoryStore, directory};

pub const CHUNK: usize = 256 * 1024;

/// Where Kubo begins to shard: the names and CIDs of a directory, in bytes.
const SHARDED_BEYOND: usize = 256 * 1024;

/// What js-ipfs cannot be given: it takes a backslash for a slash.
pub const BACKSLASH: &str = "backslash";

/// The largest directory.
pub const TEN_THOUSAND: &str = "ten-thousand";

/// A file or directory of the corpus.
#[derive(Clone, Debug)]
pub struct Item {
    pub name: &'static str,
    pub path: PathBuf,
}

/// Bytes that do not repeat from chunk to chunk.
pub fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(count + 8);
    while out.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(count);
    out
}

/// Makes all of it below `scratch`, but for the directories that are about sharding.
pub fn make(scratch: &Path) -> Vec<Item> {
    let file = |name: &'static str, content: &[u8]| {
        let path = scratch.join(name);
        fs::write(&path, content).unwrap();
        Item { name, path }
    };
    let directory = |name: &'static str| {
        let path = scratch.join(name);
        fs::create_dir(&path).unwrap();
        Item { name, path }
    };
    let mut items = vec![
        file("empty-file", b""),
        file("one-byte", b"x"),
        file("one-chunk", &bytes(CHUNK, 1)),
        file("one-chunk-and-a-byte", &bytes(CHUNK + 1, 2)),
        file("as-many-chunks-as-links", &bytes(174 * CHUNK, 3)),
        file("one-chunk-more-than-links", &bytes(174 * CHUNK + 1, 4)),
    ];
    items.push(directory("empty-directory"));

    let small = directory("small");
    fs::write(small.path.join("a"), b"a").unwrap();
    fs::write(small.path.join("b"), bytes(CHUNK + 7, 5)).unwrap();
    fs::create_dir(small.path.join("empty")).unwrap();
    fs::write(small.path.join("empty-too"), b"").unwrap();
    items.push(small);

    let deep = directory("deep");
    let mut path = deep.path.clone();
    for level in 0..50 {
        path.push(format!("{level}"));
        fs::create_dir(&path).unwrap();
    }
    fs::write(path.join("bottom"), b"bottom").unwrap();
    items.push(deep);

    let unicode = directory("unicode");
    for name in [
        "ü",
        "u\u{308}",
        "日本語",
        "🦀",
        "Z",
        "a b",
        "a&b=c?d#e%20f+g",
        "quote\"'",
        "new\nline",
        "-dash",
        "~",
        "é.txt",
    ] {
        fs::write(unicode.path.join(name), name).unwrap();
    }
    fs::create_dir(unicode.path.join("Ω")).unwrap();
    fs::write(unicode.path.join("Ω/ω"), "ω").unwrap();
    items.push(unicode);

    let backslash = directory(BACKSLASH);
    fs::write(backslash.path.join("back\\slash"), b"\\").unwrap();
    items.push(backslash);
    items
}

/// A directory of 10,000 entries, which is sharded.
pub fn ten_thousand(scratch: &Path) -> Item {
    let item = Item {
        name: TEN_THOUSAND,
        path: scratch.join(TEN_THOUSAND),
    };
    fs::create_dir(&item.path).unwrap();
    for number in 0..10_000 {
        fs::write(
            item.path.join(format!("entry-{number}")),
            format!("{number}"),
        )
        .unwrap();
    }
    item
}

/// A directory whose names and CIDs, of `cid_bytes` each, come to `over` bytes more (or fewer) than what
/// fits into one node.
pub fn at_threshold(scratch: &Path, name: &'static str, cid_bytes: usize, over: isize) -> Item {
    let item = Item {
        name,
        path: scratch.join(name),
    };
    fs::create_dir(&item.path).unwrap();
    let each = "12345".len() + cid_bytes;
    let bytes = SHARDED_BEYOND.strict_add_signed(over);
    for number in 0..bytes / each {
        let rest = if number == 0 { bytes % each } else { 0 };
        let name = format!("{number:05}{}", "x".repeat(rest));
        fs::write(item.path.join(name), b"x").unwrap();
    }
    item
}

/// Imports an item as we do.
pub fn import(store: &MemoryStore, item: &Item, version: CidVersion) -> Cid {
    let options = Options {
        cid_version: version,
        ..Options::default()
    };
    if item.path.is_file() {
        return import::file_with(store, &item.path, options).unwrap();
    }
    // A tree is named together with the directory that it is in.
    let parent = LocalTree::open(item.path.parent().unwrap(), &[item.name]).unwrap();
    let parent = import::local_tree_with(store, &parent, options).unwrap();
    let entries = directory::list(store, &parent).unwrap();
    entries
        .iter()
        .find(|entry| entry.name == item.name)
        .unwrap()
        .cid
}

/// Every path below `top`, with the content of files.
pub fn listing(top: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(path) = waiting.pop() {
        let name = path.strip_prefix(top).unwrap().to_owned();
        if path.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            found.push((name, None));
        } else {
            found.push((name, Some(fs::read(&path).unwrap())));
        }
    }
    found.sort();
    found
}
