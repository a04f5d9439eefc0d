//! `ww get`: files and directories by path, onto the disk.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ::content::export;
use ::content::tree::Node;
use anyhow::{Context, bail};

use super::content::{self, SourceArgs};
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
            Node::Directory => export::to_directory(&**work.repo.store(), &cid, &output)?,
            Node::File { .. } => write_file(work, &cid, &output)?,
            Node::Link { target } => bail!("{path} is a link to {target:?}; get that instead"),
        }
        say(format_args!("wrote {}", output.display()));
        Ok(())
    })
    .await
}

fn write_file(work: &content::Work, cid: &::content::Cid, output: &Path) -> anyhow::Result<()> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = || format!("cannot write {}", output.display());
    let mut unfinished = tempfile::Builder::new()
        .prefix(".ww-get-")
        .tempfile_in(folder)
        .with_context(failed)?;
    let mut file = work.repo.file_of(cid)?.cursor();
    let mut out = io::BufWriter::with_capacity(1 << 20, unfinished.as_file_mut());
    io::copy(&mut file, &mut out)?;
    out.flush().with_context(failed)?;
    drop(out);
    let kept: File = unfinished.persist_noclobber(output).map_err(|error| {
        anyhow::Error::from(error.error).context(format!("cannot write {}", output.display()))
    })?;
    drop(kept);
    Ok(())
}
