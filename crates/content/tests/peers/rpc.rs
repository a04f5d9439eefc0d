//! Each call of Kubo's RPC, with a daemon.

use std::io::{self, Read};

use content::kubo::{Reach, Roots};
use content::remote::{Fault, RemoteError};
use content::{Block, Cid, Codec, KuboStore, MemoryStore, car};

use crate::corpus::{self, CHUNK};
use crate::{contract, parts};

/// A block that no other test has.
fn block(name: &str) -> Block {
    let unique = format!("{name} {:?}", std::time::SystemTime::now());
    Block::new(Codec::Raw, unique.into_bytes()).unwrap()
}

#[test]
fn a_daemon_keeps_the_contract_of_stores() {
    if let Some(kubo) = parts::kubo() {
        contract::hold(&KuboStore::new(kubo));
    }
}

#[test]
fn a_daemon_says_who_it_is() {
    let Some(kubo) = parts::kubo() else { return };
    assert!(kubo.version().unwrap().contains('.'));
    assert!(kubo.id().unwrap().len() > 40);
}

#[test]
fn what_a_daemon_does_not_have_is_an_answer() {
    let Some(kubo) = parts::kubo() else { return };
    let absent = block("absent");
    assert_eq!(kubo.block_get(absent.cid(), Reach::Local).unwrap(), None);
    assert_eq!(kubo.block_stat(absent.cid()).unwrap(), None);
    assert!(!kubo.pin_ls(absent.cid()).unwrap());
    assert!(!kubo.pin_rm(absent.cid()).unwrap());
}

#[test]
fn pins_come_and_go() {
    let Some(kubo) = parts::kubo() else { return };
    let block = block("pinned");
    kubo.block_put(&block).unwrap();
    let size = block.bytes().len() as u64;
    assert_eq!(kubo.block_stat(block.cid()).unwrap(), Some(size));
    assert!(!kubo.pin_ls(block.cid()).unwrap());
    kubo.pin_add(block.cid()).unwrap();
    kubo.pin_add(block.cid()).unwrap();
    assert!(kubo.pin_ls(block.cid()).unwrap());
    assert!(kubo.pin_rm(block.cid()).unwrap());
    assert!(!kubo.pin_rm(block.cid()).unwrap());
}

/// A file of three blocks, of which a CAR holds some.
fn car_without(left_out: Option<usize>) -> (Cid, Vec<u8>) {
    let store = MemoryStore::default();
    let unique = format!("{:?}", std::time::SystemTime::now());
    let mut content = corpus::bytes(2 * CHUNK, 9);
    content[..unique.len()].copy_from_slice(unique.as_bytes());
    content[CHUNK..][..unique.len()].copy_from_slice(unique.as_bytes());
    let root = content::import::stream(&store, &mut &content[..]).unwrap();
    let mut car = car::Writer::new(Vec::new(), &[root]).unwrap();
    let mut at = 0;
    content::dag::walk(&store, &root, &Default::default(), &mut |block| {
        if Some(at) != left_out {
            car.put(block)?;
        }
        at += 1;
        Ok(())
    })
    .unwrap();
    (root, car.finish().unwrap())
}

#[test]
fn a_graph_that_is_not_whole_is_named_when_it_is_imported_and_exported() {
    let Some(kubo) = parts::kubo() else { return };
    let (root, car) = car_without(Some(2));
    assert_eq!(kubo.dag_import(&car[..], Roots::Unpinned).unwrap(), []);
    let mut exported = Vec::new();
    let failed = kubo
        .dag_export(&root, u64::MAX)
        .unwrap()
        .read_to_end(&mut exported)
        .unwrap_err();
    let failed = RemoteError::from_read(failed).unwrap();
    assert!(matches!(failed.fault(), Fault::GaveUp { .. }), "{failed}");

    let (_, car) = car_without(Some(1));
    let refused = kubo.dag_import(&car[..], Roots::Pinned).unwrap_err();
    assert!(
        matches!(
            refused.fault(),
            Fault::GaveUp { .. } | Fault::Refused { .. }
        ),
        "{refused}"
    );
}

#[test]
fn what_is_no_car_is_refused_with_the_daemons_own_words() {
    let Some(kubo) = parts::kubo() else { return };
    let refused = kubo.dag_import(&b"no CAR at all"[..], Roots::Pinned);
    let refused = refused.unwrap_err();
    assert!(
        matches!(
            refused.fault(),
            Fault::GaveUp { .. } | Fault::Refused { .. }
        ),
        "{refused}"
    );
}

#[test]
fn an_upload_whose_source_fails_says_so() {
    let Some(kubo) = parts::kubo() else { return };
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let (_, car) = car_without(None);
    let refused = kubo.dag_import((&car[..1000]).chain(Fails), Roots::Pinned);
    let refused = refused.unwrap_err();
    assert!(matches!(refused.fault(), Fault::Upload(_)), "{refused}");
    assert!(refused.to_string().contains("the disk is gone"));
}
