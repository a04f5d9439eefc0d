//! `ww pin`: what `ww gc` is to leave.

use std::io::{self, Write};

use ::content::pins::Depth;
use ::content::{PinName, parse_cid};
use anyhow::bail;
use clap::Subcommand;

use super::content::{self, SourceArgs};
use super::{ls, say};

/// Keep content, and let it go
///
/// What `ww push`, `ww add` and `ww car import` have stored is pinned. A CID may be pinned under several
/// names; it stays until the last has gone.
#[derive(clap::Args)]
pub struct PinArgs {
    #[command(subcommand)]
    command: PinCommand,
}

#[derive(Subcommand)]
enum PinCommand {
    /// Fetch what is below and keep it
    Add {
        /// /ipfs/CID[/name…], or a CID
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<String>,

        /// The name of the pin
        #[arg(long, default_value = "")]
        name: String,

        /// The block alone, not what it links to
        #[arg(long)]
        direct: bool,

        #[command(flatten)]
        sources: SourceArgs,
    },
    /// Remove pins
    Rm {
        /// The CIDs
        #[arg(value_name = "CID", required = true)]
        cids: Vec<String>,

        /// The name of the pins
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List pins: CID, kind, name
    Ls {
        /// Print the CIDs alone
        #[arg(short, long)]
        quiet: bool,

        /// Only those of this name
        #[arg(long)]
        name: Option<String>,
    },
    /// Read all that is pinned, and tell what is missing or broken
    Verify,
}

/// Runs the command.
pub async fn run(args: PinArgs) -> anyhow::Result<u8> {
    match args.command {
        PinCommand::Add {
            paths,
            name,
            direct,
            sources,
        } => {
            content::run(sources, move |work| {
                let (depth, kind) = match direct {
                    true => (Depth::Direct, "directly"),
                    false => (Depth::Recursive, "recursively"),
                };
                let name = named(name);
                for path in &paths {
                    let cid = work.repo.resolve(&content::path(path))?;
                    work.repo.pin(&cid, depth, &name, &work.fetching())?;
                    writeln!(io::stdout(), "pinned {cid} {kind}")?;
                }
                Ok(())
            })
            .await
        }
        PinCommand::Rm { cids, name } => {
            content::run(SourceArgs::nobody(), move |work| {
                let name = named(name);
                for text in &cids {
                    let cid = parse_cid(text.strip_prefix("/ipfs/").unwrap_or(text))?;
                    work.repo.unpin(&cid, &name)?;
                    writeln!(io::stdout(), "unpinned {cid}")?;
                }
                Ok(())
            })
            .await
        }
        PinCommand::Ls { quiet, name } => {
            content::run(SourceArgs::nobody(), move |work| {
                let mut out = io::BufWriter::new(io::stdout().lock());
                for pin in work.repo.pins_in(None)? {
                    if name.as_ref().is_some_and(|name| *name != pin.name) {
                        continue;
                    }
                    let kind = match pin.depth {
                        Depth::Direct => "direct",
                        Depth::Recursive => "recursive",
                    };
                    match (quiet, pin.name.as_str()) {
                        (true, _) => writeln!(out, "{}", pin.cid)?,
                        (false, "") => writeln!(out, "{} {kind}", pin.cid)?,
                        (false, name) => writeln!(out, "{} {kind} {}", pin.cid, ls::shown(name))?,
                    }
                }
                Ok(out.flush()?)
            })
            .await
        }
        PinCommand::Verify => content::run(SourceArgs::nobody(), verify).await,
    }
}

fn named(name: String) -> PinName {
    PinName {
        namespace: None,
        name,
    }
}

fn verify(work: &content::Work) -> anyhow::Result<()> {
    let mut broken = 0_u64;
    for pin in work.repo.pins_in(None)? {
        let health = work.repo.verify(&pin)?;
        if health.is_whole() {
            writeln!(
                io::stdout(),
                "{} ok ({} blocks)",
                pin.cid,
                health.good.blocks
            )?;
            continue;
        }
        broken = broken.saturating_add(1);
        writeln!(io::stdout(), "{} broken", pin.cid)?;
        for fault in &health.faults {
            say(format_args!("  {}", fault.why));
        }
    }
    match broken {
        0 => Ok(()),
        pins => {
            bail!("{pins} pins are broken; `ww pin add` them again where somebody has the blocks")
        }
    }
}
