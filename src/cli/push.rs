//! `ww push`: publishes an environment under its content address.
//!
//! What is published is the image: `boot/`, `bin/`, `etc/`, `usr/` and `var/`. Sources, build folders,
//! `.git`, `.env` and whatever else lies beside them are not looked at. An environment without
//! `boot/main.wasm` is refused, because nobody could run it.
//!
//! It is kept and pinned in this user's store, and, where there is a Kubo daemon, there too; whether the daemon has
//! understood the same is checked, not believed.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ::content::dag::Limits;
use ::content::import::{self, DryRun, Options};
use ::content::kubo::{Kubo, Roots};
use ::content::tree::{LocalTree, Node};
use ::content::{BlockStore, Cid, CidVersion, PinName, car as cars};
use anyhow::{Context, bail};

use super::content::{self, SourceArgs, Work};
use super::{car, say};

/// Publish an environment, and print its CID
///
/// Publishes boot/, bin/, etc/, usr/ and var/, and nothing else of the folder. The same files
/// have the same CID on every machine. They are kept in this user's store, and given to the IPFS
/// daemon (Kubo) if there is one.
#[derive(clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  ww push                       # the environment in this directory
  ww push my-app --car app.car  # and into a file, to be carried by hand
  ww push my-app --dry-run      # only its CID"
)]
pub struct PushArgs {
    /// The environment
    #[arg(default_value = ".")]
    path: PathBuf,

    /// Write it into FILE as well, for `ww run FILE` and `ww car import FILE`; it ends in .car
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,

    /// Replace the FILE of --car if it is there
    #[arg(short, long, requires = "car")]
    force: bool,

    /// 0 for CIDs of the old form
    #[arg(long, value_name = "0|1", default_value = "1", value_parser = content::cid_version)]
    cid_version: CidVersion,

    /// Compute the CID, and store nothing
    #[arg(long, conflicts_with = "car")]
    dry_run: bool,

    #[command(flatten)]
    sources: SourceArgs,
}

/// Publishes; the CID alone goes to standard output.
pub async fn run(args: PushArgs) -> anyhow::Result<u8> {
    let kubo = args.sources.kubo()?;
    content::run(SourceArgs::nobody(), move |work| push(&args, kubo, work)).await
}

fn push(args: &PushArgs, kubo: Option<(Kubo, bool)>, work: &Work) -> anyhow::Result<()> {
    let listed = listed(&args.path)?;
    let _writing = work.repo.embedded().writing()?;
    let nowhere = DryRun;
    let store: &dyn BlockStore = match args.dry_run {
        true => &nowhere,
        false => &**work.repo.store(),
    };
    let bar = content::bar("published");
    let mut progress = content::importing(work, &bar);
    let options = Options {
        cid_version: args.cid_version,
        progress: Some(&mut progress),
    };
    let cid = import::local_tree_with(store, &listed, options)?;
    drop(progress);
    bar.finish_and_clear();
    if !args.dry_run {
        work.repo.pin_added(&cid, &PinName::default())?;
        say("kept in this user's store");
        if let Some(file) = &args.car {
            car::export(work, &cid, file, args.force)?;
            say(format_args!("written to {}", file.display()));
        }
        if let Some((kubo, named)) = kubo {
            hand_over(work, &kubo, named, &cid)?;
        }
        say("run it with");
        say(format_args!("  ww run /ipfs/{cid}"));
    }
    writeln!(io::stdout(), "{cid}").context("cannot write the CID to standard output")
}

/// What of a folder is an image. Refuses one that could not be run.
fn listed(folder: &Path) -> anyhow::Result<LocalTree> {
    if !folder.is_dir() {
        bail!(
            "there is no folder {}; give an environment",
            folder.display()
        );
    }
    let listed = LocalTree::open(folder, &image::FHS)?;
    match listed.tree().get(image::ENTRY) {
        Some(Node::File { .. }) => Ok(listed),
        Some(_) => bail!(
            "{} is a link or a folder and must be a file; ww build {} makes it",
            folder.join(image::ENTRY).display(),
            folder.display()
        ),
        None => bail!(
            "{} not found in {1}; to compile it, run ww build {1}",
            image::ENTRY,
            folder.display()
        ),
    }
}

/// Gives everything below `cid` to a daemon, and has it pinned there. One that was not asked for by name need not be
/// there.
fn hand_over(work: &Work, kubo: &Kubo, named: bool, cid: &Cid) -> anyhow::Result<()> {
    let version = match kubo.version() {
        Ok(version) => version,
        Err(error) if named => return Err(error.into()),
        Err(error) => {
            let url = kubo.url();
            say(format_args!(
                "no IPFS daemon at {url}, so nobody else has it yet"
            ));
            tracing::debug!(%error, "asked for the daemon's version");
            return Ok(());
        }
    };
    let bar = content::bar("given");
    let export = cars::Export::new(work.repo.store().clone(), cid, &Limits::default())?;
    let counted = bar.wrap_read(CarReader(export));
    let pinned = kubo.dag_import(counted, Roots::Pinned)?;
    bar.finish_and_clear();
    if !pinned.iter().any(|pinned| pinned.hash() == cid.hash()) {
        bail!(
            "the IPFS daemon at {} took the blocks and does not say that it pinned {cid}; look at its log",
            kubo.url()
        );
    }
    say(format_args!(
        "given to the IPFS daemon at {} ({}), and pinned there",
        kubo.url(),
        super::ls::shown(&version)
    ));
    Ok(())
}

/// A CAR as it is made.
struct CarReader(cars::Export);

impl Read for CarReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read(buffer.len()).map_err(io::Error::other)?;
        if let Some(front) = buffer.get_mut(..bytes.len()) {
            front.copy_from_slice(&bytes);
        }
        Ok(bytes.len())
    }
}
