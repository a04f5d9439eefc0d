//! The command line: which commands there are, and what every one of them keeps to.
//!
//! Standard output carries the result and nothing else: the guest's own output, the CID of a push,
//! a completion script. Logs, progress and errors go to standard error. An error is one line that
//! says what to do, and exit code 1; with `-v` what caused it stands below. A command line that
//! makes no sense is refused by clap with exit code 2. `ww run` ends with the guest's code.

mod add;
mod build;
mod car;
mod cat;
mod completions;
mod content;
mod gc;
mod get;
mod init;
mod inspect;
mod layers;
mod log;
mod ls;
mod pin;
mod push;
mod run;
mod sdk;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What `ww --help` says before the list of commands.
const ABOUT: &str = "\
Run WebAssembly programs that you did not write, and hand them only what they need.

An environment is a folder with a program in boot/main.wasm and, if it likes, bin/, etc/, usr/ and
var/ beside it. `ww run` boots that program in a sandboxed cell, on a node that other nodes can
reach. The program starts with the capabilities it was granted and nothing else.";

/// What it says after them: a day with `ww`, to type as it stands.
const A_DAY: &str = "\
From nothing to a published program:
  ww init my-app --template rust   # a new program, complete with its SDK
  cd my-app
  ww build                         # compile it to boot/main.wasm
  ww run                           # run it here
  ww push                          # publish the environment; prints its CID
  ww run /ipfs/<CID>               # run what was published

More:
  ww inspect my-app                # what it can do, before it does anything
  ww ls CID; ww cat CID/etc/motd   # look at what is published
  ww run my-app --grant host       # let it reach other nodes
  ww run base my-app -- --flag     # my-app on top of base; --flag is for the program
  RUST_LOG=ww=debug ww run         # what the node is doing, on standard error
  ww COMMAND --help                # all about one command";

/// The whole command line.
#[derive(Parser)]
#[command(name = "ww", version, about = ABOUT, after_help = A_DAY, arg_required_else_help = true)]
struct Cli {
    /// When something fails, show what caused it
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

/// One variant for each command; its arguments are defined where the command is.
#[derive(Subcommand)]
enum Command {
    Init(init::InitArgs),
    Build(build::BuildArgs),
    Run(run::RunArgs),
    Push(push::PushArgs),
    Inspect(inspect::InspectArgs),
    Add(add::AddArgs),
    Cat(cat::CatArgs),
    Ls(ls::LsArgs),
    Get(get::GetArgs),
    Pin(pin::PinArgs),
    Gc(gc::GcArgs),
    Car(car::CarArgs),
    Completions(completions::CompletionsArgs),
    /// What `ww run` starts to compile a component, so that a hostile one can be stopped
    #[command(hide = true)]
    CompileComponent,
}

/// Runs the program, from the command line to the exit code.
pub fn main() -> ExitCode {
    let Cli { verbose, command } = Cli::parse();
    match dispatch(command) {
        Ok(code) => code,
        Err(error) => {
            report(&error, verbose);
            ExitCode::FAILURE
        }
    }
}

/// Hands the command its arguments; gives the exit code.
fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    if !matches!(command, Command::CompileComponent) {
        log::start();
    }
    let code = match command {
        Command::Init(args) => init::run(&args)?,
        Command::Build(args) => on_runtime(build::run(args))?,
        Command::Run(args) => on_runtime(run::run(args))?,
        Command::Push(args) => on_runtime(push::run(args))?,
        Command::Inspect(args) => on_runtime(inspect::run(args))?,
        Command::Add(args) => on_runtime(add::run(args))?,
        Command::Cat(args) => on_runtime(cat::run(args))?,
        Command::Ls(args) => on_runtime(ls::run(args))?,
        Command::Get(args) => on_runtime(get::run(args))?,
        Command::Pin(args) => on_runtime(pin::run(args))?,
        Command::Gc(args) => on_runtime(gc::run(args))?,
        Command::Car(args) => on_runtime(car::run(args))?,
        Command::Completions(args) => completions::run(&args)?,
        Command::CompileComponent => return Ok(cell::compile_main()),
    };
    Ok(ExitCode::from(code))
}

/// Runs an asynchronous command to its end. What it left running ends with the process.
fn on_runtime(command: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(command);
    runtime.shutdown_background();
    code
}

/// One line for people, on standard error. Nobody may be listening; that is no reason to stop.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// The error in one line; with `verbose` the causes, one a line, below it.
fn report(error: &anyhow::Error, verbose: bool) {
    let causes = error.chain().skip(1);
    if verbose {
        say(format_args!("error: {error}"));
        causes.for_each(|cause| say(format_args!("  caused by: {cause}")));
    } else if causes.len() > 0 {
        say(format_args!("error: {error} (-v shows the cause)"));
    } else {
        say(format_args!("error: {error}"));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_shows_the_day_from_init_to_push() {
        let help = Cli::command().render_help().to_string();
        for command in ["ww init", "ww build", "ww run", "ww push"] {
            assert!(help.contains(command), "{command} is missing in\n{help}");
        }
    }
}
