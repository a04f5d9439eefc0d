//! `ww build`: compiles a package, or a workspace of them, into the environment that it stands in.
//!
//! Cargo does the work, and says what it does; this module asks it what there is to build, takes
//! the one right artifact out of its answer — wherever cargo was told to put it — and sets it in
//! place in one step, so that nobody ever sees half a program. What is no component is refused.

mod artifact;
mod cargo;
mod plan;

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::say;
use artifact::Component;

/// Compile to boot/main.wasm
///
/// Builds the Rust package in PATH with cargo, for wasm32-wasip2 and in release mode. Of several
/// programs it takes the manifest's default-run, or the one that is named like the package.
///
/// If PATH is a workspace without a package of its own, each member's program becomes the member's
/// boot/main.wasm, and together they become one environment in PATH: the member that the manifest
/// names under [workspace.metadata.ww], as in `boot = "kernel"`, is its boot/main.wasm, the others
/// are bin/NAME.wasm.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct BuildArgs {
    /// The folder with the Cargo.toml
    #[arg(default_value = ".")]
    path: PathBuf,
}

/// Builds, and says what was made.
pub async fn run(args: BuildArgs) -> anyhow::Result<u8> {
    let folder = &args.path;
    if !folder.is_dir() {
        bail!(
            "there is no folder {}; give the one with the Cargo.toml",
            folder.display()
        );
    }
    if !folder.join("Cargo.toml").exists() {
        bail!(
            "no Cargo.toml in {}; `ww init FOLDER --template rust` makes a package to start from",
            folder.display()
        );
    }
    let plan = plan::of(cargo::metadata(folder).await?, folder)?;
    let built = match cargo::build(folder, &plan).await? {
        cargo::Outcome::Built(built) => built,
        cargo::Outcome::Interrupted => return Ok(cargo::INTERRUPTED),
    };
    let mut components = Vec::new();
    for program in &plan.programs {
        let Some(file) = built.get(&program.id) else {
            bail!(
                "cargo did not say where it put {}; a newer cargo will: rustup update",
                program.bin
            );
        };
        components.push((Component::read(file)?, &program.places));
    }
    for (component, places) in &components {
        for place in *places {
            install(component, place)?;
        }
    }
    Ok(0)
}

/// Puts the component in its place, and says so.
fn install(component: &Component, place: &Path) -> anyhow::Result<()> {
    component.install(place)?;
    say(format_args!(
        "built {} ({})",
        place.strip_prefix(".").unwrap_or(place).display(),
        indicatif::HumanBytes(component.size())
    ));
    Ok(())
}
