//! The promises of the README, through the `ww` binary, with real guests, real sockets and real nodes. Each
//! test names in a comment the rows of the acceptance list that it covers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod bad_input;
mod capabilities;
mod churn;
mod content;
mod grants;
mod guests;
mod images;
mod kernel;
mod lifecycle;
mod limits;
mod logging;
mod network;
mod peers;
mod probe;
mod processes;
mod reading;
mod readme;
mod rpc;
mod sandbox;
mod socket;
mod stdio;
mod twins;

use std::process::Command;

use fixtures::{Environment, Finished, Place, Running, Ww};
use serde_json::Value;

/// The program under test, in a home of its own.
fn ww() -> Ww {
    Ww::new(env!("CARGO_BIN_EXE_ww"))
}

/// A folder to run the program in.
fn place() -> Place {
    Place::new(env!("CARGO_BIN_EXE_ww"))
}

/// A guest alone in an image, and a `ww` to run it. Outlives what it starts.
struct Stage {
    ww: Ww,
    environment: Environment,
    options: Vec<&'static str>,
}

impl Stage {
    fn new(guest: &str) -> Self {
        Self {
            ww: ww(),
            environment: Environment::new(guest),
            options: Vec::new(),
        }
    }

    /// The same with options for `ww run`.
    fn with(mut self, options: &[&'static str]) -> Self {
        self.options.extend(options);
        self
    }

    /// Adds the content that guests name: see `guests::contract::content`.
    #[track_caller]
    fn add_content(&self) {
        add_content(&self.ww);
    }

    /// The command line that runs the guest with these arguments, on any free port.
    fn command(&self, args: &[&str]) -> Command {
        self.ww
            .guest_command_with(&self.options, &self.environment, args)
    }

    /// Runs the guest to its end.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Finished {
        fixtures::finish(&mut self.command(args))
    }

    /// Starts the guest, to talk to it.
    fn start(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command(args))
    }
}

/// Adds a directory with the file `file` and the link `link` to the store of a `ww`.
#[track_caller]
fn add_content(ww: &Ww) {
    let content = Environment::empty();
    content.write("file", "hello").link("link", "file");
    let mut command = ww.command(["add", "-rQ"]);
    let added = fixtures::finish(command.arg(content.path())).ok().stdout();
    assert_eq!(
        added.trim(),
        "bafybeid4wnp4ydlzb3gpvdhmqqv4lokmisrcto4yzmxeh7bom2uxj7z264",
        "not what the guests name"
    );
}

/// What a guest printed, alone in its image, if it succeeded.
#[track_caller]
fn output(guest: &str, args: &[&str]) -> String {
    Stage::new(guest).run(args).ok().stdout()
}

/// The lines of JSON that a guest prints.
#[track_caller]
fn json(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// The attempts that a probe reports, by name.
struct Attempts(Vec<Value>);

impl Attempts {
    #[track_caller]
    fn of(output: &str) -> Self {
        Self(json(output))
    }

    #[track_caller]
    fn find(&self, name: &str) -> &Value {
        let found = self.0.iter().find(|line| line["attempt"] == name);
        found.unwrap_or_else(|| panic!("{name:?} was not attempted: {:?}", self.0))
    }

    /// What an attempt that succeeded gave.
    #[track_caller]
    fn ok(&self, name: &str) -> &Value {
        let attempt = self.find(name);
        attempt
            .get("ok")
            .unwrap_or_else(|| panic!("not allowed: {attempt}"))
    }

    /// How an attempt was refused.
    #[track_caller]
    fn error(&self, name: &str) -> &str {
        let attempt = self.find(name);
        attempt["error"]
            .as_str()
            .unwrap_or_else(|| panic!("not refused: {attempt}"))
    }
}
