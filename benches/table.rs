//! The performance table: `make bench`, or `cargo bench --bench table -- ROW…` for some of its rows.
//!
//! A row is reproduced by its first word: `cargo bench --bench table -- spawn`.
//!
//! Each row is a median, with the 99th percentile where one is worth having, and a ratio to a peer that was
//! measured in the same run. Absolute times say more about the machine than about us; ratios are
//! what SPECIFICATION.md promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[allow(dead_code, missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
#[rustfmt::skip]
#[path = "../crates/vat/tests/vat/lab_capnp.rs"]
mod lab_capnp;
#[path = "table/image.rs"]
mod image;
#[allow(dead_code)]
#[path = "../crates/vat/tests/vat/lab.rs"]
mod lab;
#[path = "table/rpc.rs"]
mod rpc;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use capnp_rpc::rpc_twoparty_capnp::Side;
use cell::{Exit, Setup, Stdout, stdio};
use fixtures::guests;
use futures::AsyncReadExt as _;
use schema::system_capnp::{byte_stream, host};
use tokio::io::AsyncReadExt;
use tokio_util::compat::TokioAsyncReadCompatExt;
use ww::bounds::Bounds;
use ww::cells::{Cells, Launch};
use ww::epoch::Epochs;
use ww::grants::{Grant, Grants};
use ww::rpc::byte_stream::{ByteStream, End};
use ww::rpc::executor::{Executor, Principal};
use ww::rpc::host::Host;
use ww::vats::{Scope, Vats};

/// Calls that warm caches and branch predictors up before any is counted.
const WARM_UP: usize = 200;
/// Calls in one sample, and samples in a row.
const CALLS: usize = 200;
const SAMPLES: usize = 50;
/// How often the rows that are compared take turns.
const ROUNDS: usize = 8;

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("reproduce a row by its first word: cargo bench --bench table -- spawn\n");
    println!("{:<44} {:>12} {:>12}  remark", "row", "median", "p99");
    for (name, row) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            for line in row(&runtime) {
                println!(
                    "{:<44} {:>12} {:>12}  {}",
                    line.what, line.median, line.p99, line.remark
                );
            }
        }
    }
}

type Row = fn(&tokio::runtime::Runtime) -> Vec<Line>;

const ROWS: [(&str, Row); 8] = [
    ("load", load),
    ("spawn", spawn),
    ("rpc", rpc::rows),
    ("call", calls),
    ("stream", stream),
    ("idle", idle),
    ("process", process),
    ("image", image::rows),
];

struct Line {
    what: String,
    median: String,
    p99: String,
    remark: String,
}

fn line(what: &str, samples: &mut [Duration], remark: impl Into<String>) -> Line {
    Line {
        what: what.into(),
        median: show(percentile(samples, 50)),
        p99: show(percentile(samples, 99)),
        remark: remark.into(),
    }
}

fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort();
    samples[(samples.len() * percent / 100).min(samples.len() - 1)]
}

fn show(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 {
        format!("{micros:.2} µs")
    } else {
        format!("{:.2} ms", micros / 1000.0)
    }
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

fn wasm(path: &str) -> Bytes {
    Bytes::from(std::fs::read(path).unwrap())
}

/// A guest of `benches/guests`: built as `ww init` sets a program up, because that is what users run.
fn guest(name: &str) -> String {
    static PROGRAMS: LazyLock<Vec<(String, PathBuf)>> = LazyLock::new(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guests");
        let target = Path::new(guests::HELLO).ancestors().nth(3).unwrap();
        fixtures::compile::programs(&package, target)
    });
    let found = PROGRAMS
        .iter()
        .find(|(program, _)| *program == format!("bench-{name}"));
    found.unwrap().1.display().to_string()
}

fn engine(cache: Option<PathBuf>) -> cell::Engine {
    cell::Engine::new(cell::EngineOptions {
        cache_dir: cache,
        ..cell::EngineOptions::default()
    })
    .unwrap()
}

fn cells() -> Cells {
    Cells::new(
        engine(None),
        Vats::start(NonZeroUsize::new(2).unwrap()).unwrap(),
        Epochs::new(atom::Epoch::default()),
        None,
    )
}

/// A cell as `ww run` starts it.
fn alone(setup: Setup, grants: Grants) -> Launch {
    Launch::alone(setup, Bounds::default().root(), grants)
}

/// Compiling the hello guest, and finding it compiled on disk.
fn load(runtime: &tokio::runtime::Runtime) -> Vec<Line> {
    let hello = wasm(guests::HELLO);
    let cache = tempfile::tempdir().unwrap();
    let directory = cache.path().join("code");
    let timed = |cache: Option<PathBuf>| {
        let engine = engine(cache);
        let start = Instant::now();
        runtime.block_on(engine.load(hello.clone())).unwrap();
        start.elapsed()
    };
    let mut cold: Vec<_> = (0..5).map(|_| timed(None)).collect();
    timed(Some(directory.clone()));
    let mut cached: Vec<_> = (0..SAMPLES)
        .map(|_| timed(Some(directory.clone())))
        .collect();
    vec![
        line(
            "load: compile hello, nothing cached",
            &mut cold,
            format!("{} KiB component", hello.len() / 1024),
        ),
        line(
            "load: hello from the disk cache",
            &mut cached,
            "new engine each time",
        ),
    ]
}

/// From the request to run a cached program to the report of its exit.
fn spawn(runtime: &tokio::runtime::Runtime) -> Vec<Line> {
    runtime.block_on(async {
        let cells = cells();
        let mut lines = Vec::new();
        for (name, path) in [
            ("hello", guests::HELLO.to_owned()),
            ("a guest that grafts", guest("graft")),
        ] {
            let program = cells
                .load(&cell::Budget::default(), wasm(&path))
                .await
                .unwrap();
            let mut samples = Vec::new();
            for _ in 0..WARM_UP + 1000 {
                let start = Instant::now();
                let process = cells
                    .spawn(&program, alone(Setup::default(), Grants::default()))
                    .await
                    .unwrap();
                assert!(matches!(process.wait().await, Exit::Exited(0)));
                samples.push(start.elapsed());
            }
            lines.push(line(
                &format!("spawn to exit: {name}"),
                &mut samples[WARM_UP..],
                "cached",
            ));
        }
        lines
    })
}

/// The round trip of `Host.id`: in process, between two parties in memory, and from a guest.
fn calls(runtime: &tokio::runtime::Runtime) -> Vec<Line> {
    let (swarm, handle) = runtime
        .block_on(swarm::Swarm::start(swarm::Options {
            port: 0,
            ..swarm::Options::new(swarm::Identity::ephemeral())
        }))
        .unwrap();
    let cells = cells();
    let (mut local, mut remote, mut guest) = (Vec::new(), Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    // In turns, because these machines change their pace from one second to the next.
    for _ in 0..ROUNDS {
        let (in_process, mut two_party) = native(&handle, &cells);
        let mut from_guest = runtime.block_on(run_roundtrips(&handle, &cells, &[SAMPLES, CALLS]));
        ratios.push(ratio(
            percentile(&mut from_guest, 50),
            percentile(&mut two_party, 50),
        ));
        local.extend(in_process);
        remote.extend(two_party);
        guest.extend(from_guest);
    }
    ratios.sort_by(f64::total_cmp);
    let in_process = line("call Host.id: in process", &mut local, "");
    let two_party = line(
        "call Host.id: capnp-rpc, two parties in memory",
        &mut remote,
        "both native, one thread",
    );
    let from_guest = line(
        "call Host.id: from a guest",
        &mut guest,
        format!(
            "{:.2} x two parties in memory, median of {ROUNDS} rounds",
            ratios[ROUNDS / 2]
        ),
    );
    let mut beside = runtime.block_on(beside_spinners(&handle, &cells));
    let beside = line(
        "call Host.id: beside two spinning cells",
        &mut beside,
        "single calls",
    );
    runtime.block_on(swarm.shutdown());
    vec![in_process, two_party, from_guest, beside]
}

fn native(swarm: &swarm::Handle, cells: &Cells) -> (Vec<Duration>, Vec<Duration>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let scope = Scope::default();
        let executor = Executor::client(Principal {
            cells: cells.clone(),
            bounded: Bounds::default().root(),
            spawner: scope.spawner(),
            image: None,
            scratch: None,
            children: ww::tenure::Shared::default(),
        });
        let host = Host::new(swarm.clone(), executor);
        let local: host::Client = vat::new_client_from_rc(host.clone());
        let local = vat::run_until(sample(&local)).await;
        let host: host::Client = capnp_rpc::new_client_from_rc(host);
        let (near, far) = tokio::io::duplex(64 << 10);
        let network = |stream: tokio::io::DuplexStream, side| {
            let (read, write) = stream.compat().split();
            Box::new(capnp_rpc::twoparty::VatNetwork::new(
                read,
                write,
                side,
                Default::default(),
            ))
        };
        let server = capnp_rpc::RpcSystem::new(network(far, Side::Server), Some(host.client));
        let mut client = capnp_rpc::RpcSystem::new(network(near, Side::Client), None);
        let host: host::Client = client.bootstrap(Side::Server);
        let tasks = [
            tokio::task::spawn_local(server),
            tokio::task::spawn_local(client),
        ];
        let remote = sample(&host).await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        scope.shutdown().await;
        (local, remote)
    })
}

async fn sample(host: &host::Client) -> Vec<Duration> {
    let mut samples = Vec::new();
    for _ in 0..WARM_UP / CALLS + SAMPLES {
        let start = Instant::now();
        for _ in 0..CALLS {
            host.id_request()
                .send()
                .promise
                .await
                .unwrap()
                .get()
                .unwrap()
                .get_peer_id()
                .unwrap();
        }
        samples.push(start.elapsed() / u32::try_from(CALLS).unwrap());
    }
    samples.split_off(WARM_UP / CALLS)
}

/// What the `roundtrips` guest reports: the time that a call took, one sample a line.
async fn run_roundtrips(swarm: &swarm::Handle, cells: &Cells, args: &[usize]) -> Vec<Duration> {
    let program = cells
        .load(&cell::Budget::default(), wasm(&guest("roundtrips")))
        .await
        .unwrap();
    let (mut stdout, writer) = stdio::pipe(1 << 20);
    let setup = Setup {
        args: std::iter::once("roundtrips".to_owned())
            .chain(args.iter().map(usize::to_string))
            .collect(),
        stdout: Stdout::Pipe(writer),
        ..Setup::default()
    };
    let grants = Grants::default().with("host", Grant::Host(swarm.clone()));
    let process = cells.spawn(&program, alone(setup, grants)).await.unwrap();
    let mut text = String::new();
    stdout.read_to_string(&mut text).await.unwrap();
    assert!(matches!(process.wait().await, Exit::Exited(0)), "{text}");
    text.lines()
        .map(|nanos| Duration::from_nanos(nanos.parse().unwrap()))
        .collect()
}

/// Single calls, while two other cells do nothing but compute.
async fn beside_spinners(swarm: &swarm::Handle, cells: &Cells) -> Vec<Duration> {
    let spin = cells
        .load(&cell::Budget::default(), wasm(guests::SPIN))
        .await
        .unwrap();
    let mut spinners = Vec::new();
    for _ in 0..2 {
        spinners.push(
            cells
                .spawn(&spin, alone(Setup::default(), Grants::default()))
                .await
                .unwrap(),
        );
    }
    let samples = run_roundtrips(swarm, cells, &[500, 1]).await;
    for spinner in &spinners {
        spinner.kill();
        spinner.wait().await;
    }
    samples
}

/// Bytes a second from a cell's pipe through a `ByteStream` to its reader.
fn stream(_: &tokio::runtime::Runtime) -> Vec<Line> {
    const TOTAL: usize = 256 << 20;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let elapsed = tokio::task::LocalSet::new().block_on(
        &runtime,
        vat::run_until(async {
            let (reader, writer) = stdio::pipe(64 << 10);
            let stream: byte_stream::Client = vat::new_client(ByteStream::new(
                End::Reading(reader),
                cell::Budget::default().open(cell::Resource::Streams),
            ));
            let writing = tokio::task::spawn_local(async move {
                let chunk = vec![7u8; 64 << 10];
                for _ in 0..TOTAL / chunk.len() {
                    writer.write(&chunk).await.unwrap();
                }
            });
            let start = Instant::now();
            let mut total = 0;
            loop {
                let mut request = stream.read_request();
                request.get().set_max_bytes(1 << 20);
                let answer = request.send().promise.await.unwrap();
                match answer.get().unwrap().get_data().unwrap().len() {
                    0 => break,
                    length => total += length,
                }
            }
            assert_eq!(total, TOTAL);
            writing.await.unwrap();
            start.elapsed()
        }),
    );
    let rate = TOTAL as f64 / elapsed.as_secs_f64() / 1e6;
    vec![Line {
        what: "stream: ByteStream.read, in process".into(),
        median: format!("{rate:.0} MB/s"),
        p99: String::new(),
        remark: format!("{} MiB from a 64 KiB pipe", TOTAL >> 20),
    }]
}

/// What 1,000 cells that wait cost: resident memory each, and processor time together.
fn idle(runtime: &tokio::runtime::Runtime) -> Vec<Line> {
    const CELLS: usize = 1000;
    runtime.block_on(async {
        let cells = cells();
        let program = cells
            .load(&cell::Budget::default(), wasm(&guest("idle")))
            .await
            .unwrap();
        let mut processes = Vec::new();
        let first = cells
            .spawn(&program, alone(Setup::default(), Grants::default()))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = resident_bytes();
        for _ in 0..CELLS {
            processes.push(
                cells
                    .spawn(&program, alone(Setup::default(), Grants::default()))
                    .await
                    .unwrap(),
            );
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let each = resident_bytes().saturating_sub(before) / CELLS;
        let start = cpu_ticks();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let ticks = cpu_ticks() - start;
        drop(first);
        vec![
            Line {
                what: "idle: resident memory per cell".into(),
                median: format!("{} KiB", each / 1024),
                p99: String::new(),
                remark: format!(
                    "{CELLS} cells that have grafted and wait; shared pages counted once"
                ),
            },
            Line {
                what: "idle: processor time".into(),
                median: format!("{} ms/s", ticks * 10 / 5),
                p99: String::new(),
                remark: format!("{CELLS} cells together, over 5 s, in steps of 10 ms"),
            },
        ]
    })
}

/// Memory of this process, each page that several cells share counted once.
fn resident_bytes() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let pss = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .unwrap();
    pss.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// User and system time of this process, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// `ww run` of a plain hello as a whole process, beside `wasmtime run` of the same component, precompiled.
fn process(_: &tokio::runtime::Runtime) -> Vec<Line> {
    let home = tempfile::tempdir().unwrap();
    let environment = fixtures::Environment::new(guests::HELLO);
    let mut ww = Command::new(env!("CARGO_BIN_EXE_ww"));
    ww.args(["run", "--port", "0"])
        .arg(environment.path())
        .env("WW_HOME", home.path())
        .env("RUST_LOG", "off");
    let mut ours = whole(&mut ww);
    let median = percentile(&mut ours, 50);
    let Some((wasmtime, precompiled)) = wasmtime(home.path()) else {
        return vec![line(
            "process: ww run hello",
            &mut ours,
            "wasmtime not run: pip install wasmtime, or cargo install wasmtime-cli --version 48.0.8 --locked; set WASMTIME",
        )];
    };
    let mut theirs = whole(
        Command::new(wasmtime)
            .args(["run", "--allow-precompiled"])
            .arg(precompiled),
    );
    let peer = percentile(&mut theirs, 50);
    vec![
        line("process: wasmtime run hello, precompiled", &mut theirs, ""),
        line(
            "process: ww run hello, cached",
            &mut ours,
            format!(
                "{:.2} x wasmtime, {} more",
                ratio(median, peer),
                show(median.saturating_sub(peer))
            ),
        ),
    ]
}

fn whole(command: &mut Command) -> Vec<Duration> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            assert!(command.status().unwrap().success());
            start.elapsed()
        })
        .collect()
}

/// The `wasmtime` program, and that hello precompiled by it.
fn wasmtime(scratch: &Path) -> Option<(PathBuf, PathBuf)> {
    let program = PathBuf::from(std::env::var_os("WASMTIME").unwrap_or_else(|| "wasmtime".into()));
    let precompiled = scratch.join("hello.cwasm");
    let compiled = Command::new(&program)
        .args(["compile", "-o"])
        .arg(&precompiled)
        .arg(guests::HELLO)
        .stderr(Stdio::null())
        .status()
        .ok()?;
    compiled.success().then_some((program, precompiled))
}
