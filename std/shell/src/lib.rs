//! Wetware's shell: commands over the capabilities of a session, a line at a time.
//!
//! [`prompt`] asks a person for them, [`script`] takes them as they come. Either reads its input with the guest's own
//! loop, so that calls, releases and the output of programs move while the user thinks. The
//! kernel is made of the same parts, and adds what the first cell of a node has to do besides.

mod command;
pub mod host;
mod program;
mod words;

use std::cell::RefCell;
use std::rc::Rc;

use runtime::capnp::ErrorKind;
use runtime::io::{Reader, stderr, stdout};
use runtime::{Error, Result, Session};

use command::Command;
use program::Ended;

/// What shells answer for a command that does not exist.
const NOT_FOUND: u8 = 127;
/// What they answer for one that is not written as it should be.
const MISUSED: u8 = 2;
const FAILED: u8 = 1;

/// Keeps the session that of the epoch in force. Returns when the conversation has ended.
pub async fn renew(session: Rc<RefCell<Session>>) {
    loop {
        let current = session.borrow().clone();
        match current.next_epoch().await {
            Ok(next) => drop(session.replace(next)),
            // This host has no epochs, so there is no next, and nothing that would tell of an end.
            Err(Error::Call(error)) if error.kind == ErrorKind::Unimplemented => {
                return std::future::pending().await;
            }
            Err(_) => return,
        }
    }
}

/// Asks for commands until the input ends or one of them leaves. Returns the status to end with.
///
/// # Errors
/// When our own streams fail.
pub async fn prompt(mut input: Reader, session: &RefCell<Session>) -> Result<u8> {
    let mut status = 0;
    loop {
        stderr().write_all(b"ww> ").await?;
        let Some(line) = input.next_line().await? else {
            stderr().write_all(b"\n").await?;
            return Ok(status);
        };
        match perform(&line, session, status).await? {
            Next::Go(next) => status = next,
            Next::Leave(status) => return Ok(status),
        }
    }
}

/// Runs the commands of an input, without a prompt. Returns the last one's status, or nothing where there was
/// none.
///
/// # Errors
/// When our own streams fail.
pub async fn script(mut input: Reader, session: &RefCell<Session>) -> Result<Option<u8>> {
    let mut last = None;
    while let Some(line) = input.next_line().await? {
        match perform(&line, session, last.unwrap_or_default()).await? {
            Next::Go(status) => last = Some(status),
            Next::Leave(status) => return Ok(Some(status)),
        }
    }
    Ok(last)
}

enum Next {
    Go(u8),
    Leave(u8),
}

/// Does what a line asks for, and tells its status. Only our own streams' failing is an error.
async fn perform(line: &str, session: &RefCell<Session>, last: u8) -> Result<Next> {
    let words = match words::split(line) {
        Ok(words) => words,
        Err(error) => return complain(&error.to_string(), MISUSED).await,
    };
    let session = session.borrow().clone();
    let outcome = match command::parse(words) {
        Command::Nothing => return Ok(Next::Go(last)),
        Command::Exit(code) => return Ok(Next::Leave(code.unwrap_or(last))),
        Command::Misused(usage) => return complain(&format!("write: {usage}"), MISUSED).await,
        Command::Run(name, args) => return run(&session, &name, &args).await,
        Command::Help => Ok(command::HELP.to_owned()),
        Command::HostId => host::id(&session).await.map(|id| id + "\n"),
        Command::HostAddrs => host::addrs(&session).await,
        Command::HostPeers => host::peers(&session).await,
        Command::Echo(message) => host::echo(&session, &message).await.map(|text| text + "\n"),
    };
    match outcome {
        Ok(text) => {
            stdout().write_all(text.as_bytes()).await?;
            Ok(Next::Go(0))
        }
        Err(error) => complain(&error.chain(), FAILED).await,
    }
}

async fn run(session: &Session, name: &str, args: &[String]) -> Result<Next> {
    match program::run(session, name, args).await {
        Ok(Ended::NotFound(path)) => {
            let text =
                format!("{name}: no such command: there is no {name}.wasm in {path}; try help");
            complain(&text, NOT_FOUND).await
        }
        Ok(Ended::Done(0, _)) => Ok(Next::Go(0)),
        Ok(Ended::Done(code, status)) => complain(&format!("{name}: {status}"), code).await,
        Err(error) => complain(&format!("{name}: {}", error.chain()), FAILED).await,
    }
}

async fn complain(text: &str, status: u8) -> Result<Next> {
    stderr()
        .write_all(format!("ww: {text}\n").as_bytes())
        .await?;
    Ok(Next::Go(status))
}
