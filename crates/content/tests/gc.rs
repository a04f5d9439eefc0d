//! The collection of garbage: what is pinned stays whatever is wrong, and the rest goes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use content::dag;
use content::gc::{self, Mode, Options, Progress, Report};
use content::pins::{Depth, Pin, PinError};
use content::{
    Block, BlockStore, Cid, Codec, ContentError, EmbeddedStore, MemoryStore, PinName, Repo, Source,
};
use proptest::prelude::*;

struct Scratch {
    directory: tempfile::TempDir,
    store: EmbeddedStore,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    fn leaf(&self, text: &str) -> Cid {
        let block = Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap();
        self.store.put(&block).unwrap();
        *block.cid()
    }

    fn node(&self, links: &[Cid]) -> Cid {
        let links: Vec<_> = links
            .iter()
            .map(|cid| format!(r#"{{"/":"{cid}"}}"#))
            .collect();
        let json = format!("[{}]", links.join(","));
        let block = dag::convert(Codec::DagJson, json.as_bytes(), Codec::DagCbor).unwrap();
        self.store.put(&block).unwrap();
        *block.cid()
    }

    fn pin(&self, pin: Pin) {
        let writing = self.store.writing().unwrap();
        self.store.pins().add(&writing, &pin).unwrap();
    }

    fn collect(&self) -> Result<Report, ContentError> {
        collect(&self.store, Mode::Sweep)
    }

    fn has(&self, cid: &Cid) -> bool {
        self.store.has(cid).unwrap()
    }

    fn file(&self, cid: &Cid) -> PathBuf {
        let name: String = cid
            .hash()
            .digest()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let blocks = self.directory.path().join("store/blocks");
        blocks.join(&name[..2]).join(name)
    }
}

fn collect(store: &EmbeddedStore, mode: Mode) -> Result<Report, ContentError> {
    let patience = Duration::ZERO;
    gc::collect(store, &Options { mode, patience }, &mut |_| {})
}

#[test]
fn what_is_pinned_stays_and_the_rest_goes() {
    let scratch = Scratch::new();
    let (a, b, c, d) = (
        scratch.leaf("a"),
        scratch.leaf("b"),
        scratch.leaf("c"),
        scratch.leaf("d"),
    );
    let inner = scratch.node(&[a]);
    let root = scratch.node(&[inner, b, inner]);
    let direct = scratch.node(&[c]);
    let garbage = scratch.node(&[a, d]);
    scratch.pin(Pin::recursive("x", root));
    scratch.pin(Pin::direct("y", direct));
    let leftover = scratch.directory.path().join("store/incoming/half");
    fs::write(&leftover, "half").unwrap();

    let bytes = |cids: &[Cid]| -> u64 {
        cids.iter()
            .map(|cid| fs::metadata(scratch.file(cid)).unwrap().len())
            .sum()
    };
    let garbage_bytes = bytes(&[c, d, garbage]);
    let dry = collect(&scratch.store, Mode::DryRun).unwrap();
    assert_eq!(
        (dry.kept, dry.removed, dry.freed_bytes),
        (5, 3, garbage_bytes)
    );
    assert!(scratch.has(&garbage) && leftover.exists());

    let report = scratch.collect().unwrap();
    assert_eq!(
        (report.kept, report.removed, report.freed_bytes),
        (5, 3, garbage_bytes + 4)
    );
    assert!(report.warnings.is_empty());
    for kept in [a, b, inner, root, direct] {
        assert!(scratch.has(&kept), "{kept}");
    }
    for gone in [c, d, garbage] {
        assert!(!scratch.has(&gone), "{gone}");
    }
    assert!(!leftover.exists());
    assert_eq!(scratch.collect().unwrap().removed, 0);
}

#[test]
fn a_graph_goes_with_the_last_of_its_names() {
    let scratch = Scratch::new();
    let root = scratch.node(&[scratch.leaf("a")]);
    scratch.pin(Pin::recursive("one", root));
    scratch.pin(Pin::recursive("two", root));
    scratch.store.pins().remove("one", &root).unwrap();
    assert_eq!(scratch.collect().unwrap().removed, 0);
    scratch.store.pins().remove("two", &root).unwrap();
    assert_eq!(scratch.collect().unwrap().removed, 2);
}

#[test]
fn a_block_pinned_directly_and_recursively_keeps_what_is_below_it() {
    for order in [["1", "2"], ["2", "1"]] {
        let scratch = Scratch::new();
        let leaf = scratch.leaf("a");
        let root = scratch.node(&[leaf]);
        scratch.pin(Pin::direct(order[0], root));
        scratch.pin(Pin::recursive(order[1], root));
        scratch.collect().unwrap();
        assert!(scratch.has(&leaf));
    }
}

#[test]
fn the_same_bytes_read_as_data_and_as_bytes_keep_what_the_data_links_to() {
    let scratch = Scratch::new();
    let leaf = scratch.leaf("a");
    let root = scratch.node(&[leaf]);
    let as_bytes = Cid::new_v1(Codec::Raw.code(), *root.hash());
    scratch.pin(Pin::recursive("1", as_bytes));
    scratch.pin(Pin::recursive("2", root));
    scratch.collect().unwrap();
    assert!(scratch.has(&leaf));
}

#[test]
fn a_graph_with_holes_keeps_what_is_there_and_warns() {
    let scratch = Scratch::new();
    let (here, gone) = (scratch.leaf("here"), scratch.leaf("gone"));
    let lost = scratch.node(&[gone]);
    let nonsense = Block::new(Codec::DagCbor, &b"\xff"[..]).unwrap();
    scratch.store.put(&nonsense).unwrap();
    let unknown = Cid::new_v1(0x72, *here.hash());
    let root = scratch.node(&[lost, *nonsense.cid(), unknown, here, lost]);
    fs::remove_file(scratch.file(&lost)).unwrap();
    scratch.pin(Pin::recursive("x", root));
    let report = scratch.collect().unwrap();
    let warned: BTreeSet<_> = report.warnings.iter().map(|warning| warning.cid).collect();
    assert_eq!(warned, BTreeSet::from([lost, *nonsense.cid(), unknown]));
    assert!(
        report
            .warnings
            .iter()
            .all(|warning| warning.pin.name == "x")
    );
    assert!(scratch.has(&here) && scratch.has(&root) && scratch.has(nonsense.cid()));
    // Nothing that is there leads to it any more.
    assert!(!scratch.has(&gone));
}

#[test]
fn a_node_that_went_bad_or_a_pin_that_did_stops_the_collection_before_anything_is_lost() {
    let scratch = Scratch::new();
    let (leaf, garbage) = (scratch.leaf("leaf"), scratch.leaf("garbage"));
    let inner = scratch.node(&[leaf]);
    scratch.pin(Pin::recursive("x", scratch.node(&[inner])));
    let good = fs::read(scratch.file(&inner)).unwrap();
    fs::write(scratch.file(&inner), "bad").unwrap();
    let refused = scratch.collect();
    assert!(matches!(refused, Err(ContentError::BlockCorrupt { cid }) if cid == inner));
    assert!(scratch.has(&leaf) && scratch.has(&garbage));

    fs::write(scratch.file(&inner), good).unwrap();
    let pins = scratch.directory.path().join("store/pins");
    fs::write(pins.join("f".repeat(64)), "").unwrap();
    let refused = scratch.collect();
    assert!(matches!(
        refused,
        Err(ContentError::Pin(PinError::Corrupt { .. }))
    ));
    assert!(scratch.has(&leaf) && scratch.has(&garbage));

    fs::remove_file(pins.join("f".repeat(64))).unwrap();
    // A leaf that went bad hides nothing; verifying the pin finds it.
    fs::write(scratch.file(&leaf), "bad").unwrap();
    assert_eq!(scratch.collect().unwrap().removed, 1);
}

#[test]
fn a_store_that_is_written_to_is_not_collected() {
    let scratch = Scratch::new();
    let writing = scratch.store.writing().unwrap();
    let leaf = scratch.leaf("not pinned yet");
    assert!(matches!(scratch.collect(), Err(ContentError::StoreBusy)));
    // Also for another who opened the same store.
    let other = EmbeddedStore::open(&scratch.directory.path().join("store")).unwrap();
    assert!(matches!(
        collect(&other, Mode::DryRun),
        Err(ContentError::StoreBusy)
    ));
    scratch
        .store
        .pins()
        .add(&writing, &Pin::recursive("", leaf))
        .unwrap();
    drop(writing);
    assert_eq!(collect(&other, Mode::Sweep).unwrap().kept, 1);
}

#[test]
fn the_removal_of_a_block_that_is_not_there_waits_for_nobody() {
    let scratch = Scratch::new();
    let leaf = scratch.leaf("a");
    let remove = |cid: &Cid| gc::remove(&scratch.store, cid, Duration::ZERO);
    let absent = *Block::new(Codec::Raw, &b"absent"[..]).unwrap().cid();
    let writing = scratch.store.writing().unwrap();
    let refused = remove(&absent);
    assert!(matches!(refused, Err(ContentError::BlockMissing { cid }) if cid == absent));
    assert!(matches!(remove(&leaf), Err(ContentError::StoreBusy)));
    drop(writing);
    remove(&leaf).unwrap();
    assert!(!scratch.has(&leaf));
}

/// Somebody who has blocks, and whose first answer for one of them takes so long that garbage is collected meanwhile.
struct Slow {
    blocks: MemoryStore,
    last: Cid,
    collected: AtomicBool,
    store: EmbeddedStore,
}

impl BlockStore for Slow {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        self.blocks.put(block)
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        if *cid == self.last && !self.collected.swap(true, Ordering::Relaxed) {
            let patient = Options {
                patience: Duration::from_secs(1),
                ..Options::default()
            };
            gc::collect(&self.store, &patient, &mut |_| {})?;
        }
        self.blocks.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.blocks.has(cid)
    }
}

impl Source for Slow {
    fn name(&self) -> &str {
        "slow"
    }
}

#[test]
fn who_fetches_to_pin_lets_garbage_be_collected_and_loses_nothing() {
    let elsewhere = Scratch::new();
    let leaf = elsewhere.leaf("a");
    let inner = elsewhere.node(&[leaf]);
    let root = elsewhere.node(&[inner]);
    for (depth, last) in [(Depth::Recursive, leaf), (Depth::Direct, root)] {
        let scratch = Scratch::new();
        let place = scratch.directory.path().join("store");
        let slow = Arc::new(Slow {
            blocks: MemoryStore::default(),
            last,
            collected: AtomicBool::new(false),
            store: EmbeddedStore::open(&place).unwrap(),
        });
        for cid in [leaf, inner, root] {
            slow.put(&elsewhere.store.get(&cid).unwrap().unwrap())
                .unwrap();
        }
        // A collection that was refused would be an answer that failed.
        let repo = Repo::open(&place, vec![slow.clone()], |_| {}).unwrap();
        let go_on = |_| ControlFlow::Continue(());
        repo.pin(&root, depth, &PinName::default(), &go_on).unwrap();
        assert!(slow.collected.load(Ordering::Relaxed));
        assert_eq!(scratch.collect().unwrap().warnings.len(), 0);
        assert_eq!(scratch.has(&leaf), depth == Depth::Recursive);
        assert!(scratch.has(&root));
    }
}

#[test]
fn what_is_added_block_by_block_is_there_when_it_is_pinned() {
    let (elsewhere, scratch) = (Scratch::new(), Scratch::new());
    let leaf = elsewhere.leaf("a");
    let root = elsewhere.node(&[leaf]);
    let place = scratch.directory.path().join("store");
    let repo = Repo::open(&place, Vec::new(), |_| {}).unwrap();
    let adding = repo.adding().unwrap();
    for cid in [leaf, root] {
        let block = elsewhere.store.get(&cid).unwrap().unwrap();
        repo.put_block(&block, None).unwrap();
        assert!(matches!(scratch.collect(), Err(ContentError::StoreBusy)));
    }
    repo.pin_added(&root, &PinName::default()).unwrap();
    assert!(matches!(scratch.collect(), Err(ContentError::StoreBusy)));
    drop(adding);
    assert_eq!(scratch.collect().unwrap().kept, 2);
}

#[test]
fn progress_is_told_block_by_block() {
    let scratch = Scratch::new();
    scratch.pin(Pin::recursive("x", scratch.node(&[scratch.leaf("a")])));
    scratch.leaf("b");
    let mut told = Vec::new();
    gc::collect(&scratch.store, &Options::default(), &mut |progress| {
        told.push(progress)
    })
    .unwrap();
    assert_eq!(told.first(), Some(&Progress::Marking { blocks: 1 }));
    assert_eq!(told.last(), Some(&Progress::Sweeping { blocks: 3 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_pinned_exactly_what_it_leads_to_stays(
        // Each node links to some of the nodes before it.
        graph in proptest::collection::vec(proptest::collection::vec(any::<proptest::sample::Index>(), 0..4), 1..16),
        pinned in proptest::collection::vec((any::<proptest::sample::Index>(), any::<bool>()), 0..4),
    ) {
        let scratch = Scratch::new();
        let (mut cids, mut below) = (Vec::<Cid>::new(), Vec::<BTreeSet<usize>>::new());
        for (n, links) in graph.iter().enumerate() {
            let links: Vec<_> = if n == 0 { Vec::new() } else { links.iter().map(|link| link.index(n)).collect() };
            let mut linked: Vec<_> = links.iter().map(|link| cids[*link]).collect();
            // So that no two nodes are the same.
            let own = scratch.leaf(&n.to_string());
            linked.push(own);
            cids.push(scratch.node(&linked));
            let mut reached: BTreeSet<_> = links.iter().flat_map(|link| below[*link].clone()).collect();
            reached.insert(n);
            below.push(reached);
        }
        let (mut nodes, mut leaves) = (BTreeSet::<usize>::new(), BTreeSet::<usize>::new());
        for (n, (at, recursive)) in pinned.iter().enumerate() {
            let at = at.index(cids.len());
            if *recursive {
                scratch.pin(Pin::recursive(n.to_string(), cids[at]));
                nodes.extend(&below[at]);
                leaves.extend(&below[at]);
            } else {
                scratch.pin(Pin::direct(n.to_string(), cids[at]));
                nodes.insert(at);
            }
        }
        scratch.collect().unwrap();
        for (n, cid) in cids.iter().enumerate() {
            prop_assert_eq!(scratch.has(cid), nodes.contains(&n));
            let leaf = *Block::new(Codec::Raw, n.to_string().into_bytes()).unwrap().cid();
            prop_assert_eq!(scratch.has(&leaf), leaves.contains(&n));
        }
    }
}
