//! The same tree has the same name with everybody.

use std::path::Path;

use content::{Cid, CidVersion, MemoryStore};

use crate::corpus::{self, Item};
use crate::{exchange, parts};

fn assert_same(item: &Item, version: CidVersion, theirs: Cid) {
    let ours = corpus::import(&MemoryStore::default(), item, version);
    assert_eq!(ours, theirs, "{} as {version:?}", item.name);
}

/// The corpus, and directories of the largest size that is not sharded and the smallest that is.
fn with_large_directories(scratch: &Path, cid_bytes: usize, largest: isize) -> Vec<Item> {
    let mut items = corpus::make(scratch);
    items.push(corpus::ten_thousand(scratch));
    for (name, over) in [("largest-plain", largest), ("smallest-sharded", 1)] {
        items.push(corpus::at_threshold(scratch, name, cid_bytes, over));
    }
    items
}

#[test]
fn boxo_gives_the_same_names_in_both_versions() {
    let Some(boxo) = parts::boxo_url() else {
        return;
    };
    for (version, cid_bytes) in [(CidVersion::V1, 36), (CidVersion::V0, 34)] {
        let scratch = tempfile::tempdir().unwrap();
        for item in with_large_directories(scratch.path(), cid_bytes, 0) {
            assert_same(&item, version, exchange::boxo_add(&boxo, &item, version));
        }
    }
}

#[test]
fn kubos_own_importer_gives_the_same_names() {
    let scratch = tempfile::tempdir().unwrap();
    // This Kubo (0.22) sharded a directory of exactly the threshold too; today's does not.
    let items = with_large_directories(scratch.path(), 34, -1);
    let paths: Vec<_> = items.iter().map(|item| item.path.as_path()).collect();
    let Some(theirs) = parts::kubo_library(&paths) else {
        return;
    };
    for (item, theirs) in items.iter().zip(theirs) {
        assert_same(item, CidVersion::V0, theirs);
    }
}

#[test]
fn js_ipfs_gives_the_same_names() {
    let Some(url) = parts::kubo_url() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut items = corpus::make(scratch.path());
    items.retain(|item| item.name != corpus::BACKSLASH);
    for item in items {
        assert_same(&item, CidVersion::V1, exchange::rpc_add(&url, &item));
    }
}
