//! What content costs: importing a gibibyte into the embedded store and reading it back, beside what the
//! processor hashes and what `cp` and `cat` do with the same files at the same moment. `cargo bench
//! --package content`; a word picks rows, `--gibibytes N` another amount, `--in DIR` another place.
//!
//! What hashes cannot be quicker than hashing: where the ratio of reading to `cat` stays under its bound,
//! look whether two cores hash that much at all.
//!
//! The rows take turns, because machines change their speed while they are measured; each is the median
//! of its rounds. Files are in the page cache, as after a build; nothing is flushed to the platter, by
//! nobody. What a round wrote is emptied after it and not removed before the end, because ext4 looks long
//! for a free inode where many were deleted in the last minutes, which would be all that is measured.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use content::import::DryRun;
use content::tree::LocalTree;
use content::{Block, Cid, Codec, EmbeddedStore, export, import, read};

#[path = "../tests/peers/parts.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod parts;

/// What `ipfs add` is made of, as the fastest that it can be: it keeps the blocks in memory. Means nothing where
/// `scripts/parts.sh` has not run.
const BOXO: &str = "boxo's importer, 64 files, into memory";

const CHUNK: usize = 256 * 1024;
const FILES: usize = 64;
const ROUNDS: usize = 5;

/// A row: what it does, to what it is compared, and what it should reach of that.
struct Row {
    name: &'static str,
    peer: Option<(&'static str, f64)>,
    /// Is given a directory of its own, which is not there yet.
    run: Box<dyn Fn(&Path)>,
    bytes: u64,
}

fn main() {
    let mut wanted = None;
    let mut gibibytes = 1.0;
    let mut place = std::env::temp_dir();
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--gibibytes" => gibibytes = arguments.next().unwrap().parse().unwrap(),
            "--in" => place = arguments.next().unwrap().into(),
            "--import" => {
                return import_once(&arguments.next().unwrap(), &arguments.next().unwrap());
            }
            _ => wanted = Some(word),
        }
    }
    let scratch = tempfile::Builder::new()
        .prefix("ww-bench-")
        .tempdir_in(place)
        .unwrap();
    let bytes = (gibibytes * (1_u64 << 30) as f64) as usize / FILES / CHUNK * CHUNK;
    let rows = rows(scratch.path(), bytes);
    let shown = |row: &Row| wanted.as_ref().is_none_or(|word| row.name.contains(word));
    let mut speeds = vec![Vec::new(); rows.len()];
    for round in 0..ROUNDS {
        for (number, (row, speeds)) in rows.iter().zip(&mut speeds).enumerate() {
            // Peers are measured whatever was picked.
            if shown(row) || rows.iter().any(|other| shown(other) && is_peer(other, row)) {
                let fresh = scratch.path().join(format!("{round}-{number}"));
                let began = Instant::now();
                (row.run)(&fresh);
                speeds.push(row.bytes as f64 / began.elapsed().as_secs_f64() / 1e9);
                empty(&fresh);
            }
        }
    }
    let median = |speeds: &[f64]| {
        let mut sorted = speeds.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{:<44} {:>10} {:>7} {:>7}  of",
        "row", "median", "ratio", "bound"
    );
    for (row, own) in rows.iter().zip(&speeds).filter(|(row, _)| shown(row)) {
        let own = median(own);
        let (ratio, bound, of) = row.peer.map_or_else(Default::default, |(peer, bound)| {
            let at = rows.iter().position(|row| row.name == peer).unwrap();
            let ratio = own / median(&speeds[at]);
            (format!("{ratio:.2}"), format!("{bound:.2}"), peer)
        });
        println!(
            "{:<44} {own:>5.2} GB/s {ratio:>7} {bound:>7}  {of}",
            row.name
        );
    }
    if wanted.is_none_or(|word| "memory".contains(&word)) {
        let _ = fs::remove_dir_all(scratch.path().join("store"));
        let tree = scratch.path().join("many");
        println!(
            "peak memory of an import of {gibibytes} GiB: {}",
            peak(&tree, &scratch.path().join("store"))
        );
    }
}

fn is_peer(row: &Row, other: &Row) -> bool {
    row.peer.is_some_and(|(peer, _)| peer == other.name)
}

fn rows(scratch: &Path, bytes: usize) -> Vec<Row> {
    let at = |name: &str| scratch.join(name);
    let (many, one) = (at("many"), at("one"));
    fs::create_dir_all(many.join("usr")).unwrap();
    fs::create_dir_all(one.join("usr")).unwrap();
    let whole = one.join("usr/file");
    let mut all = File::create(&whole).unwrap();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut content = vec![0; bytes];
    for n in 0..FILES {
        random.fill(&mut content);
        fs::write(many.join(format!("usr/{n}")), &content).unwrap();
        all.write_all(&content).unwrap();
    }
    let total = (bytes * FILES) as u64;
    // For reading back; it stays.
    let kept = Arc::new(EmbeddedStore::open(&at("kept")).unwrap());
    let cid = import::file(&*kept, &whole).unwrap();
    let row = |name, peer, run: Box<dyn Fn(&Path)>| Row {
        name,
        peer,
        run,
        bytes: total,
    };
    let both = "sha2-256, two cores";
    let cat = "cat FILE >/dev/null";
    let import = |tree: &PathBuf, store: Option<PathBuf>| {
        let tree = tree.clone();
        Box::new(move |fresh: &Path| {
            let local = LocalTree::open(&tree, &["usr"]).unwrap();
            let store = EmbeddedStore::open(store.as_deref().unwrap_or(fresh)).unwrap();
            let _writing = store.writing().unwrap();
            import::local_tree(&store, &local).unwrap();
        }) as Box<dyn Fn(&Path)>
    };
    let there = Some(at("kept"));
    vec![
        row(
            "sha2-256, one core",
            None,
            Box::new(move |_| hash(total, 1)),
        ),
        row(both, None, Box::new(move |_| hash(total, 2))),
        row(BOXO, None, {
            let many = many.clone();
            Box::new(move |_| {
                if let Some(url) = parts::boxo_url() {
                    parts::boxo_add(&url, &many, "1");
                }
            })
        }),
        row("cp, 64 files", None, {
            let many = many.clone();
            Box::new(move |fresh| run(Command::new("cp").arg("-r").args([&many, fresh])))
        }),
        row("cid alone, 64 files", Some((both, 0.6)), {
            let many = many.clone();
            Box::new(move |_| {
                let local = LocalTree::open(&many, &["usr"]).unwrap();
                import::local_tree(&DryRun, &local).unwrap();
            })
        }),
        row("import, 64 files", Some((both, 0.6)), import(&many, None)),
        row(
            "import, 64 files, again",
            Some((BOXO, 1.0)),
            import(&many, None),
        ),
        row("import, one file", Some((both, 0.6)), import(&one, None)),
        row(
            "import, one file that is there",
            Some((both, 0.6)),
            import(&one, there),
        ),
        row(cat, None, {
            let whole = whole.clone();
            Box::new(move |_| run(Command::new("cat").arg(&whole).stdout(Stdio::null())))
        }),
        row("cat of blocks", Some((cat, 0.5)), {
            let kept = kept.clone();
            Box::new(move |_| {
                export::file(&*kept, &cid, &mut io::sink()).unwrap();
            })
        }),
        row(
            "reads of 64 KiB",
            Some((cat, 0.25)),
            Box::new(move |_| read_all(&kept, &cid)),
        ),
    ]
}

/// Takes the bytes of all files below `directory`.
fn empty(directory: &Path) {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                File::create(path).unwrap();
            }
        }
    }
}

/// Hashes so many bytes on so many threads, a chunk at a time, as importing does.
fn hash(bytes: u64, threads: u64) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let chunk = bytes::Bytes::from(vec![7; CHUNK]);
                for _ in 0..bytes / threads / CHUNK as u64 {
                    std::hint::black_box(Block::new(Codec::Raw, chunk.clone()).unwrap());
                }
            });
        }
    });
}

fn read_all(store: &Arc<EmbeddedStore>, cid: &Cid) {
    let mut cursor = read::File::open(store.clone(), cid).unwrap().cursor();
    let mut buffer = vec![0; 64 * 1024];
    while cursor.read(&mut buffer).unwrap() > 0 {}
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success());
}

/// Imports in a process of its own, which says what it took.
fn peak(tree: &Path, store: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("--import")
        .args([tree, store])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn import_once(tree: &str, store: &str) {
    let local = LocalTree::open(Path::new(tree), &["usr"]).unwrap();
    let store = EmbeddedStore::open(Path::new(store)).unwrap();
    let _writing = store.writing().unwrap();
    import::local_tree(&store, &local).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    println!("{}", line.trim_start_matches("VmHWM:").trim());
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn fill(&mut self, buffer: &mut [u8]) {
        for word in buffer.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}
