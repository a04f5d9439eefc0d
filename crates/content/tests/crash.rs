//! What a store keeps when its writers are killed, and when several are at work.
//!
//! Each test starts this very program again as another process, which does one job ([`JOBS`]) and says on
//! its standard error what it has done, a line for each call that has returned. A process is killed with
//! SIGKILL at a moment that chance picks; whatever it had said by then must be there, whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use content::car::{self, Writer};
use content::dag::{self, Limits};
use content::gc::{self, Options};
use content::pins::{self, Pin};
use content::{Block, BlockStore, Cid, Codec, ContentError, EmbeddedStore, MemoryStore, import};

/// How many writers are killed.
const WRITERS: u64 = 300;
/// How many collections of garbage are killed.
const COLLECTORS: u64 = 40;
/// The longest that a writer lives, in microseconds, once it is at work.
const LIFE_MICROS: u64 = 30_000;
/// The longest that a collection goes on, in microseconds. One of what is there takes about as long.
const COLLECTION_MICROS: u64 = 4_000;

/// The name of the test that is the other process.
const HELPER: &str = "another_process";
/// What it says before its job.
const BEGUN: &str = "begun";
const JOB: &str = "CONTENT_TEST_JOB";
const STORE: &str = "CONTENT_TEST_STORE";
const SEED: &str = "CONTENT_TEST_SEED";

type Job = fn(&EmbeddedStore, &mut Chance);

const JOBS: [(&str, Job); 4] = [
    ("write", write),
    ("write_same", write_same),
    ("pin", pin_and_leave_garbage),
    ("collect", collect),
];

/// Numbers that look random and come again with their seed.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// Bytes of which no two pages are the same. Quickly, so that a writer spends its life in writing.
    fn bytes(&mut self, count: u64) -> Vec<u8> {
        let mut out = vec![0; count as usize];
        for page in out.chunks_mut(4096) {
            let stamp = self.below(u64::MAX).to_le_bytes();
            let stamped = page.len().min(stamp.len());
            page[..stamped].copy_from_slice(&stamp[..stamped]);
        }
        out
    }
}

#[test]
#[ignore = "it is the other process of the tests beside it"]
fn another_process() {
    let Ok(job) = std::env::var(JOB) else { return };
    let store = EmbeddedStore::open(Path::new(&std::env::var_os(STORE).unwrap())).unwrap();
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    let (_, job) = JOBS.iter().find(|(name, _)| *name == job).unwrap();
    say(BEGUN);
    job(&store, &mut Chance::new(seed));
}

/// Says that a call has returned. One write of one line, so no half of one can be read as a whole.
fn say(line: &str) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// Puts blocks, imports files and CAR files and pins them, until it is killed.
fn write(store: &EmbeddedStore, chance: &mut Chance) {
    loop {
        match chance.below(4) {
            0 | 1 => {
                let size = 8 + chance.below(400_000);
                let block = Block::new(Codec::Raw, chance.bytes(size)).unwrap();
                store.put(&block).unwrap();
                say(&format!("block {}", block.cid()));
            }
            2 => {
                let writing = store.writing().unwrap();
                let size = 8 + chance.below(700_000);
                let cid = import::stream(store, &mut &chance.bytes(size)[..]).unwrap();
                say(&format!("graph {cid}"));
                pin(store, &writing, chance, cid);
            }
            _ => {
                let (graph, root) = small_graph(chance);
                let mut file = Vec::new();
                car::export(&graph, &root, &Limits::default(), &mut file).unwrap();
                let writing = store.writing().unwrap();
                let imported = car::import(store, &mut &file[..], &Limits::default()).unwrap();
                say(&format!("graph {}", imported.roots[0]));
                pin(store, &writing, chance, imported.roots[0]);
            }
        }
    }
}

fn pin(store: &EmbeddedStore, writing: &content::Writing, chance: &mut Chance, cid: Cid) {
    let name = format!("graph-{}", chance.below(1 << 40));
    let pin = Pin::recursive(name, cid);
    store.pins().add(writing, &pin).unwrap();
    say(&format!("pin {} {cid}", pin.name));
}

/// The same blocks in the same order whoever does it, and some of its own between them.
fn write_same(store: &EmbeddedStore, chance: &mut Chance) {
    let mut same = Chance::new(7);
    for _ in 0..200 {
        for chance in [&mut same, &mut *chance] {
            let size = 8 + chance.below(30_000);
            let block = Block::new(Codec::Raw, chance.bytes(size)).unwrap();
            store.put(&block).unwrap();
            assert_eq!(store.get(block.cid()).unwrap().as_ref(), Some(&block));
            say(&format!("block {}", block.cid()));
        }
    }
}

/// Writes graphs of which every other is pinned.
fn pin_and_leave_garbage(store: &EmbeddedStore, chance: &mut Chance) {
    for n in 0..60 {
        let writing = store.writing().unwrap();
        let (graph, root) = small_graph(chance);
        dag::walk(&graph, &root, &Limits::default(), &mut |block| {
            store.put(block)
        })
        .unwrap();
        if n % 2 == 0 {
            pin(store, &writing, chance, root);
        }
        drop(writing);
        // Long enough for somebody else to get in at times.
        thread::sleep(Duration::from_millis(chance.below(25)));
    }
}

/// Collects garbage again and again, until its standard input ends.
fn collect(store: &EmbeddedStore, chance: &mut Chance) {
    let end = thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let options = Options {
        patience: Duration::from_millis(200),
        ..Options::default()
    };
    while !end.is_finished() {
        match gc::collect(store, &options, &mut |_| {}) {
            Ok(report) => {
                assert!(report.warnings.is_empty(), "{:?}", report.warnings);
                if report.removed > 0 {
                    say(&format!("collected {}", report.removed));
                }
            }
            Err(ContentError::StoreBusy) => {}
            Err(error) => panic!("{error}"),
        }
        // Nobody could write into a store that is collected all the time.
        thread::sleep(Duration::from_millis(chance.below(20)));
    }
}

/// Some leaves below some nodes below one node.
fn small_graph(chance: &mut Chance) -> (MemoryStore, Cid) {
    let store = MemoryStore::default();
    let node = |links: Vec<Cid>| {
        let links: Vec<_> = links
            .iter()
            .map(|cid| format!(r#"{{"/":"{cid}"}}"#))
            .collect();
        let json = format!("[{}]", links.join(","));
        let block = dag::convert(Codec::DagJson, json.as_bytes(), Codec::DagCbor).unwrap();
        store.put(&block).unwrap();
        *block.cid()
    };
    let nodes = (0..3).map(|_| {
        let leaves = (0..4).map(|_| {
            let size = 8 + chance.below(20_000);
            let block = Block::new(Codec::Raw, chance.bytes(size)).unwrap();
            store.put(&block).unwrap();
            *block.cid()
        });
        node(leaves.collect())
    });
    let root = node(nodes.collect());
    (store, root)
}

/// Another process at work.
struct Other {
    child: Child,
    said: JoinHandle<Vec<String>>,
}

impl Other {
    fn start(job: &str, store: &Path, seed: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([HELPER, "--exact", "--ignored", "--nocapture"])
            .env(JOB, job)
            .env(STORE, store)
            .env(SEED, seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (begun, has_begun) = std::sync::mpsc::channel();
        let said = thread::spawn(move || {
            let mut lines = Vec::new();
            let mut line = String::new();
            while stderr.read_line(&mut line).unwrap() > 0 {
                let _ = begun.send(());
                // What does not end in a newline was cut off by the kill, and is no word.
                if let Some(line) = line.strip_suffix('\n').filter(|line| *line != BEGUN) {
                    lines.push(line.to_owned());
                }
                line.clear();
            }
            lines
        });
        // From here on it is at work.
        let _ = has_begun.recv();
        Self { child, said }
    }

    /// Kills it, and returns what it had said.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.end().1
    }

    /// Lets it end by itself.
    fn finish(self) -> Vec<String> {
        let (status, said) = self.end();
        let last = &said[said.len().saturating_sub(20)..];
        assert!(status.success(), "{last:#?}");
        said
    }

    fn end(mut self) -> (ExitStatus, Vec<String>) {
        drop(self.child.stdin.take());
        let said = self.said.join().unwrap();
        (self.child.wait().unwrap(), said)
    }
}

struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// In memory where there is such a place: what dies here is a process and not a disk, and on a busy
    /// disk each flush of a pin takes its time.
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let directory = directory.unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn open(&self) -> EmbeddedStore {
        EmbeddedStore::open(&self.path()).unwrap()
    }

    fn blocks(&self) -> usize {
        let shards = fs::read_dir(self.path().join("blocks")).unwrap();
        shards
            .map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count())
            .sum()
    }

    fn half_written(&self) -> usize {
        fs::read_dir(self.path().join("incoming")).unwrap().count()
    }
}

/// Checks that everything in `said` is so, and returns how much that was.
fn hold_to(store: &EmbeddedStore, said: &[String]) -> usize {
    let listed: HashSet<(String, Cid)> = store
        .pins()
        .list()
        .unwrap()
        .into_iter()
        .map(|pin| (pin.name, pin.cid))
        .collect();
    for line in said {
        let words: Vec<_> = line.split(' ').collect();
        let cid = |at: usize| words[at].parse::<Cid>().unwrap();
        match words[0] {
            "block" => assert!(store.get(&cid(1)).unwrap().is_some(), "{line}"),
            "graph" => {
                dag::walk(store, &cid(1), &Limits::default(), &mut |_| Ok(())).unwrap();
            }
            "pin" => assert!(listed.contains(&(words[1].to_owned(), cid(2))), "{line}"),
            _ => panic!("{line}"),
        }
    }
    said.len()
}

/// Checks that every pin there is, said or not, keeps a whole graph.
fn hold_pins(store: &EmbeddedStore, known: &mut HashSet<Pin>) -> usize {
    let listed = store.pins().list().unwrap();
    for pin in &listed {
        if known.insert(pin.clone()) {
            let health = pins::verify(store, pin, &Limits::default()).unwrap();
            assert!(health.is_whole(), "{pin:?}: {:?}", health.faults);
        }
    }
    listed.len()
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_that_it_had_acknowledged() {
    let mut chance = Chance::new(1);
    let (mut acknowledged, mut cut_short) = (0, 0);
    // A new store now and then, so that small ones are met as well.
    for round in 0..WRITERS / 25 {
        let scratch = Scratch::new();
        let (mut everything, mut known) = (Vec::new(), HashSet::new());
        for n in 0..25 {
            let writer = Other::start("write", &scratch.path(), round * 25 + n);
            thread::sleep(Duration::from_micros(chance.below(LIFE_MICROS)));
            let said = writer.kill();
            cut_short += usize::from(scratch.half_written() > 0);
            let store = scratch.open();
            assert_eq!(scratch.half_written(), 0);
            acknowledged += hold_to(&store, &said);
            hold_pins(&store, &mut known);
            everything.extend(said);
        }
        let store = scratch.open();
        hold_to(&store, &everything);
        // With what was never pinned gone, the pins are still whole.
        gc::collect(&store, &Options::default(), &mut |_| {}).unwrap();
        hold_pins(&store, &mut HashSet::new());
    }
    println!(
        "{WRITERS} writers killed, {cut_short} inside a write; {acknowledged} acknowledgements held"
    );
    assert!(acknowledged > 0);
}

#[test]
fn a_collection_killed_at_any_moment_has_removed_garbage_alone() {
    let mut chance = Chance::new(2);
    let scratch = Scratch::new();
    let store = scratch.open();
    let (mut kept, mut cut_short) = (0, 0);
    for n in 0..COLLECTORS {
        let writing = store.writing().unwrap();
        for part in 0..24 {
            let (graph, root) = small_graph(&mut Chance::new(1000 + 24 * n + part));
            dag::walk(&graph, &root, &Limits::default(), &mut |block| {
                store.put(block)
            })
            .unwrap();
            if part == 0 {
                pin(&store, &writing, &mut chance, root);
                kept += 1;
            }
        }
        drop(writing);
        let before = scratch.blocks();
        let collector = Other::start("collect", &scratch.path(), n);
        thread::sleep(Duration::from_micros(chance.below(COLLECTION_MICROS)));
        collector.kill();
        assert_eq!(hold_pins(&store, &mut HashSet::new()), kept);
        cut_short += usize::from((kept * 16 + 1..before).contains(&scratch.blocks()));
    }
    println!("{COLLECTORS} collections killed, {cut_short} with some garbage gone and some not");
    assert!(cut_short > 0);
}

#[test]
fn processes_write_the_same_and_other_blocks_at_once() {
    let scratch = Scratch::new();
    let writers = [1, 2, 3].map(|seed| Other::start("write_same", &scratch.path(), seed));
    let said = writers.map(Other::finish);
    let store = scratch.open();
    for said in said {
        assert_eq!(hold_to(&store, &said), 400);
    }
}

#[test]
fn a_process_collects_while_others_write_and_pin_and_no_pin_loses_a_block() {
    let scratch = Scratch::new();
    let collector = Other::start("collect", &scratch.path(), 0);
    let writers = [11, 12].map(|seed| Other::start("pin", &scratch.path(), seed));
    let said = writers.map(Other::finish);
    let collected = collector.finish();
    let store = scratch.open();
    for said in &said {
        assert_eq!(hold_to(&store, said), 30);
    }
    assert_eq!(hold_pins(&store, &mut HashSet::new()), 60);
    let removed: u64 = collected
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    let rest = gc::collect(&store, &Options::default(), &mut |_| {}).unwrap();
    hold_pins(&store, &mut HashSet::new());
    println!(
        "{} collections; {removed} blocks removed meanwhile, {} after",
        collected.len(),
        rest.removed
    );
    assert_eq!(removed + rest.removed, 60 * 16);
}

#[test]
fn a_car_file_that_is_not_whole_pins_nothing() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let (graph, root) = small_graph(&mut Chance::new(3));
    let mut writer = Writer::new(Vec::new(), &[root]).unwrap();
    dag::walk(&graph, &root, &Limits::default(), &mut |block| {
        writer.put(block)
    })
    .unwrap();
    let file = writer.finish().unwrap();
    let half = &file[..file.len() / 2];
    assert!(car::import(&store, &mut &half[..], &Limits::default()).is_err());
    let report = gc::collect(&store, &Options::default(), &mut |_| {}).unwrap();
    assert_eq!(report.kept, 0);
}
