//! Pins: what is written is there, under hostile names too, and each name counts for itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use std::collections::BTreeSet;
use std::fs;

use content::dag::{self, Limits};
use content::pins::{self, MAX_NAME_BYTES, MAX_NAMESPACE_PINS, Pin, PinError, RUNNING};
use content::{Block, BlockStore, Cid, Codec, ContentError, EmbeddedStore, PinName, Repo};
use proptest::prelude::*;

fn store() -> (tempfile::TempDir, EmbeddedStore) {
    let scratch = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&scratch.path().join("store")).unwrap();
    (scratch, store)
}

fn cid(byte: u8) -> Cid {
    *Block::new(Codec::Raw, vec![byte]).unwrap().cid()
}

fn pinned(store: &EmbeddedStore, pins: &[Pin]) {
    let writing = store.writing().unwrap();
    for pin in pins {
        store.pins().add(&writing, pin).unwrap();
    }
}

#[test]
fn pins_outlive_the_store_object_and_are_listed_in_one_order() {
    let (scratch, store) = store();
    let pins = [
        Pin::recursive("b", cid(1)),
        Pin::direct("", cid(2)),
        Pin::recursive("a", cid(3)),
        Pin::recursive("a", cid(1)),
    ];
    pinned(&store, &pins);
    drop(store);
    let again = EmbeddedStore::open(&scratch.path().join("store")).unwrap();
    let mut sorted = pins.to_vec();
    sorted.sort();
    assert_eq!(again.pins().list().unwrap(), sorted);
    assert_eq!(sorted[0].name, "");
}

#[test]
fn a_cid_stays_until_its_last_name_is_removed() {
    let (_scratch, store) = store();
    pinned(
        &store,
        &[Pin::recursive("one", cid(1)), Pin::recursive("two", cid(1))],
    );
    let pins = store.pins();
    pins.remove("one", &cid(1)).unwrap();
    assert_eq!(pins.list().unwrap(), [Pin::recursive("two", cid(1))]);
    for (name, cid) in [("one", cid(1)), ("two", cid(2)), ("", cid(1))] {
        let refused = pins.remove(name, &cid);
        assert!(matches!(
            refused,
            Err(ContentError::Pin(PinError::NotPinned { .. }))
        ));
    }
    pins.remove("two", &cid(1)).unwrap();
    assert_eq!(pins.list().unwrap(), []);
}

#[test]
fn pinning_again_changes_how_deep_it_goes() {
    let (_scratch, store) = store();
    pinned(
        &store,
        &[Pin::direct("x", cid(1)), Pin::recursive("x", cid(1))],
    );
    assert_eq!(store.pins().list().unwrap(), [Pin::recursive("x", cid(1))]);
}

#[test]
fn names_that_could_be_taken_for_something_else_are_refused() {
    let (_scratch, store) = store();
    let writing = store.writing().unwrap();
    let longest = Pin::recursive("\u{1F4CC}".repeat(63) + "日", cid(1));
    assert_eq!(longest.name.len(), MAX_NAME_BYTES);
    store.pins().add(&writing, &longest).unwrap();
    assert_eq!(store.pins().list().unwrap(), std::slice::from_ref(&longest));
    store.pins().remove(&longest.name, &longest.cid).unwrap();
    let long = "n".repeat(MAX_NAME_BYTES + 1);
    for name in [
        "..", "a/../b", ".", "a/.", "a\0", "a\nb", "\x1b[2J", "a\u{85}", &long,
    ] {
        let refused = store.pins().add(&writing, &Pin::recursive(name, cid(1)));
        assert!(
            matches!(
                refused,
                Err(ContentError::Pin(PinError::NameInvalid { .. }))
            ),
            "{name:?}"
        );
    }
    assert_eq!(store.pins().list().unwrap(), []);
}

#[test]
fn what_cannot_be_kept_is_not_pinned() {
    let (_scratch, one) = store();
    let (_other_scratch, other) = store();
    let wrong = other.writing().unwrap();
    let refused = one.pins().add(&wrong, &Pin::recursive("", cid(1)));
    assert!(matches!(
        refused,
        Err(ContentError::Pin(PinError::OtherStore))
    ));
    let key = Cid::new_v1(0x72, *cid(1).hash());
    let writing = one.writing().unwrap();
    let refused = one.pins().add(&writing, &Pin::recursive("", key));
    assert!(matches!(
        refused,
        Err(ContentError::UnsupportedCodec { .. })
    ));
}

#[test]
fn a_namespace_sees_and_changes_what_is_below_it_alone() {
    let (_scratch, store) = store();
    let pins = store.pins();
    let writing = store.writing().unwrap();
    let (cell, neighbour) = (
        pins.namespace("cell").unwrap(),
        pins.namespace("cell2").unwrap(),
    );
    pins.add(&writing, &Pin::recursive("cell", cid(1))).unwrap();
    pins.add(&writing, &Pin::recursive("other", cid(1)))
        .unwrap();
    neighbour
        .add(&writing, &Pin::recursive("mine", cid(1)))
        .unwrap();
    for name in ["", "mine", "cell2/mine"] {
        cell.add(&writing, &Pin::recursive(name, cid(2))).unwrap();
    }
    let seen = |pins: Vec<Pin>| pins.into_iter().map(|pin| pin.name).collect::<Vec<_>>();
    assert_eq!(seen(cell.list().unwrap()), ["", "cell2/mine", "mine"]);
    assert_eq!(seen(neighbour.list().unwrap()), ["mine"]);
    assert_eq!(
        seen(pins.list().unwrap()),
        [
            "cell",
            "cell/",
            "cell/cell2/mine",
            "cell/mine",
            "cell2/mine",
            "other"
        ]
    );
    for name in ["other", "../other", "../cell2/mine"] {
        assert!(cell.remove(name, &cid(1)).is_err(), "{name}");
        assert!(
            cell.add(&writing, &Pin::recursive(format!("../{name}"), cid(1)))
                .is_err()
        );
    }
    cell.remove("mine", &cid(2)).unwrap();
    assert_eq!(seen(cell.list().unwrap()), ["", "cell2/mine"]);
    for name in ["", "/", "/a", "a/", "a//b", "..", "a\n"] {
        assert!(pins.namespace(name).is_err(), "{name:?}");
    }
}

#[test]
fn what_running_nodes_hold_is_nobody_elses_to_change() {
    let (scratch, store) = store();
    let repo = Repo::open(&scratch.path().join("store"), Vec::new(), |_| {}).unwrap();
    let hold = repo.hold("node", &[cid(1)]).unwrap();
    let held = format!("{RUNNING}/node");
    let listed = || store.pins().list().unwrap();
    assert_eq!(listed(), [Pin::recursive(&held, cid(1))]);

    let (pins, writing) = (store.pins(), store.writing().unwrap());
    let below = format!("{RUNNING}/node/mine");
    for name in [RUNNING, &format!("{RUNNING}/"), &held, &below] {
        let named = PinName {
            namespace: None,
            name: name.to_owned(),
        };
        for refused in [
            pins.add(&writing, &Pin::recursive(name, cid(1))),
            pins.remove(name, &cid(1)),
            pins.namespace(name).map(drop),
            repo.unpin(&cid(1), &named),
        ] {
            assert!(
                matches!(refused, Err(ContentError::Pin(PinError::Reserved))),
                "{name}"
            );
        }
    }
    // Neither by a namespace and the rest of the name, nor by reading.
    for (namespace, name) in [(RUNNING, "node"), (&*held, "")] {
        let named = PinName {
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        };
        assert!(repo.unpin(&cid(1), &named).is_err());
        assert!(repo.pins_in(Some(namespace)).is_err());
    }
    let others = [
        Pin::recursive("held/mine", cid(1)),
        Pin::recursive("ww.running2", cid(1)),
    ];
    for other in &others {
        pins.add(&writing, other).unwrap();
    }
    let inner = Pin::recursive(RUNNING, cid(2));
    pins.namespace("cell")
        .unwrap()
        .add(&writing, &inner)
        .unwrap();
    repo.let_go(|name| name == "node").unwrap();
    assert_eq!(listed().len(), 4);
    repo.let_go(|_| false).unwrap();
    assert_eq!(listed().len(), 3);
    drop(hold);
    assert_eq!(listed().len(), 3);
}

#[test]
fn a_namespace_cannot_use_up_the_store() {
    let (_scratch, store) = store();
    let writing = store.writing().unwrap();
    let cell = store.pins().namespace("cell").unwrap();
    for n in 0..MAX_NAMESPACE_PINS {
        let pin = Pin::recursive(format!("cell/{n}"), cid(0));
        store.pins().add(&writing, &pin).unwrap();
    }
    let refused = cell.add(&writing, &Pin::recursive("more", cid(0)));
    assert!(matches!(
        refused,
        Err(ContentError::Pin(PinError::TooMany {
            limit: MAX_NAMESPACE_PINS
        }))
    ));
    cell.add(&writing, &Pin::direct("0", cid(0))).unwrap();
    store
        .pins()
        .add(&writing, &Pin::recursive("more", cid(0)))
        .unwrap();
}

#[test]
fn a_pin_that_was_damaged_or_moved_is_named_and_what_lies_beside_pins_is_not_one() {
    let (scratch, store) = store();
    pinned(&store, &[Pin::recursive("x", cid(1))]);
    let folder = scratch.path().join("store/pins");
    let file = fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let good = fs::read(&file).unwrap();
    fs::write(folder.join("README"), "notes").unwrap();
    assert_eq!(store.pins().list().unwrap().len(), 1);
    for bad in [&b""[..], &good[..good.len() - 1], b"\xa0", &[0; 4096]] {
        fs::write(&file, bad).unwrap();
        let refused = store.pins().list();
        assert!(
            matches!(&refused, Err(ContentError::Pin(PinError::Corrupt { path })) if *path == file)
        );
    }
    let elsewhere = folder.join("0".repeat(64));
    fs::write(&file, &good).unwrap();
    fs::rename(&file, &elsewhere).unwrap();
    let refused = store.pins().list();
    assert!(
        matches!(&refused, Err(ContentError::Pin(PinError::Corrupt { path })) if *path == elsewhere)
    );
}

#[test]
fn verifying_names_what_is_missing_corrupt_or_meaningless_and_goes_on() {
    let (scratch, store) = store();
    let put = |codec, bytes: &[u8]| {
        let block = Block::new(codec, bytes.to_vec()).unwrap();
        store.put(&block).unwrap();
        *block.cid()
    };
    let (good, bad) = (put(Codec::Raw, b"good"), put(Codec::Raw, b"bad"));
    let (gone, nonsense) = (cid(9), put(Codec::DagCbor, b"\xff"));
    let json = format!(
        r#"[{{"/":"{gone}"}},{{"/":"{bad}"}},{{"/":"{nonsense}"}},{{"/":"{good}"}},{{"/":"{gone}"}}]"#
    );
    let root = dag::convert(Codec::DagJson, json.as_bytes(), Codec::DagCbor).unwrap();
    store.put(&root).unwrap();
    for shard in fs::read_dir(scratch.path().join("store/blocks")).unwrap() {
        for file in fs::read_dir(shard.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            if fs::read(&file).unwrap() == b"bad" {
                fs::write(&file, "worse").unwrap();
            }
        }
    }
    let verify = |pin: &Pin| pins::verify(&store, pin, &Limits::default()).unwrap();
    let health = verify(&Pin::recursive("", *root.cid()));
    assert!(!health.is_whole());
    assert_eq!(health.good.blocks, 2);
    let faults: Vec<_> = health.faults.iter().map(|fault| fault.cid).collect();
    assert_eq!(faults, [gone, bad, nonsense]);
    assert!(matches!(
        health.faults[0].why,
        ContentError::BlockMissing { .. }
    ));
    assert!(matches!(
        health.faults[1].why,
        ContentError::BlockCorrupt { .. }
    ));
    assert!(matches!(health.faults[2].why, ContentError::Dag(_)));
    assert!(verify(&Pin::direct("", *root.cid())).is_whole());
    assert!(!verify(&Pin::direct("", gone)).is_whole());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_names_are_kept_apart_or_refused(
        names in proptest::collection::vec("[a./\\\\ \u{0}-\u{ff}日]{0,6}", 0..12),
    ) {
        let (_scratch, store) = store();
        let writing = store.writing().unwrap();
        let mut kept = BTreeSet::new();
        for name in names {
            if store.pins().add(&writing, &Pin::recursive(name.clone(), cid(1))).is_ok() {
                kept.insert(name);
            }
        }
        let listed = store.pins().list().unwrap();
        prop_assert_eq!(listed.iter().map(|pin| pin.name.clone()).collect::<BTreeSet<_>>(), kept);
        for pin in listed {
            store.pins().remove(&pin.name, &pin.cid).unwrap();
        }
        prop_assert_eq!(store.pins().list().unwrap(), []);
    }

    #[test]
    fn a_pin_with_one_byte_changed_is_the_same_or_refused(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (scratch, store) = store();
        pinned(&store, &[Pin::recursive("name", cid(1))]);
        let folder = scratch.path().join("store/pins");
        let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&file).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        fs::write(&file, &bytes).unwrap();
        if let Ok(pins) = store.pins().list() {
            prop_assert_eq!((&pins[0].name[..], pins[0].cid), ("name", cid(1)));
        }
    }
}
