//! Any tree that can be added comes back as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use content::import::Options;
use content::read::File;
use content::tree::LocalTree;
use content::{
    Block, BlockStore, CidVersion, Codec, ContentError, EmbeddedStore, MemoryStore, export, import,
};
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

fn read_paths(root: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = read(root)
        .into_iter()
        .filter(|(_, content)| content.is_some())
        .map(|(path, _)| root.join(path))
        .collect();
    paths.sort();
    paths
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
        let local = LocalTree::open(&source, &["usr"]).unwrap();
        for cid_version in [CidVersion::V0, CidVersion::V1] {
            let store = MemoryStore::default();
            let options = Options { cid_version, ..Options::default() };
            let cid = import::local_tree_with(&store, &local, options).unwrap();
            export::to_directory(&store, &cid, &out).unwrap();
            prop_assert_eq!(read(&source), read(&out));
            fs::remove_dir_all(&out).unwrap();
        }
    }

    /// A disk that errs: any byte of any block may be another, or a block be shorter or longer.
    #[test]
    fn a_block_that_went_bad_is_an_error_and_never_other_bytes(
        bytes in 0_usize..900_000,
        bad in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        damage in prop_oneof![(1..=u8::MAX).prop_map(Some), Just(None)],
        from in any::<proptest::sample::Index>(),
    ) {
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().join("store");
        let store = Arc::new(EmbeddedStore::open(&place).unwrap());
        let content: Vec<u8> = (0..bytes).map(|n| ((n / 7) ^ (n / 70_000)) as u8).collect();
        let cid = import::stream(&*store, &mut &content[..]).unwrap();
        let blocks: Vec<_> = read_paths(&place.join("blocks"));
        let bad = &blocks[bad.index(blocks.len())];
        let mut block = fs::read(bad).unwrap();
        match damage {
            Some(flip) if !block.is_empty() => {
                let at = at.index(block.len());
                block[at] ^= flip;
            }
            _ => block.push(0),
        }
        fs::write(bad, block).unwrap();
        let mut exported = Vec::new();
        let whole = export::file(&*store, &cid, &mut exported);
        prop_assert!(matches!(whole, Err(ContentError::BlockCorrupt { .. })), "{:?}", whole);
        prop_assert!(content.starts_with(&exported));
        if let Ok(file) = File::open(store, &cid) {
            let from = from.index(bytes.max(1));
            let mut buffer = vec![0; 5000];
            if let Ok(read) = file.read_at(from as u64, &mut buffer) {
                prop_assert_eq!(&buffer[..read], &content[from..bytes.min(from + 5000)]);
            }
        }
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
