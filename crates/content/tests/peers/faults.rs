//! What goes wrong between us and a server has a name, ends within its deadline, and does no harm.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use content::dag::{self, Limits};
use content::kubo::{Kubo, Reach, Roots};
use content::remote::{Deadlines, Fault, Phase, RemoteError};
use content::{
    Block, BlockStore, Cid, Codec, ContentError, EmbeddedStore, GatewayStore, KuboStore,
    MAX_BLOCK_BYTES, MemoryStore, Source, Stack, car, import,
};

use crate::corpus::{self, CHUNK};
use crate::parts;
use crate::proxy::{Mode, Proxy};

/// Short, so that what fails fails soon; with room for a busy machine in what must succeed.
const SHORT: Deadlines = Deadlines {
    connect: Duration::from_secs(5),
    answer: Duration::from_millis(700),
    progress: Duration::from_millis(500),
    call: Duration::from_secs(2),
    stream: Duration::from_secs(30),
};

/// The end of any of it, however busy the machine is.
const GENEROUS: Duration = Duration::from_secs(60);

const BROKEN: [Mode; 11] = [
    Mode::Trickle,
    Mode::Cut,
    Mode::Deaf,
    Mode::Mute,
    Mode::Garbage,
    Mode::Flip,
    Mode::Endless,
    Mode::EndlessHead,
    Mode::Status500,
    Mode::Redirect,
    Mode::Slow,
];

/// A file of some ten blocks, its root, and all as a CAR.
struct Graph {
    store: MemoryStore,
    root: Cid,
    leaf: Block,
    car: Vec<u8>,
}

fn graph(seed: u64) -> Graph {
    let store = MemoryStore::default();
    let content = corpus::bytes(9 * CHUNK + 1, seed);
    let root = import::stream(&store, &mut &content[..]).unwrap();
    let mut car = Vec::new();
    car::export(&store, &root, &Limits::default(), &mut car).unwrap();
    let leaf = Block::new(Codec::Raw, content[..CHUNK].to_vec()).unwrap();
    Graph {
        store,
        root,
        leaf,
        car,
    }
}

fn soon<T>(what: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let answer = what();
    assert!(began.elapsed() < GENEROUS);
    answer
}

/// Whether `fault` is what `mode` must be called when a single block is asked for.
fn is_named(mode: Mode, fault: &Fault) -> bool {
    match mode {
        Mode::Trickle => {
            matches!(fault, Fault::Late { phase: Phase::Whole, limit } if *limit == SHORT.call)
        }
        Mode::Cut => matches!(fault, Fault::Cut { .. }),
        Mode::Deaf | Mode::Mute => {
            matches!(fault, Fault::Late { phase: Phase::Answer, limit } if *limit == SHORT.answer)
        }
        Mode::Garbage | Mode::EndlessHead => matches!(fault, Fault::Garbled { .. }),
        Mode::Endless => {
            matches!(fault, Fault::TooLong { limit } if *limit == MAX_BLOCK_BYTES as u64)
        }
        Mode::Status500 => {
            matches!(fault, Fault::Refused { status: 500, message } if message == "out of order")
        }
        Mode::Redirect => matches!(fault, Fault::Redirect { status: 307, .. }),
        Mode::Flip | Mode::Slow | Mode::Pass => false,
    }
}

fn assert_named(mode: Mode, got: Result<Option<Block>, ContentError>) {
    match (mode, &got) {
        (Mode::Slow | Mode::Pass, Ok(Some(_))) => {}
        (Mode::Flip, Err(ContentError::BlockCorrupt { .. })) => {}
        (_, Err(ContentError::Remote(error))) if is_named(mode, error.fault()) => {
            // The message names who was asked.
            assert!(error.to_string().contains(error.url()));
        }
        _ => panic!("{mode:?}: {got:?}"),
    }
}

/// Asks through a broken line for one block and for all of it, into a store that has something already.
fn no_harm(mode: Mode, graph: &Graph, broken: Arc<dyn Source>, sound: Arc<dyn Source>) {
    let scratch = tempfile::tempdir().unwrap();
    let local = Arc::new(EmbeddedStore::open(&scratch.path().join("store")).unwrap());
    let kept = import::stream(&*local, &mut &corpus::bytes(2 * CHUNK, 99)[..]).unwrap();
    let go_on = |_| ControlFlow::Continue(());
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    let stack = Stack::new(local.clone(), vec![broken], move |event| {
        told.lock().unwrap().push(format!("{event:?}"));
    });
    let fetched = soon(|| stack.fetch(&graph.root, &Limits::default(), &go_on));
    match mode {
        Mode::Slow => assert!(fetched.is_ok(), "{fetched:?}"),
        _ => {
            assert!(
                matches!(fetched, Err(ContentError::NoSource { .. })),
                "{mode:?}: {fetched:?}"
            );
            assert!(!events.lock().unwrap().is_empty(), "{mode:?}");
        }
    }
    // What was there is there, and what came is right.
    dag::walk(&*local, &kept, &Limits::default(), &mut |_| Ok(())).unwrap();
    dag::walk(
        &graph.store,
        &graph.root,
        &Limits::default(),
        &mut |block| {
            let here = local.get(block.cid())?;
            assert!(here.is_none_or(|here| here.bytes() == block.bytes()));
            Ok(())
        },
    )
    .unwrap();
    // Over a sound line, the rest comes.
    let stack = Stack::new(local.clone(), vec![sound], |event| panic!("{event:?}"));
    stack
        .fetch(&graph.root, &Limits::default(), &go_on)
        .unwrap();
    dag::walk(&*local, &graph.root, &Limits::default(), &mut |_| Ok(())).unwrap();
}

#[test]
fn a_broken_line_to_kubo_is_named_and_does_no_harm() {
    let (Some(url), Some(kubo)) = (parts::kubo_url(), parts::kubo()) else {
        return;
    };
    let graph = graph(21);
    kubo.dag_import(&graph.car[..], Roots::Unpinned).unwrap();
    for mode in BROKEN {
        let proxy = Proxy::new(&url);
        proxy.set(mode);
        let client = || Kubo::new(&proxy.url, SHORT).unwrap();
        let got = soon(|| KuboStore::new(client()).get(graph.leaf.cid()));
        assert_named(mode, got);
        no_harm(
            mode,
            &graph,
            Arc::new(KuboStore::new(client())),
            Arc::new(KuboStore::new(kubo.clone())),
        );
        assert_eq!(
            proxy.astray.load(Ordering::Relaxed),
            0,
            "a redirect was followed"
        );
    }
}

#[test]
fn a_broken_line_to_a_gateway_is_named_and_does_no_harm() {
    let Some(url) = parts::boxo_url() else { return };
    let graph = graph(22);
    ureq::post(format!("{url}/car"))
        .send(&graph.car[..])
        .unwrap();
    let sound = GatewayStore::new(&url, Deadlines::default()).unwrap();
    for mode in BROKEN {
        let proxy = Proxy::new(&url);
        proxy.set(mode);
        let client = || GatewayStore::new(&proxy.url, SHORT).unwrap();
        let got = soon(|| client().get(graph.leaf.cid()));
        assert_named(mode, got);
        no_harm(mode, &graph, Arc::new(client()), Arc::new(sound.clone()));
        assert_eq!(
            proxy.astray.load(Ordering::Relaxed),
            0,
            "a redirect was followed"
        );
    }
}

#[test]
fn a_source_that_does_not_answer_is_left_alone_and_the_next_gives_all() {
    let Some(url) = parts::boxo_url() else { return };
    let graph = graph(26);
    ureq::post(format!("{url}/car"))
        .send(&graph.car[..])
        .unwrap();
    let proxy = Proxy::new(&url);
    proxy.set(Mode::Mute);
    let mute = KuboStore::new(Kubo::new(&proxy.url, SHORT).unwrap());
    let sound = GatewayStore::new(&url, Deadlines::default()).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    let local = Arc::new(MemoryStore::default());
    let sources: Vec<Arc<dyn Source>> = vec![Arc::new(mute), Arc::new(sound)];
    let stack = Stack::new(local.clone(), sources, move |event| {
        told.lock().unwrap().push(format!("{event:?}"));
    });
    dag::walk(&stack, &graph.root, &Limits::default(), &mut |_| Ok(())).unwrap();
    dag::walk(&*local, &graph.root, &Limits::default(), &mut |_| Ok(())).unwrap();
    // Each of the eleven blocks would have cost a deadline.
    let events = events.lock().unwrap();
    assert!(events.len() < 11, "{events:?}");
}

#[test]
fn a_server_without_tls_where_tls_was_asked_for_is_named() {
    let Some(url) = parts::boxo_url() else { return };
    let url = url.replace("http://", "https://");
    let store = GatewayStore::new(&url, SHORT).unwrap();
    let got = soon(|| store.get(graph(27).leaf.cid()));
    match got {
        Err(ContentError::Remote(error)) if matches!(error.fault(), Fault::Tls { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_that_stops_moving_ends_and_one_that_is_slow_does_not() {
    let (Some(url), Some(kubo)) = (parts::kubo_url(), parts::kubo()) else {
        return;
    };
    let graph = graph(23);
    kubo.dag_import(&graph.car[..], Roots::Unpinned).unwrap();
    let proxy = Proxy::new(&url);
    let export = |mode| {
        proxy.set(mode);
        let kubo = Kubo::new(&proxy.url, SHORT).unwrap();
        let mut car = Vec::new();
        let read = soon(|| {
            kubo.dag_export(&graph.root, u64::MAX)?
                .read_to_end(&mut car)
                .map_err(|error| RemoteError::from_read(error).unwrap())
        });
        read.map(|_| car)
    };
    let stopped = export(Mode::Trickle).unwrap_err();
    assert!(
        matches!(stopped.fault(), Fault::Late { phase: Phase::Progress, limit } if *limit == SHORT.progress),
        "{stopped}"
    );
    let cut = export(Mode::Cut).unwrap_err();
    assert!(matches!(cut.fault(), Fault::Cut { .. }), "{cut}");
    // Three hundred pieces, 30 ms apart: many times each deadline but that of the whole.
    assert!(export(Mode::Slow).unwrap() == graph.car);
}

#[test]
fn a_stream_ends_at_its_limit() {
    let Some(kubo) = parts::kubo() else { return };
    let graph = graph(24);
    kubo.dag_import(&graph.car[..], Roots::Unpinned).unwrap();
    let mut download = kubo.dag_export(&graph.root, 1000).unwrap();
    let refused = download.read_to_end(&mut Vec::new()).unwrap_err();
    let refused = RemoteError::from_read(refused).unwrap();
    assert!(matches!(refused.fault(), Fault::TooLong { limit: 1000 }));
}

#[test]
fn an_upload_over_a_broken_line_is_named() {
    let (Some(url), Some(kubo)) = (parts::kubo_url(), parts::kubo()) else {
        return;
    };
    let graph = graph(25);
    // More than what the system takes off our hands for a peer that does not read.
    let big = graph_of(64 * 1024 * 1024);
    let proxy = Proxy::new(&url);
    for mode in [
        Mode::Deaf,
        Mode::Mute,
        Mode::Garbage,
        Mode::Status500,
        Mode::Redirect,
    ] {
        proxy.set(mode);
        let client = Kubo::new(&proxy.url, SHORT).unwrap();
        let put = soon(|| client.block_put(&graph.leaf)).unwrap_err();
        let sent = soon(|| client.dag_import(&big[..], Roots::Pinned)).unwrap_err();
        for error in [&put, &sent] {
            let named = match mode {
                Mode::Deaf | Mode::Mute => matches!(
                    error.fault(),
                    Fault::Late {
                        phase: Phase::Answer | Phase::Progress,
                        ..
                    }
                ),
                Mode::Garbage => matches!(error.fault(), Fault::Garbled { .. }),
                Mode::Status500 => matches!(error.fault(), Fault::Refused { status: 500, .. }),
                _ => matches!(error.fault(), Fault::Redirect { .. }),
            };
            assert!(named, "{mode:?}: {error}");
        }
    }
    assert_eq!(
        kubo.block_get(graph.leaf.cid(), Reach::Local).unwrap(),
        None
    );
}

/// A CAR of about as many bytes.
fn graph_of(bytes: usize) -> Vec<u8> {
    let blocks = (0..bytes / CHUNK)
        .map(|seed| Block::new(Codec::Raw, corpus::bytes(CHUNK, 1000 + seed as u64)).unwrap());
    let blocks: Vec<_> = blocks.collect();
    let mut car = car::Writer::new(Vec::new(), &[*blocks[0].cid()]).unwrap();
    for block in &blocks {
        car.put(block).unwrap();
    }
    car.finish().unwrap()
}
