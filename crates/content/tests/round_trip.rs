//! Any tree that can be added comes back as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use content::{Block, BlockStore, Codec, MemoryStore, export, import};
use proptest::prelude::*;

/// Files by path; a directory is whatever holds files, or ends in a slash.
type Model = BTreeMap<String, Option<Vec<u8>>>;

fn models() -> impl Strategy<Value = Model> {
    let name =
        "[a-c.é日 ]{1,3}".prop_filter("no name", |name| !matches!(name.as_str(), "." | ".."));
    let path = proptest::collection::vec(name, 0..4).prop_map(|names| {
        std::iter::once("usr".to_owned())
            .chain(names)
            .collect::<Vec<_>>()
            .join("/")
    });
    let content = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    proptest::collection::btree_map(path, content, 0..12)
}

/// Writes what of the model can be written and returns what was.
fn write(model: &Model, root: &Path) {
    for (path, content) in model {
        let at = root.join(path);
        let Some(parent) = at.parent() else { continue };
        if fs::create_dir_all(parent).is_err() {
            continue;
        }
        let _ = match content {
            Some(bytes) => fs::write(&at, bytes),
            None => fs::create_dir(&at),
        };
    }
}

fn read(root: &Path) -> Model {
    let mut model = Model::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() {
                model.insert(name, None);
                waiting.push(path);
            } else {
                model.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_added_and_exported_is_the_same_tree(model in models()) {
        let scratch = tempfile::tempdir().unwrap();
        let (source, out) = (scratch.path().join("source"), scratch.path().join("out"));
        fs::create_dir(&source).unwrap();
        // `usr` itself may be a file in the model, which is refused; that is another test's matter.
        write(&model, &source);
        prop_assume!(!source.join("usr").is_file());
        let store = MemoryStore::default();
        let cid = import::directory(&store, &source, &["usr"]).unwrap();
        export::to_directory(&store, &cid, &out).unwrap();
        prop_assert_eq!(read(&source), read(&out));
    }

    #[test]
    fn any_block_as_a_root_is_exported_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let scratch = tempfile::tempdir().unwrap();
        let store = MemoryStore::default();
        let block = Block::new(Codec::DagPb, bytes).unwrap();
        store.put(&block).unwrap();
        let _ = export::to_directory(&store, block.cid(), &scratch.path().join("out"));
        let _ = export::file(&store, block.cid(), &mut std::io::sink());
    }
}
