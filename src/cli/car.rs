//! `ww car`: content in a file, to be carried by hand.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use ::content::dag::Limits;
use ::content::{Cid, PinName, car};
use anyhow::{Context, bail};
use clap::Subcommand;
use indicatif::HumanBytes;
use tempfile::NamedTempFile;

use super::content::{self, SourceArgs, Work};
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

        /// Replace FILE if it is there
        #[arg(short, long)]
        force: bool,

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
            force,
            sources,
        } => {
            if output.is_none() && io::stdout().is_terminal() {
                bail!("a CAR is not for a terminal; name a file with -o, or pipe it");
            }
            content::run(sources, move |work| {
                let root = work.repo.resolve(&content::path(&path))?;
                match output {
                    Some(file) => export(work, &root, &file, force),
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

/// Writes everything below `root` into a file, which is there as a whole or not at all. One that is there already is
/// replaced only if that is asked for; what is no file, a pipe or a device, is written to.
pub fn export(work: &Work, root: &Cid, file: &Path, force: bool) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", file.display());
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => bail!("{} is a folder; name a file", file.display()),
        Ok(found) if !found.is_file() => {
            let mut out = File::options()
                .write(true)
                .open(file)
                .with_context(failed)?;
            return write(work, root, &mut out);
        }
        Ok(_) if !force => bail!(
            "{} is there already; name another file, or pass --force to replace it",
            file.display()
        ),
        _ => {}
    }
    let unfinished = work.unfinished(file)?;
    let mut whole = NamedTempFile::new_in(unfinished.path()).with_context(failed)?;
    let mut out = io::BufWriter::with_capacity(1 << 20, whole.as_file_mut());
    write(work, root, &mut out)?;
    drop(out);
    let persisted = match force {
        true => whole.persist(file),
        false => whole.persist_noclobber(file),
    };
    persisted.map_err(|error| anyhow::Error::from(error.error).context(failed()))?;
    Ok(())
}

fn write(work: &Work, root: &Cid, out: &mut dyn Write) -> anyhow::Result<()> {
    let walked = car::export(&**work.repo.store(), root, &Limits::default(), out)?;
    let bytes = HumanBytes(walked.bytes);
    say(format_args!("{} blocks ({bytes})", walked.blocks));
    Ok(())
}
