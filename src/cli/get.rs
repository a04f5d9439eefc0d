//! `ww get`: files and directories by path, onto the disk.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ::content::tree::Node;
use ::content::{Cid, export};
use anyhow::{Context, bail};
use tempfile::NamedTempFile;

use super::content::{self, SourceArgs, Work};
use super::say;

/// Write a file or a directory to the disk
///
/// It is there as a whole or not at all. What exists is never overwritten.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ww get /ipfs/CID/docs
  ww get CID -o my-app")]
pub struct GetArgs {
    /// /ipfs/CID[/name…], or a CID
    #[arg(value_name = "PATH")]
    path: String,

    /// Where to write it [default: the last name of the path]
    #[arg(short, long, value_name = "FILE|DIR")]
    output: Option<PathBuf>,

    #[command(flatten)]
    sources: SourceArgs,
}

/// Runs the command.
pub async fn run(args: GetArgs) -> anyhow::Result<u8> {
    content::run(args.sources, move |work| {
        let path = content::path(&args.path);
        let output = content::destination(args.output, &path)?;
        let (cid, kind) = work.repo.stat(&path)?;
        match kind {
            Node::Directory => write_directory(work, &cid, &output)?,
            Node::File { .. } => write_file(work, &cid, &output)?,
            Node::Link { target } => bail!("{path} is a link to {target:?}; get that instead"),
        }
        say(format_args!("wrote {}", output.display()));
        Ok(())
    })
    .await
}

fn write_directory(work: &Work, cid: &Cid, output: &Path) -> anyhow::Result<()> {
    if output.exists() {
        bail!("{} is there already; name another place", output.display());
    }
    let unfinished = work.unfinished(output)?;
    let whole = unfinished.path().join("whole");
    export::to_directory(&**work.repo.store(), cid, &whole)?;
    // Not over anything: rename replaces an empty directory and refuses every other.
    fs::rename(&whole, output).with_context(|| format!("cannot write {}", output.display()))
}

fn write_file(work: &Work, cid: &Cid, output: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", output.display());
    let unfinished = work.unfinished(output)?;
    let mut whole = NamedTempFile::new_in(unfinished.path()).with_context(failed)?;
    let mut file = work.repo.file_of(cid)?.cursor();
    let mut out = io::BufWriter::with_capacity(1 << 20, whole.as_file_mut());
    io::copy(&mut file, &mut out)?;
    out.flush().with_context(failed)?;
    drop(out);
    whole
        .persist_noclobber(output)
        .map_err(|error| anyhow::Error::from(error.error).context(failed()))?;
    Ok(())
}
