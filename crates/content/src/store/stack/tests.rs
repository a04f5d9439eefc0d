use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::kubo::Kubo;
use crate::remote::Deadlines;
use crate::{Codec, KuboStore, MemoryStore};

type Answer = dyn Fn(&Cid) -> Result<Option<Block>, ContentError> + Send + Sync;

/// A source that answers as it is told.
struct Told {
    answer: Box<Answer>,
    asked: AtomicUsize,
}

impl Told {
    fn new(
        answer: impl Fn(&Cid) -> Result<Option<Block>, ContentError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            answer: Box::new(answer),
            asked: AtomicUsize::new(0),
        })
    }
}

impl BlockStore for Told {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        unreachable!("{:?} was put into a source", block.cid())
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        (self.answer)(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        Ok(self.get(cid)?.is_some())
    }
}

impl Source for Told {
    fn name(&self) -> &str {
        "told"
    }
}

type Log = Arc<Mutex<Vec<String>>>;

fn stack(sources: &[&Arc<Told>]) -> (Arc<MemoryStore>, Log, Stack) {
    let local = Arc::new(MemoryStore::default());
    let log = Log::default();
    let told = log.clone();
    let sources = sources
        .iter()
        .map(|source| -> Arc<dyn Source> { (*source).clone() })
        .collect();
    let stack = Stack::new(local.clone(), sources, move |event| {
        told.lock().unwrap().push(format!("{event:?}"));
    });
    (local, log, stack)
}

fn block() -> Block {
    Block::new(Codec::Raw, &b"content"[..]).unwrap()
}

fn liar(cid: &Cid) -> Result<Option<Block>, ContentError> {
    Block::verified(*cid, &b"other"[..]).map(Some)
}

fn broken(_: &Cid) -> Result<Option<Block>, ContentError> {
    Err(ContentError::Read(io::Error::from(ErrorKind::TimedOut)))
}

#[test]
fn the_first_source_that_has_it_gives_it_once_and_for_all() {
    let (empty, has, never) = (
        Told::new(|_| Ok(None)),
        Told::new(|_| Ok(Some(block()))),
        Told::new(broken),
    );
    let (local, log, stack) = stack(&[&empty, &has, &never]);
    for _ in 0..3 {
        assert_eq!(stack.get(block().cid()).unwrap(), Some(block()));
    }
    assert_eq!(local.get(block().cid()).unwrap(), Some(block()));
    let asked = [&empty, &has, &never].map(|told| told.asked.load(Ordering::Relaxed));
    assert_eq!(asked, [1, 1, 0]);
    let log = log.lock().unwrap();
    assert!(log.len() == 1 && log[0].starts_with("Came"), "{log:?}");
}

#[test]
fn a_liar_and_a_failure_are_named_and_the_next_is_asked() {
    let (lies, fails, has) = (
        Told::new(liar),
        Told::new(broken),
        Told::new(|_| Ok(Some(block()))),
    );
    let (local, log, stack) = stack(&[&lies, &fails, &has]);
    assert_eq!(stack.get(block().cid()).unwrap(), Some(block()));
    assert_eq!(local.get(block().cid()).unwrap(), Some(block()));
    let log = log.lock().unwrap();
    let kinds: Vec<_> = log.iter().map(|event| event.split(' ').next()).collect();
    assert_eq!(kinds, [Some("Lied"), Some("Failed"), Some("Came")]);
}

#[test]
fn nobody_has_it_is_said_only_if_all_said_so() {
    let (empty, lies, fails) = (Told::new(|_| Ok(None)), Told::new(liar), Told::new(broken));
    let (_, _, quiet) = stack(&[&empty, &empty]);
    assert_eq!(quiet.get(block().cid()).unwrap(), None);
    assert!(!quiet.has(block().cid()).unwrap());
    let (local, _, loud) = stack(&[&lies, &empty, &fails]);
    let error = loud.get(block().cid()).unwrap_err();
    let ContentError::NoSource { cid, reasons } = error else {
        unreachable!("{error}")
    };
    assert_eq!(cid, *block().cid());
    assert!(reasons.contains("other bytes") && reasons.contains("timed out"));
    assert!(!local.has(block().cid()).unwrap());
}

#[test]
fn a_source_that_is_not_there_is_left_alone_for_a_while() {
    // Nobody listens on the port of a listener that is gone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let kubo = KuboStore::new(Kubo::new(&url, Deadlines::default()).unwrap());
    let log = Log::default();
    let told = log.clone();
    let stack = Stack::new(
        Arc::new(MemoryStore::default()),
        vec![Arc::new(kubo)],
        move |event| told.lock().unwrap().push(format!("{event:?}")),
    );
    for _ in 0..10 {
        let error = stack.get(block().cid()).unwrap_err().to_string();
        assert!(
            error.contains("ipfs daemon") && error.contains(&url),
            "{error}"
        );
    }
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[test]
fn a_copy_that_went_bad_is_repaired_from_a_source() {
    use crate::EmbeddedStore;
    let scratch = tempfile::tempdir().unwrap();
    let local = Arc::new(EmbeddedStore::open(&scratch.path().join("store")).unwrap());
    local.put(&block()).unwrap();
    let damage = || {
        for shard in std::fs::read_dir(scratch.path().join("store/blocks")).unwrap() {
            for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
                std::fs::write(file.unwrap().path(), b"bad").unwrap();
            }
        }
    };
    damage();
    let stack = |source: Arc<Told>| Stack::new(local.clone(), vec![source], |_| {});
    let refused = stack(Told::new(|_| Ok(None))).get(block().cid());
    assert!(matches!(refused, Err(ContentError::BlockCorrupt { .. })));
    let repaired = stack(Told::new(|_| Ok(Some(block())))).get(block().cid());
    assert_eq!(repaired.unwrap(), Some(block()));
    assert_eq!(local.get(block().cid()).unwrap(), Some(block()));
}
