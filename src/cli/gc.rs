//! `ww gc`: throws away what no pin keeps.

use std::io::{self, Write};

use ::content::gc::{self, Mode, Options, PATIENCE, Progress};
use indicatif::HumanBytes;

use super::content::{self, SourceArgs};
use super::say;

/// Remove content that no pin keeps
///
/// Waits some seconds for commands and nodes that are writing, and leaves everything as it is if they go on.
#[derive(clap::Args)]
pub struct GcArgs {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub async fn run(args: GcArgs) -> anyhow::Result<u8> {
    content::run(SourceArgs::nobody(), move |work| {
        let options = Options {
            mode: match args.dry_run {
                true => Mode::DryRun,
                false => Mode::Sweep,
            },
            patience: PATIENCE,
        };
        let bar = content::bar("looking through the store");
        let report = gc::collect(work.repo.embedded(), &options, &mut |progress| {
            let (Progress::Marking { blocks } | Progress::Sweeping { blocks }) = progress;
            bar.set_message(format!("{blocks} blocks"));
            bar.tick();
        })?;
        bar.finish_and_clear();
        for warning in &report.warnings {
            say(format_args!(
                "warning: below a pin of {}: {}",
                warning.pin.cid, warning.why
            ));
        }
        if report.unnamed > 0 {
            say(format_args!("warning: and {} more", report.unnamed));
        }
        let done = match args.dry_run {
            true => "would remove",
            false => "removed",
        };
        let freed = HumanBytes(report.freed_bytes);
        let (removed, kept) = (report.removed, report.kept);
        writeln!(
            io::stdout(),
            "{done} {removed} blocks ({freed}), kept {kept}"
        )?;
        Ok(())
    })
    .await
}
