//! `ww car`: content in a file, to be carried by hand.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use ::content::dag::Limits;
use ::content::{PinName, car};
use anyhow::{Context, bail};
use clap::Subcommand;
use indicatif::HumanBytes;

use super::content::{self, SourceArgs};
use super::say;

/// Put content into a file, and take it out again
///
/// A CAR holds blocks; whoever reads one checks each of them. `ww run FILE.car` runs an environment from one.
#[derive(clap::Args)]
pub struct CarArgs {
    #[command(subcommand)]
    command: CarCommand,
}

#[derive(Subcommand)]
enum CarCommand {
    /// Write everything below a path as a CAR
    Export {
        /// /ipfs/CID[/name…], or a CID
        #[arg(value_name = "PATH")]
        path: String,

        /// The file to write [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,

        #[command(flatten)]
        sources: SourceArgs,
    },
    /// Keep the blocks of a CAR, and pin its roots; prints them
    Import {
        /// The file; - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// The name of the pins
        #[arg(long, default_value = "", value_name = "NAME")]
        pin_name: String,

        /// Pin nothing: the next `ww gc` may remove it
        #[arg(long)]
        no_pin: bool,
    },
}

/// Runs the command.
pub async fn run(args: CarArgs) -> anyhow::Result<u8> {
    match args.command {
        CarCommand::Export {
            path,
            output,
            sources,
        } => {
            if output.is_none() && io::stdout().is_terminal() {
                bail!("a CAR is not for a terminal; name a file with -o, or pipe it");
            }
            content::run(sources, move |work| {
                let root = work.repo.resolve(&content::path(&path))?;
                match output {
                    Some(file) => export(work, &root, &file),
                    None => {
                        let mut out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
                        write(work, &root, &mut out)
                    }
                }
            })
            .await
        }
        CarCommand::Import {
            file,
            pin_name,
            no_pin,
        } => {
            content::run(SourceArgs::nobody(), move |work| {
                let mut reader: Box<dyn Read> = match file.as_os_str() == "-" {
                    true => Box::new(io::stdin().lock()),
                    false => Box::new(
                        File::open(&file)
                            .with_context(|| format!("cannot read {}", file.display()))?,
                    ),
                };
                let _writing = work.repo.embedded().writing()?;
                let imported = car::import(&**work.repo.store(), &mut reader, &Limits::default())?;
                for root in &imported.roots {
                    if !no_pin {
                        let name = pin_name.clone();
                        let name = PinName {
                            namespace: None,
                            name,
                        };
                        work.repo.pin_added(root, &name)?;
                    }
                    writeln!(io::stdout(), "{root}")?;
                }
                say(format_args!("{} blocks", imported.blocks));
                Ok(())
            })
            .await
        }
    }
}

/// Writes everything below `root` into a new file, which is there as a whole or not at all.
pub fn export(work: &content::Work, root: &::content::Cid, file: &Path) -> anyhow::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = || format!("cannot write {}", file.display());
    let mut unfinished = tempfile::Builder::new()
        .prefix(".ww-car-")
        .tempfile_in(folder)
        .with_context(failed)?;
    let mut out = io::BufWriter::with_capacity(1 << 20, unfinished.as_file_mut());
    write(work, root, &mut out)?;
    drop(out);
    unfinished
        .persist(file)
        .map_err(|error| anyhow::Error::from(error.error).context(failed()))?;
    Ok(())
}

fn write(work: &content::Work, root: &::content::Cid, out: &mut dyn Write) -> anyhow::Result<()> {
    let walked = car::export(&**work.repo.store(), root, &Limits::default(), out)?;
    let bytes = HumanBytes(walked.bytes);
    say(format_args!("{} blocks ({bytes})", walked.blocks));
    Ok(())
}
