//! `ww inspect`: what a component says that it needs, before any of it runs.
//!
//! A component cannot do more than what it imports, so its imports are told with what each means in a cell. Which grants
//! it asks for does not show before it runs: it finds them by name.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cell::Inspection;
use serde_json::json;
use ww::home::Home;

use super::content::{SourceArgs, Told};
use super::layers;

/// The largest file that is read as a component, 64 MiB, as when it is run.
const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// Show what a program imports, and what it would need
///
/// Reads the component and runs none of it. An import that cells do not have is marked; `ww run`
/// would refuse the program for it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ww inspect                  # boot/main.wasm of the environment in this directory
  ww inspect tool.wasm        # one component
  ww inspect /ipfs/CID        # what `ww push` published
  ww inspect --json my-app    # for programs")]
pub struct InspectArgs {
    /// An environment, a component, or /ipfs/CID[/sub/dir]
    #[arg(value_name = "PATH|CID", default_value = ".")]
    path: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    sources: SourceArgs,
}

/// Runs the command.
pub async fn run(args: InspectArgs) -> anyhow::Result<u8> {
    let home = Home::open()?;
    let (path, sources) = (args.path.clone(), args.sources.clone());
    let read = tokio::task::spawn_blocking(move || {
        let wasm = read(&path, &sources, &home)?;
        anyhow::Ok(cell::inspect(&wasm)?)
    });
    let inspection = read.await.context("reading was interrupted")??;
    let told = match args.json {
        true => as_json(&inspection),
        false => as_text(&inspection),
    };
    writeln!(std::io::stdout(), "{told}").context("cannot write to standard output")?;
    Ok(0)
}

fn read(path: &Path, sources: &SourceArgs, home: &Home) -> anyhow::Result<Vec<u8>> {
    if path.starts_with("/ipfs") {
        let told = Told::default();
        let repo = sources.open(home, &told)?;
        return Ok(layers::merge(&[path.to_owned()], &repo)?.entry);
    }
    let file = match path.is_dir() {
        true => path.join(image::ENTRY),
        false => path.to_owned(),
    };
    let size = std::fs::metadata(&file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .len();
    if size > MAX_COMPONENT_BYTES {
        bail!(
            "{} has {size} bytes; at most {MAX_COMPONENT_BYTES} are read",
            file.display()
        );
    }
    std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// What an interface means in a cell.
fn meaning(import: &str) -> &'static str {
    let name = import.split_once('@').map_or(import, |(name, _)| name);
    match name {
        "wetware:rpc/rpc" | "wetware:streams/streams" => "asks its host for what it was granted",
        "wasi:cli/environment" => "its arguments, and the environment it is given",
        "wasi:cli/exit" => "its exit code",
        "wasi:cli/stdin" | "wasi:cli/stdout" | "wasi:cli/stderr" => "its own standard streams",
        "wasi:filesystem/preopens" | "wasi:filesystem/types" => "files, of its image alone",
        "wasi:clocks/monotonic-clock" | "wasi:clocks/wall-clock" => "the time",
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => {
            "random numbers"
        }
        _ if name.starts_with("wasi:sockets/") => "sockets: every use is refused",
        _ if name.starts_with("wasi:cli/terminal") => "whether its streams are a terminal",
        _ => "waiting, and bytes in memory",
    }
}

fn as_text(inspection: &Inspection) -> String {
    let width = inspection
        .imports
        .iter()
        .map(|import| import.name.chars().count());
    let width = width.max().unwrap_or(0);
    let mut lines = vec!["imports".to_owned()];
    for import in &inspection.imports {
        let told = match import.missing {
            None => meaning(&import.name).to_owned(),
            Some(hint) => format!("MISSING: {hint}"),
        };
        lines.push(format!("  {:width$}  {told}", import.name));
    }
    if inspection.imports.is_empty() {
        lines.push("  nothing".into());
    }
    lines.push("exports".to_owned());
    lines.extend(inspection.exports.iter().map(|name| format!("  {name}")));
    lines.push(verdict(inspection).to_owned());
    lines.join("\n")
}

fn verdict(inspection: &Inspection) -> &'static str {
    let missing = inspection
        .imports
        .iter()
        .any(|import| import.missing.is_some());
    let asks = inspection
        .imports
        .iter()
        .any(|import| import.missing.is_none() && import.name.starts_with("wetware:"));
    if missing {
        "It cannot run here: it imports what cells do not have."
    } else if !inspection.is_command {
        "It cannot run by itself: it does not export wasi:cli/run."
    } else if asks {
        "It can run, and will look for grants by name; `ww run --grant` decides what it finds, `--audit` tells what it uses."
    } else {
        "It can run, and needs no grant: it cannot ask for one."
    }
}

fn as_json(inspection: &Inspection) -> String {
    let imports: Vec<_> = inspection
        .imports
        .iter()
        .map(|import| json!({ "name": import.name, "missing": import.missing }))
        .collect();
    json!({
        "imports": imports,
        "exports": inspection.exports,
        "command": inspection.is_command,
    })
    .to_string()
}
