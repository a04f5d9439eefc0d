//! Layers that are published: what is read of them, and the name of what they come to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use content::dag::Limits;
use content::import::{self, DryRun, Options};
use content::tree::{LocalTree, Node};
use content::{Block, BlockStore, Cid, CidVersion, ContentError, IpfsPath, MemoryStore, car};
use image::{ENTRY, FHS, Image, ImageError, Layer, ROOT};
use proptest::prelude::*;
use tempfile::TempDir;

/// A store that remembers what is asked of it.
#[derive(Default)]
struct Watched {
    store: MemoryStore,
    gets: AtomicUsize,
    bytes: AtomicUsize,
    gone: Mutex<Option<Cid>>,
}

impl Watched {
    /// Blocks and bytes since the last time.
    fn read(&self) -> (usize, usize) {
        let take = |number: &AtomicUsize| number.swap(0, Ordering::Relaxed);
        (take(&self.gets), take(&self.bytes))
    }
}

impl BlockStore for Watched {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        self.store.put(block)
    }
    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        if *self.gone.lock().unwrap() == Some(*cid) {
            return Ok(None);
        }
        let found = self.store.get(cid)?;
        let bytes = found.as_ref().map_or(0, |block| block.bytes().len());
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(found)
    }
    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.store.has(cid)
    }
}

/// Bytes that differ from place to place.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 8191) as u8).collect()
}

fn layer(place: &TempDir, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let layer = place.path().join(name);
    for (path, bytes) in files {
        let at = layer.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, bytes).unwrap();
    }
    layer
}

fn push(store: &dyn BlockStore, directory: &Path) -> Cid {
    import::directory(store, directory, &FHS).unwrap()
}

fn published(store: &Arc<Watched>, cid: Cid) -> Layer {
    Layer::published(store.clone(), &IpfsPath::from(cid)).unwrap()
}

/// The root of what a merge comes to when it is written to a disk and added from there.
fn root_of_a_copy(image: &Image) -> Cid {
    let place = tempfile::tempdir().unwrap();
    copy(image, ROOT, &place.path().join("copy"));
    push(&DryRun, &place.path().join("copy"))
}

fn copy(image: &Image, directory: u64, to: &Path) {
    fs::create_dir(to).unwrap();
    for index in 0.. {
        let Some((name, number)) = image.child_at(directory, index) else {
            return;
        };
        let at = to.join(name);
        match image.node(number).unwrap() {
            Node::Directory => copy(image, number, &at),
            Node::Link { target } => symlink(target, at).unwrap(),
            &Node::File { bytes } => {
                let file = image.open(number).unwrap();
                let mut content = vec![0; usize::try_from(bytes).unwrap()];
                let mut filled = 0;
                while filled < content.len() {
                    filled += file.read_at(filled as u64, &mut content[filled..]).unwrap();
                }
                fs::write(at, content).unwrap();
            }
        }
    }
}

#[test]
fn of_a_large_layer_only_what_is_wanted_is_read() {
    let place = tempfile::tempdir().unwrap();
    let large = pattern(20 << 20);
    let mut files: Vec<(String, Vec<u8>)> = (0..100)
        .map(|number| (format!("usr/small/{number}"), pattern(number)))
        .collect();
    files.push(("usr/large".to_owned(), large.clone()));
    files.push((ENTRY.to_owned(), b"program".to_vec()));
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), &bytes[..]))
        .collect();
    let store = Arc::new(Watched::default());
    let cid = push(&*store, &layer(&place, "big", &files));
    store.read();
    let image = Image::merge(&[published(&store, cid)]).unwrap();
    // The root, three directories (to see that they are, and to list them), the first node of the large
    // file, and the empty file, whose size its directory leaves open.
    let (blocks, bytes) = store.read();
    assert!(
        blocks <= 9 && bytes < 20_000,
        "{blocks} blocks, {bytes} bytes"
    );
    assert_eq!(image.entry().unwrap(), b"program");
    assert_eq!(store.read().0, 1);

    let usr = image.child(ROOT, "usr").unwrap();
    let file = image.open(image.child(usr, "large").unwrap()).unwrap();
    let from = 5 << 20;
    let mut read = vec![0; 1 << 20];
    let mut filled = 0;
    for piece in (1..).map(|number| number * 777) {
        let free = &mut read[filled..];
        let size = piece.min(free.len());
        if size == 0 {
            break;
        }
        filled += file
            .read_at(from + filled as u64, &mut free[..size])
            .unwrap();
    }
    assert!(read[..] == large[5 << 20..6 << 20]);
    // Four chunks and the nodes above them, none of them twice.
    let (blocks, bytes) = store.read();
    assert!(
        blocks <= 7 && bytes < (1 << 20) + 20_000,
        "{blocks} blocks, {bytes} bytes"
    );
    // And what was read is at hand.
    let mut byte = [0];
    assert_eq!(file.read_now(from, &mut byte), Some(1));
    assert_eq!(file.read_now(0, &mut byte), None);
}

#[test]
fn a_block_that_is_gone_is_an_error_of_the_file_that_needs_it() {
    let place = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 3] = [(ENTRY, b"program"), ("etc/a", b"aaa"), ("etc/b", b"bbb")];
    let store = Arc::new(Watched::default());
    let cid = push(&*store, &layer(&place, "app", &files));
    let image = Image::merge(&[published(&store, cid)]).unwrap();
    let gone = import::cid_of_file(b"aaa").unwrap();
    *store.gone.lock().unwrap() = Some(gone);
    let refused = image.read("etc/a", 10).unwrap_err();
    assert!(refused.to_string().contains(&gone.to_string()), "{refused}");
    assert_eq!(image.read("etc/b", 10).unwrap(), b"bbb");
    *store.gone.lock().unwrap() = Some(cid);
    let refused = Layer::published(store.clone(), &IpfsPath::from(cid));
    assert!(matches!(refused, Err(ImageError::Layer { .. })));
}

#[test]
fn a_layer_is_the_same_in_whatever_form_it_comes() {
    let place = tempfile::tempdir().unwrap();
    let large = pattern(600_000);
    let base: [(&str, &[u8]); 4] = [
        (ENTRY, b"base"),
        ("etc/both", b"base"),
        ("usr/lib/large", &large),
        ("README", b"beside"),
    ];
    let base = layer(&place, "base", &base);
    symlink("lib/large", base.join("usr/link")).unwrap();
    let app: [(&str, &[u8]); 3] = [(ENTRY, b"app"), ("etc/both", b"app"), ("var/x/y", b"")];
    let app = layer(&place, "app", &app);
    let store = Arc::new(Watched::default());
    let forms = |directory: &Path| {
        let cid = push(&*store, directory);
        // Inside something else, with a stranger beside it.
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("usr")).unwrap();
        fs::write(outer.path().join("usr/other"), "").unwrap();
        let path = {
            let inner = outer.path().join("usr/inner");
            copy_directory(directory, &inner);
            let outer = push(&*store, outer.path());
            format!("/ipfs/{outer}/usr/inner").parse().unwrap()
        };
        let file = place.path().join("layer.car");
        let mut written = fs::File::create(&file).unwrap();
        car::export(&*store, &cid, &Limits::default(), &mut written).unwrap();
        let other: Arc<dyn BlockStore> = Arc::new(MemoryStore::default());
        [
            Layer::local(directory).unwrap(),
            published(&store, cid),
            Layer::published(store.clone(), &path).unwrap(),
            Layer::car(other, &file).unwrap(),
        ]
    };
    let (bases, apps) = (forms(&base), forms(&app));
    let first = Image::merge(&[bases[0].clone(), apps[0].clone()]).unwrap();
    let expected = root_of_a_copy(&first);
    for base in &bases {
        for app in &apps {
            let image = Image::merge(&[base.clone(), app.clone()]).unwrap();
            assert_eq!(image.root(&DryRun).unwrap(), expected, "{base:?} {app:?}");
            assert_eq!(image.entry().unwrap(), b"app");
            assert_eq!(image.read("usr/link", 1 << 20).unwrap(), large);
            assert!(matches!(
                image.read("README", 10),
                Err(ImageError::NoSuchFile { .. })
            ));
        }
    }
    // The root is there, with all that is below it, for whoever runs it next.
    assert_eq!(first.root(&*store).unwrap(), expected);
    let again = Image::merge(&[published(&store, expected)]).unwrap();
    assert_eq!(root_of_a_copy(&again), expected);
}

/// Copies the FHS part of a directory.
fn copy_directory(from: &Path, to: &Path) {
    let layer = Layer::local(from).unwrap();
    let image = Image::merge(&[layer]).unwrap();
    copy(&image, ROOT, to);
}

#[test]
fn what_one_layer_alone_brings_keeps_its_name_and_is_not_read() {
    let place = tempfile::tempdir().unwrap();
    let deep: [(&str, &[u8]); 2] = [("usr/share/a/b/c", b"c"), ("usr/share/d", b"d")];
    let deep = layer(&place, "deep", &deep);
    let app: [(&str, &[u8]); 2] = [(ENTRY, b"app"), ("usr/lib/x", b"x")];
    let app = layer(&place, "app", &app);
    let store = Arc::new(Watched::default());
    let options = Options {
        cid_version: CidVersion::V0,
        ..Options::default()
    };
    let listed = LocalTree::open(&deep, &FHS).unwrap();
    let old = import::local_tree_with(&*store, &listed, options).unwrap();
    let new = push(&*store, &deep);
    let layers = |cid| [published(&store, cid), Layer::local(&app).unwrap()];
    let image = |cid| Image::merge(&layers(cid)).unwrap();
    let (of_old, of_new) = (image(old), image(new));
    store.read();
    let root = of_new.root(&*store).unwrap();
    let root_of_old = of_old.root(&*store).unwrap();
    assert_eq!(store.read().0, 0, "no block was read to name the root");
    assert_eq!(root, root_of_a_copy(&of_new));
    // What was published in another way is the same tree under other names.
    assert_ne!(root, root_of_old);
    let names = ["usr".to_owned(), "share".to_owned()];
    let share = |root| content::directory::resolve(&*store, root, &names).unwrap();
    assert_eq!(share(&root_of_old), share(&old));
    assert_eq!(image(root_of_old).read("usr/share/a/b/c", 1).unwrap(), b"c");
}

#[test]
fn a_large_directory_that_two_layers_share_is_named_as_when_it_is_added() {
    let place = tempfile::tempdir().unwrap();
    let half = |name: &str, prefix: &str| {
        let directory = place.path().join(name).join("usr/many");
        fs::create_dir_all(&directory).unwrap();
        for number in 0..3000 {
            fs::write(directory.join(format!("{prefix}-{number:060}")), "").unwrap();
        }
        place.path().join(name)
    };
    let (one, other) = (half("one", "one"), half("other", "other"));
    let entry: [(&str, &[u8]); 1] = [(ENTRY, b"app")];
    let app = Layer::local(&layer(&place, "app", &entry)).unwrap();
    let store = Arc::new(Watched::default());
    let one = published(&store, push(&*store, &one));
    let image = Image::merge(&[one, Layer::local(&other).unwrap(), app]).unwrap();
    assert_eq!(image.root(&DryRun).unwrap(), root_of_a_copy(&image));
}

#[test]
fn a_car_file_of_two_roots_of_none_or_of_garbage_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::default());
    let refused = |file: &Path| Layer::car(store.clone(), file).unwrap_err();
    let file = place.path().join("x.car");
    assert!(matches!(refused(&file), ImageError::Missing { .. }));
    fs::write(&file, "garbage").unwrap();
    assert!(matches!(refused(&file), ImageError::Layer { .. }));
    let entry: [(&str, &[u8]); 1] = [(ENTRY, b"app")];
    let cid = push(&*store, &layer(&place, "app", &entry));
    let block = store.get(&cid).unwrap().unwrap();
    let mut writer = car::Writer::new(fs::File::create(&file).unwrap(), &[cid, cid]).unwrap();
    writer.put(&block).unwrap();
    writer.finish().unwrap();
    assert!(matches!(
        refused(&file),
        ImageError::CarRoots { roots: 2, .. }
    ));
    // One byte of a block is another than its name says.
    let mut bytes = Vec::new();
    car::export(&*store, &cid, &Limits::default(), &mut bytes).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let text = refused(&file).to_string();
    assert!(text.contains("x.car") && !text.contains('\n'), "{text}");
}

#[test]
fn what_is_published_and_no_image_is_refused_by_its_path() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("other/src")).unwrap();
    let store = Arc::new(MemoryStore::default());
    let cid = import::directory(&*store, &place.path().join("other"), &["src"]).unwrap();
    let open = |path: &str| Layer::published(store.clone(), &path.parse().unwrap()).unwrap_err();
    assert!(matches!(
        open(&format!("/ipfs/{cid}")),
        ImageError::NotFhs { .. }
    ));
    let absent = open(&format!("/ipfs/{cid}/nope"));
    let text = absent.to_string();
    assert!(
        text.contains("nope") && text.contains(&cid.to_string()),
        "{text}"
    );
    let file = import::stream(&*store, &mut &b"x"[..]).unwrap();
    assert!(matches!(
        open(&format!("/ipfs/{file}")),
        ImageError::Layer { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the layers are and in whatever form they come, the name of the merge is the one that a copy
    /// of it has.
    #[test]
    fn the_root_of_a_merge_is_that_of_its_copy(
        layers in proptest::collection::vec(
            proptest::collection::vec(("(usr|etc)(/[a-d]){1,3}", 0_usize..600_000, any::<bool>()), 0..8), 1..4),
        forms in proptest::collection::vec(any::<bool>(), 4),
    ) {
        let place = tempfile::tempdir().unwrap();
        let store = Arc::new(Watched::default());
        let mut opened = Vec::new();
        for (number, entries) in layers.iter().enumerate() {
            let directory = place.path().join(number.to_string());
            fs::create_dir_all(directory.join("boot")).unwrap();
            fs::write(directory.join(ENTRY), number.to_string()).unwrap();
            for (path, bytes, is_link) in entries {
                let at = directory.join(path);
                if fs::create_dir_all(at.parent().unwrap()).is_err() || at.exists() {
                    continue;
                }
                if *is_link {
                    let _ = symlink(format!("{bytes}"), at);
                } else {
                    fs::write(at, pattern(*bytes)).unwrap();
                }
            }
            opened.push(if forms[number] {
                published(&store, push(&*store, &directory))
            } else {
                Layer::local(&directory).unwrap()
            });
        }
        if let Ok(image) = Image::merge(&opened) {
            let expected = root_of_a_copy(&image);
            prop_assert_eq!(image.root(&DryRun).unwrap(), expected);
            prop_assert_eq!(image.root(&*store).unwrap(), expected);
            let whole = Image::merge(&[published(&store, expected)]).unwrap();
            prop_assert_eq!(whole.root(&DryRun).unwrap(), expected);
        }
    }
}
