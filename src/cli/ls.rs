//! `ww ls`: what is in a directory.

use std::io::{self, Write};

use ::content::tree::Node;

use super::content::{self, SourceArgs};

/// List a directory by its content address
///
/// A line for each entry: its CID, its size in bytes (- for a directory), and its name.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ww ls /ipfs/CID
  ww ls CID/boot")]
pub struct LsArgs {
    /// /ipfs/CID[/name…], or a CID
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,

    #[command(flatten)]
    sources: SourceArgs,
}

/// Runs the command.
pub async fn run(args: LsArgs) -> anyhow::Result<u8> {
    content::run(args.sources, move |work| {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let many = args.paths.len() > 1;
        for path in &args.paths {
            let entries = work.repo.list(&content::path(path))?;
            if many {
                writeln!(out, "{path}:")?;
            }
            for entry in entries {
                let name = shown(&entry.name);
                match entry.node {
                    Node::Directory => writeln!(out, "{} - {name}/", entry.cid)?,
                    Node::File { bytes } => writeln!(out, "{} {bytes} {name}", entry.cid)?,
                    Node::Link { target } => {
                        writeln!(out, "{} {} {name}", entry.cid, target.len())?;
                    }
                }
            }
        }
        Ok(out.flush()?)
    })
    .await
}

/// A name that cannot end its line or drive a terminal: whoever made the directory chose it.
pub fn shown(name: &str) -> String {
    name.chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}
