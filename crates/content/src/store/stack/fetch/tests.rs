use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{BlockStore, MemoryStore, Source, import};

/// A source with a store behind it, which counts what it is asked.
#[derive(Default)]
struct Peer {
    store: MemoryStore,
    gets: AtomicUsize,
    car: Mutex<Option<Vec<u8>>>,
}

impl BlockStore for Peer {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        self.store.put(block)
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.store.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.store.has(cid)
    }
}

impl Source for Peer {
    fn name(&self) -> &str {
        "peer"
    }

    fn car(&self, _: &Cid, _: u64) -> Result<Option<Box<dyn Read + Send>>, ContentError> {
        let car = self.car.lock().unwrap().clone();
        Ok(car.map(|car| Box::new(std::io::Cursor::new(car)) as _))
    }
}

struct World {
    peer: Arc<Peer>,
    local: Arc<MemoryStore>,
    stack: Stack,
    events: Arc<Mutex<Vec<String>>>,
    root: Cid,
    blocks: Vec<Block>,
}

/// A peer that has a tree of some fifty blocks, which we do not have.
fn world() -> World {
    let scratch = tempfile::tempdir().unwrap();
    for directory in 0..4 {
        let path = scratch.path().join(format!("d{directory}"));
        std::fs::create_dir(&path).unwrap();
        for file in 0..12 {
            std::fs::write(path.join(format!("f{file}")), format!("{directory}.{file}")).unwrap();
        }
    }
    let peer = Arc::new(Peer::default());
    let tops = ["d0", "d1", "d2", "d3"];
    let root = import::directory(&*peer, scratch.path(), &tops).unwrap();
    let mut blocks = Vec::new();
    crate::dag::walk(&peer.store, &root, &Limits::default(), &mut |block| {
        blocks.push(block.clone());
        Ok(())
    })
    .unwrap();
    let local = Arc::new(MemoryStore::default());
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    let stack = Stack::new(local.clone(), vec![peer.clone()], move |event| {
        told.lock().unwrap().push(format!("{event:?}"));
    });
    World {
        peer,
        local,
        stack,
        events,
        root,
        blocks,
    }
}

impl World {
    fn fetch(&self) -> Result<Walked, ContentError> {
        self.stack.fetch(&self.root, &Limits::default(), &|_| {
            ControlFlow::Continue(())
        })
    }

    fn all_is_here(&self) -> bool {
        let here = |block: &Block| self.local.get(block.cid()).unwrap().is_some();
        self.blocks.iter().all(here)
    }

    fn gets(&self) -> usize {
        self.peer.gets.load(Ordering::Relaxed)
    }

    fn give_car<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        let mut car = car::Writer::new(Vec::new(), &[self.root]).unwrap();
        for block in blocks {
            car.put(block).unwrap();
        }
        *self.peer.car.lock().unwrap() = Some(car.finish().unwrap());
    }
}

fn stray(number: u64) -> Block {
    Block::new(Codec::Raw, number.to_be_bytes().to_vec()).unwrap()
}

#[test]
fn a_source_without_cars_is_asked_for_each_block_once() {
    let world = world();
    let walked = world.fetch().unwrap();
    assert!(world.all_is_here());
    assert_eq!(walked.blocks as usize, world.blocks.len());
    assert_eq!(world.gets(), world.blocks.len());
    world.fetch().unwrap();
    assert_eq!(
        world.gets(),
        world.blocks.len(),
        "what is here is not asked for"
    );
}

#[test]
fn a_car_brings_everything_in_one_request() {
    let world = world();
    world.give_car(&world.blocks);
    let walked = world.fetch().unwrap();
    assert!(world.all_is_here());
    assert_eq!(walked.blocks as usize, world.blocks.len());
    assert_eq!(world.gets(), 0);
}

#[test]
fn what_a_car_lacks_is_asked_for_one_by_one() {
    let world = world();
    // Every third block is left out, and with the first directory all that was to be below it.
    let some = || {
        let blocks = world.blocks.iter().enumerate();
        blocks.filter(|(at, _)| at % 3 != 1).map(|(_, block)| block)
    };
    world.give_car(some());
    world.fetch().unwrap();
    assert!(world.all_is_here());
    assert!(world.gets() > 0 && world.gets() < world.blocks.len());
}

#[test]
fn a_car_that_is_cut_lies_or_is_none_costs_a_report_and_nothing_else() {
    let whole = world();
    whole.give_car(&whole.blocks);
    let car = whole.peer.car.lock().unwrap().clone().unwrap();
    let mut wrong = car.clone();
    *wrong.last_mut().unwrap() ^= 1;
    for (car, kind) in [
        (car[..car.len() / 2].to_vec(), "Failed"),
        (car[..1].to_vec(), "Failed"),
        (wrong, "Lied"),
        (b"<html>".to_vec(), "Failed"),
    ] {
        let world = world();
        *world.peer.car.lock().unwrap() = Some(car);
        world.fetch().unwrap();
        assert!(world.all_is_here());
        let mut events = world.events.lock().unwrap().clone();
        events.retain(|event| !event.starts_with("Came"));
        assert!(
            events.len() == 1 && events[0].starts_with(kind),
            "{events:?}"
        );
    }
}

#[test]
fn blocks_that_do_not_belong_are_not_kept_and_many_of_them_end_the_car() {
    let world = world();
    let strays: Vec<_> = (0..10).map(stray).collect();
    world.give_car(strays.iter().chain(&world.blocks).chain(&strays));
    world.fetch().unwrap();
    assert!(world.all_is_here());
    assert!(
        strays
            .iter()
            .all(|stray| !world.local.has(stray.cid()).unwrap())
    );
    assert_eq!(world.gets(), 0);

    let flooded = self::world();
    let flood: Vec<_> = (0..=MAX_STRAY_BLOCKS).map(stray).collect();
    flooded.give_car(flood.iter().chain(&flooded.blocks));
    flooded.fetch().unwrap();
    assert!(flooded.all_is_here());
    assert_eq!(flooded.gets(), flooded.blocks.len());
}

#[test]
fn a_block_that_nobody_has_is_named_and_the_rest_stays() {
    let world = world();
    let partial = Arc::new(Peer::default());
    let (missing, rest) = world.blocks.split_last().unwrap();
    for block in rest {
        partial.put(block).unwrap();
    }
    let stack = Stack::new(world.local.clone(), vec![partial], |_| {});
    let go_on = |_| ControlFlow::Continue(());
    let refused = stack.fetch(&world.root, &Limits::default(), &go_on);
    assert!(
        matches!(&refused, Err(ContentError::BlockMissing { cid }) if cid == missing.cid()),
        "{refused:?}"
    );
    world.fetch().unwrap();
    assert!(world.all_is_here());
}

#[test]
fn limits_hold_for_cars_and_for_blocks() {
    for with_car in [false, true] {
        let world = world();
        if with_car {
            world.give_car(&world.blocks);
        }
        let fetch = |limits| {
            let go_on = |_| ControlFlow::Continue(());
            world.stack.fetch(&world.root, &limits, &go_on)
        };
        let few = Limits {
            blocks: 20,
            ..Limits::default()
        };
        let refused = fetch(few);
        assert!(
            matches!(
                refused,
                Err(ContentError::Dag(DagError::TooManyBlocks { limit: 20, .. }))
            ),
            "{refused:?}"
        );
        let small = Limits {
            bytes: 10,
            ..Limits::default()
        };
        let refused = fetch(small);
        assert!(
            matches!(
                refused,
                Err(ContentError::Dag(DagError::TooManyBytes { limit: 10, .. }))
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn whoever_asked_can_stop_it() {
    for with_car in [false, true] {
        let world = world();
        if with_car {
            world.give_car(&world.blocks);
        }
        let stop = |walked: Walked| match walked.blocks {
            0..5 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let stopped = world.stack.fetch(&world.root, &Limits::default(), &stop);
        assert!(matches!(stopped, Err(ContentError::Cancelled)));
        assert!(!world.all_is_here());
    }
}

#[test]
fn a_hook_that_panics_leaves_nobody_waiting() {
    let world = world();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let panics = |_| panic!("in a hook");
        world.stack.fetch(&world.root, &Limits::default(), &panics)
    }));
    assert!(outcome.is_err());
}
