//! `ww run`: boots an image in a cell, on a node of its own.
//!
//! The swarm starts beside the loading of the image and not before it: a bad image is refused before the
//! node says that it is ready, and a port in use before the guest has run. The guest's standard streams
//! are this process's, its exit code is the one we end with.

mod grants;
mod limits;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::grants::{DenyArg, GrantArg};
use self::limits::LimitArgs;
use super::content::{SourceArgs, Told};
use super::layers::{self, Merged};
use anyhow::Context;
use bytes::Bytes;
use cell::{Exit, Program, Setup};
use content::{Hold, Repo};
use image::Image;
use swarm::Identity;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use ww::audit::{Audit, Writer};
use ww::bounds::Bounded;
use ww::cells::{Launch, Process};
use ww::descriptors;
use ww::files::{Tmp, Var};
use ww::home::Home;
use ww::ipfs::Ipfs;
use ww::node::{Node, Options};
use ww::programs::Programs;
use ww::root::Root;
use ww::scratch::Scratch;
use ww::socket::{Offer, Socket};
use ww::terminal::Terminal;

/// How long a guest that was asked to stop may take, unless it is asked again.
const GRACE: Duration = Duration::from_secs(1);

/// What we end with after Ctrl-C, as every shell expects: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

/// What we end with when a guest had to be killed after the signal to terminate.
const TERMINATED: u8 = 143;

/// How a guest sees its own program.
const ENTRY: &str = "/boot/main.wasm";

/// Boot an environment, local or published
///
/// Runs boot/main.wasm of the environment in a sandboxed cell. Several paths are layers of one
/// image: where two have the same file the later one counts. Nothing is ever written to them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ww run                        # the environment in this directory
  ww run my-app -- --flag x     # what follows -- is for the program
  ww run base my-app            # my-app on top of base
  ww run /ipfs/CID              # what `ww push` published
  ww run my-app.car             # what somebody carried here in a file
  ww run my-app --port 0        # on any free port
  ww run my-app --rpc-socket S  # lets local programs call the node through S")]
pub struct RunArgs {
    /// Environments: directories, /ipfs/CID[/sub/dir], or CAR files (FILE.car)
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,

    /// The TCP port that peers reach this node on; 0 for any that is free
    #[arg(long, default_value_t = 2025, value_name = "PORT")]
    port: u16,

    /// How many cells may be alive at a time
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16384))]
    max_cells: u32,

    /// Show source lines in the backtrace of a trap
    #[arg(long)]
    wasm_debug: bool,

    /// The node's key: a file, made if it is not there, or `ephemeral` for a throw-away one
    #[arg(long, value_name = "FILE|ephemeral")]
    identity: Option<PathBuf>,

    /// Serve local programs of this user through a Unix socket at PATH: whoever connects gets what the program
    /// gets, until that ends
    #[arg(long, value_name = "PATH")]
    rpc_socket: Option<PathBuf>,

    #[command(flatten)]
    authority: AuthorityArgs,

    #[command(flatten)]
    sources: SourceArgs,

    /// Arguments for the program
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// What the program may do and use.
#[derive(clap::Args)]
#[command(next_help_heading = "What the program may do and use")]
struct AuthorityArgs {
    /// Grant the program something, or some methods of it: host, executor, ipfs, host:id,connect, net:connect=host,
    /// ipfs=ipfs,read-only,under=PATH,pins=NAME. Without this it has host:id,addrs,peers,executor and executor
    #[arg(long, value_name = "NAME[:METHODS][=SPEC]")]
    grant: Vec<GrantArg>,

    /// Take back what it would have, or some methods of it
    #[arg(long, value_name = "NAME[:METHODS]")]
    deny: Vec<DenyArg>,

    /// Bound what it may use together with all that it runs: memory=64MiB, cpu=50%, fuel=1000000, time=10s,
    /// message=1MiB, calls=100, streams=30, cells=10, depth=2, tmp=16MiB, var=1GiB, files=100, content=1GiB
    #[arg(long, value_name = "NAME=VALUE,...")]
    limit: Vec<LimitArgs>,

    /// Append a line of JSON to FILE for each grant, use (counted), refusal and revocation
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
}

/// Runs the command. Returns the guest's exit code.
pub async fn run(args: RunArgs) -> anyhow::Result<u8> {
    descriptors::raise();
    let mut signals = Signals::listen()?;
    let home = Home::open()?;
    let AuthorityArgs {
        grant,
        deny,
        limit,
        audit,
    } = args.authority;
    let grants = grants::decide(&grant, &deny)?;
    let socket = match &args.rpc_socket {
        Some(path) => Some(Socket::open(path).await?),
        None => None,
    };
    let (audit, audit_writer) = audit.as_deref().map(open_audit).transpose()?.unzip();
    let identity = identity(args.identity.as_deref(), &home)?;
    let secret = identity.secret();
    let mut node = Node::start(Options {
        identity,
        port: args.port,
        code_cache: Some(home.cache()?),
        max_cells: args.max_cells,
        compiler: compiler()?,
        wasm_debug: args.wasm_debug,
        audit,
    })?;
    let bounded = limits::bounds(&limit).root();
    let told = Told::default();
    let mut repo = args.sources.open(&home, &told)?;
    if let Some(secret) = &secret {
        repo = repo.with_self_key(secret);
    }
    let (scratch, image, wasm, held) = tokio::select! {
        merged = merged(&args.paths, &home, repo.clone()) => merged?,
        asked = signals.next() => return Ok(asked.before_start()),
    };
    let started = tokio::select! {
        started = start(&mut node, &bounded, wasm) => started,
        asked = signals.next() => return Ok(asked.before_start()),
    };
    let (program, swarm) = started?;
    told.log();
    tracing::info!(peer_id = %swarm.peer_id(), addrs = ?swarm.addrs(), "listening");

    let (terminal, streams) = Terminal::attach();
    let scratch_path: Arc<Path> = scratch.path().into();
    let var = Var {
        place: home.var()?,
        environment: layers::identity(&args.paths),
        scratch: scratch_path.to_path_buf(),
        seed: image.clone(),
    };
    let var = var.open(&bounded.budget).await?;
    if var.is_none() {
        tracing::warn!("another run of this environment has its /var; this one has none");
    }
    let setup = Setup {
        args: std::iter::once(ENTRY.to_owned()).chain(args.args).collect(),
        root: Some(Arc::new(Root::new(image.clone()))),
        var,
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
        terminal: streams.terminal,
        ..Setup::default()
    };
    let programs = Programs::new(image.clone(), Some(repo.clone()));
    let ipfs = Ipfs::new(repo, swarm.clone(), Handle::current());
    let hand = move || grants.hand(&swarm, &ipfs).programs(programs.clone());
    let launch = Launch {
        tmp: Some(Tmp::new(&scratch_path, &bounded.budget).await?),
        scratch: Some(scratch_path.clone()),
        ..Launch::alone(setup, bounded.clone(), hand())
    };
    let process = node.cells().spawn(&program, launch).await?;
    let clients = socket.map(|socket| {
        socket.serve(Offer {
            cells: node.cells().clone(),
            bounded,
            scratch: scratch_path,
            grants: Box::new(hand),
        })
    });
    let (code, end) = supervise(&process, &terminal, &mut signals).await;
    if let Some(clients) = clients {
        clients.shutdown().await;
    }
    match end {
        End::Own => tokio::select! {
            () = terminal.drained() => {}
            // Whoever should take the output does not; a signal ends the wait.
            _ = signals.next() => {}
        },
        // Asked to stop, we do not wait for long for somebody to take what is left.
        End::Asked => drop(tokio::time::timeout(GRACE, terminal.drained()).await),
    }
    node.shutdown().await;
    drop(held);
    if let Some(writer) = audit_writer {
        writer.finish().await.context("the audit is incomplete")?;
    }
    Ok(code)
}

fn open_audit(path: &Path) -> anyhow::Result<(Audit, Writer)> {
    Audit::to_file(path).with_context(|| format!("cannot write the audit to {}", path.display()))
}

/// The node's key, which is made at its first use.
fn identity(wanted: Option<&Path>, home: &Home) -> anyhow::Result<Identity> {
    Ok(match wanted {
        Some(path) if path.as_os_str() == "ephemeral" => Identity::ephemeral(),
        Some(path) => Identity::load_or_create(path)?,
        None => Identity::load_or_create(&home.key()?)?,
    })
}

/// Components are compiled by a child of our own program, which can be stopped whatever it does.
fn compiler() -> anyhow::Result<cell::Compiler> {
    let program = std::env::current_exe().context("this program cannot find its own file")?;
    Ok(cell::Compiler::Process {
        program,
        args: vec!["compile-component".into()],
    })
}

/// Merges the layers; gives the image and its entry.
///
/// When it is given up half-way, it goes on until the process ends; the next run removes what it left.
async fn merged(
    paths: &[PathBuf],
    home: &Home,
    repo: Repo,
) -> anyhow::Result<(Scratch, Arc<Image>, Bytes, Hold)> {
    let paths = paths.to_vec();
    let place = home.run()?;
    let merged = tokio::task::spawn_blocking(move || {
        let scratch =
            Scratch::new(&place).with_context(|| format!("cannot use {}", place.display()))?;
        repo.let_go(|name| place.join(name).is_dir())?;
        // Until it is held, what comes in is garbage to a collector.
        let _writing = repo.embedded().writing()?;
        let merged = layers::merge(&paths, &repo)?;
        let held = repo.hold(&scratch.name(), &merged.published)?;
        anyhow::Ok((scratch, merged, held))
    });
    let (scratch, merged, held) = merged
        .await
        .context("loading the image was interrupted")??;
    let Merged { image, entry, .. } = merged;
    tracing::debug!(entry_bytes = entry.len(), ?image, "merged the image");
    Ok((scratch, Arc::new(image), Bytes::from(entry), held))
}

/// Compiles the entry, and waits until peers can reach the node.
async fn start(
    node: &mut Node,
    bounded: &Bounded,
    wasm: Bytes,
) -> anyhow::Result<(Program, swarm::Handle)> {
    let program = node.cells().load(&bounded.budget, wasm).await?;
    tracing::debug!(imports = ?program.imports(), "loaded the program");
    Ok((program, node.network().await?))
}

/// Whose idea it was that the guest ended.
enum End {
    Own,
    Asked,
}

/// Runs until the guest has ended, or was made to. Returns the code to end with.
async fn supervise(process: &Process, terminal: &Terminal, signals: &mut Signals) -> (u8, End) {
    let asked = tokio::select! {
        exit = process.wait() => return (report(&exit), End::Own),
        asked = signals.next() => asked,
    };
    tracing::info!("stopping; once more to stop at once");
    terminal.close_input();
    process.stop();
    let exit = tokio::select! {
        exit = process.wait() => exit,
        _ = signals.next() => end(process).await,
        () = tokio::time::sleep(GRACE) => end(process).await,
    };
    let code = match (asked, exit) {
        (Asked::Interrupt, _) => INTERRUPTED,
        (Asked::Terminate, Exit::Killed) => TERMINATED,
        (Asked::Terminate, _) => 0,
    };
    (code, End::Asked)
}

async fn end(process: &Process) -> Exit {
    process.kill();
    process.wait().await
}

/// Says how the guest ended, if it was not by itself.
fn report(exit: &Exit) -> u8 {
    match exit {
        Exit::Exited(_) => {}
        Exit::Trapped { backtrace, .. } => {
            tracing::error!("the program was ended: {exit}\n{}", backtrace.trim_end());
        }
        _ => tracing::error!("the program was ended: {exit}"),
    }
    exit.code()
}

enum Asked {
    Interrupt,
    Terminate,
}

impl Asked {
    /// What we end with when there is no guest yet.
    fn before_start(&self) -> u8 {
        match self {
            Self::Interrupt => INTERRUPTED,
            Self::Terminate => 0,
        }
    }
}

/// The signals that ask a process to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for signals")?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
        }
    }
}
