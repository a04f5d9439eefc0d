//! `ww cat`: files by path, to standard output.

use std::io::{self, Write};

use super::content::{self, SourceArgs};

/// Print files by their content address
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ww cat /ipfs/CID/etc/motd
  ww cat CID > file")]
pub struct CatArgs {
    /// /ipfs/CID[/name…], or a CID
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,

    #[command(flatten)]
    sources: SourceArgs,
}

/// Runs the command.
pub async fn run(args: CatArgs) -> anyhow::Result<u8> {
    content::run(args.sources, move |work| {
        let mut out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
        for path in &args.paths {
            let mut file = work.repo.file(&content::path(path))?.cursor();
            match io::copy(&mut file, &mut out) {
                // Whoever reads has enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                copied => copied?,
            };
        }
        match out.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => Ok(flushed?),
        }
    })
    .await
}
