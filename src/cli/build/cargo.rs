//! Cargo as a child process: asked what there is, told what to build, ended when we are.
//!
//! It runs in the folder that is built, so that the folder's own `.cargo/config.toml` and toolchain
//! apply, and in our process group, so that it can ask its user for a password.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, anyhow};
use cargo_metadata::{Message, Metadata, MetadataCommand, PackageId};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::plan::Plan;
use crate::cli::say;

/// The target of every guest.
const TARGET: &str = "wasm32-wasip2";
/// The exit code of a program that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;
/// What to do when there is no cargo.
const NO_CARGO: &str = "cargo is not installed, or not in PATH; get Rust from https://rustup.rs";

/// How a build ended, other than in an error.
pub enum Outcome {
    /// Where each package's program is now.
    Built(HashMap<PackageId, PathBuf>),
    /// The user ended it.
    Interrupted,
}

/// What cargo knows about the package or workspace in `folder`; its dependencies are not looked at.
pub async fn metadata(folder: &Path) -> anyhow::Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.cargo_path("cargo").current_dir(folder).no_deps();
    let asked = tokio::task::spawn_blocking(move || command.exec()).await?;
    asked.map_err(|e| match e {
        cargo_metadata::Error::Io(e) if e.kind() == io::ErrorKind::NotFound => anyhow!(NO_CARGO),
        cargo_metadata::Error::CargoMetadata { stderr } => {
            say(stderr.trim_end());
            let manifest = folder.join("Cargo.toml");
            anyhow!(
                "cargo cannot use {}; its error is above",
                manifest.display()
            )
        }
        other => anyhow!("cargo metadata: {other}"),
    })
}

/// Builds the plan's programs. Cargo's own words go to standard error as they come.
pub async fn build(folder: &Path, plan: &Plan) -> anyhow::Result<Outcome> {
    let mut interrupts = Interrupts::listen()?;
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    for program in &plan.programs {
        command.args(["--package", &program.id.repr, "--bin", &program.bin]);
    }
    let mut child = command.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => anyhow!(NO_CARGO),
        _ => anyhow!("cannot start cargo: {e}"),
    })?;
    tokio::select! {
        ended = follow(&mut child, plan) => {
            let (built, status) = ended?;
            if !status.success() {
                return Err(why_it_failed(folder, plan).await);
            }
            Ok(Outcome::Built(built))
        }
        () = interrupts.next() => {
            // A terminal has told cargo as well; from elsewhere only we were asked.
            child.kill().await?;
            Ok(Outcome::Interrupted)
        }
    }
}

/// Reads cargo's messages to their end.
async fn follow(
    child: &mut Child,
    plan: &Plan,
) -> anyhow::Result<(HashMap<PackageId, PathBuf>, ExitStatus)> {
    let mut built = HashMap::new();
    let stdout = child
        .stdout
        .take()
        .context("cargo has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        // A line that is no message of cargo's is what some build tool printed.
        let Ok(Message::CompilerArtifact(artifact)) = serde_json::from_str(&line) else {
            continue;
        };
        let is_planned = plan.programs.iter().any(|program| {
            program.id == artifact.package_id
                && artifact.target.is_bin()
                && program.bin == artifact.target.name
        });
        if let Some(file) = artifact.executable.filter(|_| is_planned) {
            built.insert(artifact.package_id, file.into_std_path_buf());
        }
    }
    Ok((built, child.wait().await?))
}

/// Cargo has said what is wrong; this says it in one line, and what only we can know.
async fn why_it_failed(folder: &Path, plan: &Plan) -> anyhow::Error {
    if target_is_missing(folder).await {
        return anyhow!(
            "the compiler has no {TARGET} target; install it with: rustup target add {TARGET}"
        );
    }
    let names: Vec<&str> = plan.programs.iter().map(|p| p.package.as_str()).collect();
    anyhow!(
        "{} did not build; cargo's errors are above",
        names.join(", ")
    )
}

/// Whether the compiler that cargo uses in `folder` has no standard library for guests.
async fn target_is_missing(folder: &Path) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let asked = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(folder)
        .kill_on_drop(true)
        .output()
        .await;
    match asked {
        Ok(answer) if answer.status.success() => {
            let path = String::from_utf8_lossy(&answer.stdout);
            !Path::new(path.trim()).is_dir()
        }
        _ => false,
    }
}

/// The signals that ask a program to end.
struct Interrupts {
    from_terminal: Signal,
    from_elsewhere: Signal,
}

impl Interrupts {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            from_terminal: listen(SignalKind::interrupt())?,
            from_elsewhere: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.from_terminal.recv() => {}
            _ = self.from_elsewhere.recv() => {}
        }
    }
}
