//! Who finds room when others have taken all that they may.

use std::fs;

use super::*;
use crate::{Block, PinName, Repo};

fn cid(byte: u8) -> Cid {
    *Block::new(Codec::Raw, vec![byte]).unwrap().cid()
}

fn limit(added: Result<(), ContentError>) -> usize {
    match added {
        Err(ContentError::Pin(PinError::TooMany { limit })) => limit,
        other => panic!("{other:?}"),
    }
}

/// Pins under invented names until there are so many, without a flush for each.
fn fill(pins: &Pins, many: usize) {
    let there = pins.files().unwrap().len();
    for n in there..many {
        let pin = Pin::recursive(format!("{many}-{n}"), cid(0));
        fs::write(
            pins.place(&pin.name, &pin.cid),
            record::encode(&pin).unwrap(),
        )
        .unwrap();
    }
}

#[test]
fn holders_leave_room_for_the_operator_and_both_for_what_runs() {
    let scratch = tempfile::tempdir().unwrap();
    let repo = Repo::open(&scratch.path().join("store"), Vec::new(), |_| {}).unwrap();
    let holder = repo.for_holder();
    let pins = repo.embedded().pins();
    let block = Block::new(Codec::Raw, &b"added"[..]).unwrap();
    let named = |namespace: Option<&str>, name: &str| PinName {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    };
    holder
        .put_block(&block, Some(&named(None, "first")))
        .unwrap();

    fill(&pins, MAX_HOLDER_PINS);
    for (repo, name) in [
        (&holder, named(None, "more")),
        (&holder, named(Some("cell"), "more")),
        (&repo, named(Some("cell"), "more")),
    ] {
        assert_eq!(limit(repo.put_block(&block, Some(&name))), MAX_HOLDER_PINS);
    }
    // What is there may be pinned again.
    holder
        .put_block(&block, Some(&named(None, "first")))
        .unwrap();
    repo.put_block(&block, Some(&named(None, "more"))).unwrap();

    fill(&pins, MAX_PINS);
    let more = named(None, "even more");
    assert_eq!(limit(repo.put_block(&block, Some(&more))), MAX_PINS);
    let hold = repo.hold("node", &[cid(1), cid(2)]).unwrap();
    assert_eq!(pins.files().unwrap().len(), MAX_PINS + 2);
    drop(hold);
    assert_eq!(pins.files().unwrap().len(), MAX_PINS);
}
