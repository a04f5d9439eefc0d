//! What the commands on content have in common: who is asked for what is not here, how far the work is, and
//! what Ctrl-C does.
//!
//! Where nothing else is said a Kubo daemon on this machine is asked, if there is one, and it is told who gave what.
//! Whatever is interrupted ends at its next block, so nothing is left half-written.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use content::dag::Walked;
use content::kubo::Kubo;
use content::remote::Deadlines;
use content::{
    Block, BlockStore, Cid, CidVersion, ContentError, Event, GatewayStore, KuboStore, Repo, Source,
};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use ww::home::Home;

use super::say;

/// What every shell expects after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// How long an interrupted command may take to leave nothing behind.
const GRACE: Duration = Duration::from_secs(2);

/// Where a Kubo daemon is, if nobody says otherwise.
pub const KUBO_URL: &str = "http://localhost:5001";

/// Who is asked for what is not here.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Where content comes from")]
pub struct SourceArgs {
    /// Ask nobody: use this machine's store alone
    #[arg(long, conflicts_with_all = ["ipfs_url", "gateway"], env = "WW_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    offline: bool,

    /// The RPC interface of an IPFS daemon (Kubo) [default: http://localhost:5001, if one is there]
    #[arg(long, value_name = "URL", env = "WW_IPFS_URL")]
    ipfs_url: Option<String>,

    /// A trustless gateway; may be given several times
    #[arg(long, value_name = "URL")]
    gateway: Vec<String>,
}

impl SourceArgs {
    /// The daemon, and whether it was asked for by name: one that was has to be there.
    ///
    /// # Errors
    /// When its address is none.
    pub fn kubo(&self) -> anyhow::Result<Option<(Kubo, bool)>> {
        if self.offline {
            return Ok(None);
        }
        let url = self.ipfs_url.as_deref().unwrap_or(KUBO_URL);
        let kubo = Kubo::new(url, Deadlines::default())?;
        Ok(Some((kubo, self.ipfs_url.is_some())))
    }

    /// Nobody: for what is done here alone.
    pub fn nobody() -> Self {
        Self {
            offline: true,
            ipfs_url: None,
            gateway: Vec::new(),
        }
    }

    fn sources(&self) -> anyhow::Result<Vec<Arc<dyn Source>>> {
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        if let Some((kubo, _)) = self.kubo()? {
            sources.push(Arc::new(KuboStore::new(kubo)));
        }
        for url in &self.gateway {
            sources.push(Arc::new(GatewayStore::new(url, Deadlines::default())?));
        }
        Ok(sources)
    }

    /// This user's repository, before those who are to be asked.
    ///
    /// # Errors
    /// When an address is none, or the store cannot be opened.
    pub fn open(&self, home: &Home, told: &Told) -> anyhow::Result<Repo> {
        let told = told.clone();
        let report = move |event: Event<'_>| told.tell(event);
        Ok(Repo::open(&home.store()?, self.sources()?, report)?)
    }
}

/// Who gave how much.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<BTreeMap<String, (u64, u64)>>>);

impl Told {
    fn tell(&self, event: Event<'_>) {
        match event {
            Event::Came { source, bytes } => {
                let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let (blocks, all) = given.entry(source.to_owned()).or_default();
                *blocks = blocks.saturating_add(1);
                *all = all.saturating_add(bytes);
            }
            Event::Lied { source, cid } => {
                tracing::warn!(source, %cid, "gave other bytes than those of the block");
            }
            Event::Failed { source, error } => tracing::debug!(source, %error, "cannot be asked"),
            Event::NotKept { cid, error } => tracing::warn!(%cid, %error, "cannot be kept"),
            _ => {}
        }
    }

    /// Logs what came from whom.
    pub fn log(&self) {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, (blocks, bytes)) in &*given {
            tracing::info!(source, blocks, bytes, "content came");
        }
    }

    /// Says on standard error what came from whom.
    pub fn say(&self) {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, (blocks, bytes)) in &*given {
            let bytes = HumanBytes(*bytes);
            say(format_args!("{blocks} blocks ({bytes}) came from {source}"));
        }
    }
}

/// A repository during one command.
pub struct Work {
    /// The content.
    pub repo: Repo,
    interrupted: Arc<AtomicBool>,
    unfinished: Unfinished,
}

/// What is to go if the command does not come to its end.
type Unfinished = Arc<Mutex<Vec<PathBuf>>>;

impl Work {
    /// Whether to go on.
    pub fn go_on(&self) -> ControlFlow<()> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// A folder beside a place that is to be written, for what is not finished. It goes with the command, however that
    /// ends.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn unfinished(&self, beside: &Path) -> anyhow::Result<TempDir> {
        let folder = match beside.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let directory = tempfile::Builder::new()
            .prefix(".ww-unfinished-")
            .tempdir_in(folder)
            .with_context(|| format!("cannot write {}", beside.display()))?;
        let mut unfinished = self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unfinished.push(directory.path().to_owned());
        Ok(directory)
    }

    /// How far fetching is, drawn on standard error.
    pub fn fetching(&self) -> impl Fn(Walked) -> ControlFlow<()> + Sync + '_ {
        let bar = bar("fetched");
        move |walked| {
            bar.set_position(walked.bytes);
            self.go_on()
        }
    }
}

/// A line on standard error that says how many bytes were done, if a person sees it.
pub fn bar(done: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {bytes} ({bytes_per_sec})");
    ProgressBar::no_length()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(done)
}

/// Does the work of a command where it may block, until it is done or interrupted. Gives the exit code.
///
/// # Errors
/// What the work answers.
pub async fn run(
    sources: SourceArgs,
    work: impl FnOnce(&Work) -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    let unfinished = Unfinished::default();
    let started = unfinished.clone();
    let mut working = tokio::task::spawn_blocking(move || {
        let told = Told::default();
        let repo = sources.open(&Home::open()?, &told)?;
        let repo = repo.with_local(|local| {
            Arc::new(Interruptible {
                local,
                interrupted: flag.clone(),
            })
        });
        let done = work(&Work {
            repo,
            interrupted: flag,
            unfinished: started,
        });
        told.say();
        done
    });
    tokio::select! {
        done = &mut working => done?.map(|()| 0),
        _ = interrupt.recv() => {
            interrupted.store(true, Ordering::Relaxed);
            if tokio::time::timeout(GRACE, working).await.is_err() {
                // It waits for somebody who does not answer, and will not come to clean up.
                let left = unfinished.lock().unwrap_or_else(PoisonError::into_inner);
                for directory in &*left {
                    let _ = std::fs::remove_dir_all(directory);
                }
            }
            Ok(INTERRUPTED)
        }
    }
}

/// A store that answers nothing any more once somebody has pressed Ctrl-C, so that whatever uses it ends and cleans up.
struct Interruptible {
    local: Arc<dyn BlockStore>,
    interrupted: Arc<AtomicBool>,
}

impl Interruptible {
    fn check(&self) -> Result<(), ContentError> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(ContentError::Cancelled),
            false => Ok(()),
        }
    }
}

impl BlockStore for Interruptible {
    fn put(&self, block: &Block) -> Result<(), ContentError> {
        self.check()?;
        self.local.put(block)
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        self.check()?;
        self.local.get(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        self.check()?;
        self.local.has(cid)
    }
}

/// `/ipfs/CID[/name…]` of what a person typed: a bare CID will do.
pub fn path(text: &str) -> String {
    match text.starts_with('/') {
        true => text.trim_end_matches('/').to_owned(),
        false => format!("/ipfs/{}", text.trim_end_matches('/')),
    }
}

/// Draws how far an import is.
pub fn importing<'a>(
    work: &'a Work,
    bar: &'a ProgressBar,
) -> impl FnMut(content::import::Progress<'_>) -> ControlFlow<()> + Send + 'a {
    move |progress| {
        bar.set_position(progress.bytes);
        work.go_on()
    }
}

/// The version that a person typed.
///
/// # Errors
/// For others than 0 and 1.
pub fn cid_version(text: &str) -> anyhow::Result<CidVersion> {
    match text {
        "0" => Ok(CidVersion::V0),
        "1" => Ok(CidVersion::V1),
        _ => bail!("there are CIDs of version 0 and of version 1"),
    }
}

/// Where a file is to be written.
pub fn destination(output: Option<PathBuf>, path: &str) -> anyhow::Result<PathBuf> {
    match output {
        Some(output) => Ok(output),
        None => path
            .rsplit('/')
            .next()
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .context("name a file to write to with -o"),
    }
}
