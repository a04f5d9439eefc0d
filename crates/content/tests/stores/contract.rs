//! What every store must do.

use cid::multihash::Multihash;
use content::{Block, BlockStore, Cid, Codec, ContentError, MAX_BLOCK_BYTES};

pub fn what_was_put_comes_back(store: &dyn BlockStore) {
    for bytes in [vec![], vec![7], vec![1; 70_000], vec![2; MAX_BLOCK_BYTES]] {
        for codec in [Codec::Raw, Codec::DagPb, Codec::DagCbor, Codec::DagJson] {
            let block = Block::new(codec, bytes.clone()).unwrap();
            store.put(&block).unwrap();
            store.put(&block).unwrap();
            assert!(store.has(block.cid()).unwrap());
            assert_eq!(store.get(block.cid()).unwrap(), Some(block));
        }
    }
}

pub fn what_was_not_put_is_not_there(store: &dyn BlockStore) {
    let block = Block::new(Codec::Raw, &b"never put"[..]).unwrap();
    assert!(!store.has(block.cid()).unwrap());
    assert_eq!(store.get(block.cid()).unwrap(), None);
}

pub fn a_block_is_found_under_both_versions_of_its_cid(store: &dyn BlockStore) {
    let block = Block::new(Codec::DagPb, &b"two names"[..]).unwrap();
    store.put(&block).unwrap();
    let v0 = Cid::new_v0(*block.cid().hash()).unwrap();
    let found = store.get(&v0).unwrap().unwrap();
    assert_eq!((found.cid(), found.bytes()), (&v0, block.bytes()));
}

pub fn hashes_that_cannot_be_checked_are_refused(store: &dyn BlockStore) {
    let identity = Cid::new_v1(0x55, Multihash::wrap(0, b"inline").unwrap());
    for refused in [
        store.get(&identity).map(drop),
        store.has(&identity).map(drop),
    ] {
        assert!(matches!(refused, Err(ContentError::UnsupportedHash { .. })));
    }
}

pub fn threads_may_put_and_get_the_same_block_at_once(store: &dyn BlockStore) {
    let block = Block::new(Codec::Raw, vec![9; 100_000]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    store.put(&block).unwrap();
                    assert_eq!(store.get(block.cid()).unwrap().as_ref(), Some(&block));
                }
            });
        }
    });
}

/// All of it.
pub fn hold(store: &dyn BlockStore) {
    what_was_not_put_is_not_there(store);
    what_was_put_comes_back(store);
    a_block_is_found_under_both_versions_of_its_cid(store);
    hashes_that_cannot_be_checked_are_refused(store);
    threads_may_put_and_get_the_same_block_at_once(store);
}
