//! `ww add`: files and directories into this user's store.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ::content::import::{self, DryRun, Options};
use ::content::tree::{Hidden, LocalTree, Node};
use ::content::{BlockStore, Cid, CidVersion, PinName, directory};
use anyhow::{Context, bail};

use super::content::{self, SourceArgs};
use super::ls;

/// Add files and directories to this machine's store
///
/// Prints the CIDs that `ipfs add` would give them, and pins them. With no path it adds what it reads
/// from standard input.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ww add notes.txt
  ww add -r my-app           # a directory, as it is
  ww add -rQ my-app          # the CID of the directory alone
  echo hello | ww add -Q")]
pub struct AddArgs {
    /// Files, or directories with -r
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Add directories with all that is in them
    #[arg(short, long)]
    recursive: bool,

    /// Add what is hidden, too: names that begin with a dot
    #[arg(short = 'H', long)]
    hidden: bool,

    /// Print the last CID alone
    #[arg(short = 'Q', long)]
    quieter: bool,

    /// Compute CIDs, and store nothing
    #[arg(short = 'n', long)]
    only_hash: bool,

    /// 0 for CIDs of the old form
    #[arg(long, value_name = "0|1", default_value = "1", value_parser = content::cid_version)]
    cid_version: CidVersion,

    /// The name of the pins
    #[arg(long, default_value = "", value_name = "NAME")]
    pin_name: String,

    /// Pin nothing: the next `ww gc` may remove it
    #[arg(long)]
    no_pin: bool,
}

/// Runs the command.
pub async fn run(args: AddArgs) -> anyhow::Result<u8> {
    content::run(SourceArgs::nobody(), move |work| add(&args, work)).await
}

fn add(args: &AddArgs, work: &content::Work) -> anyhow::Result<()> {
    let nowhere = DryRun;
    let store: &dyn BlockStore = match args.only_hash {
        true => &nowhere,
        false => &**work.repo.store(),
    };
    let _writing = work.repo.embedded().writing()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut last = None;
    let standard_input = [PathBuf::from("-")];
    let paths = match args.paths.as_slice() {
        [] => &standard_input,
        paths => paths,
    };
    for path in paths {
        let cid = one(args, work, store, path, &mut out)?;
        if !args.only_hash && !args.no_pin {
            let name = args.pin_name.clone();
            let name = PinName {
                namespace: None,
                name,
            };
            work.repo.pin_added(&cid, &name)?;
        }
        last = Some(cid);
    }
    if let Some(cid) = last.filter(|_| args.quieter) {
        writeln!(out, "{cid}")?;
    }
    Ok(out.flush()?)
}

/// Adds one path, and prints what `ipfs add` would.
fn one(
    args: &AddArgs,
    work: &content::Work,
    store: &dyn BlockStore,
    path: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<Cid> {
    let bar = content::bar("added");
    let mut progress = content::importing(work, &bar);
    let options = Options {
        cid_version: args.cid_version,
        progress: Some(&mut progress),
    };
    let (cid, name) = if path.as_os_str() == "-" {
        let mut input = io::stdin();
        let cid = import::stream_with(store, &mut input as &mut (dyn Read + Send), options)?;
        (cid, cid.to_string())
    } else if path.is_dir() {
        if !args.recursive {
            bail!("{} is a directory; add it with -r", path.display());
        }
        let hidden = match args.hidden {
            true => Hidden::Listed,
            false => Hidden::PassedOver,
        };
        let local = LocalTree::whole(path, hidden)?;
        let cid = import::local_tree_with(store, &local, options)?;
        let name = name_of(&path.canonicalize()?);
        if !args.quieter && !args.only_hash {
            entries(store, &cid, &name, out)?;
        }
        (cid, name)
    } else {
        let cid = import::file_with(store, path, options)
            .with_context(|| format!("cannot add {}", path.display()))?;
        (cid, name_of(path))
    };
    drop(progress);
    bar.finish_and_clear();
    if !args.quieter {
        writeln!(out, "added {cid} {}", ls::shown(&name))?;
    }
    Ok(cid)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A line for all that is below a directory, the files of each before it.
fn entries(
    store: &dyn BlockStore,
    root: &Cid,
    name: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut ahead = vec![(*root, name.to_owned(), false)];
    while let Some((cid, path, listed)) = ahead.pop() {
        if listed {
            writeln!(out, "added {cid} {}", ls::shown(&path))?;
            continue;
        }
        if cid != *root || path != name {
            ahead.push((cid, path.clone(), true));
        }
        for entry in directory::list(store, &cid)?.into_iter().rev() {
            let below = format!("{path}/{}", entry.name);
            let listed = !matches!(entry.node, Node::Directory);
            ahead.push((entry.cid, below, listed));
        }
    }
    Ok(())
}
