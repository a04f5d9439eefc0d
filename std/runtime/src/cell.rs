//! How a guest starts and ends: the conversation is opened, the session taken, the program run.

use std::cell::Cell;
use std::future::Future;
use std::io::Write as _;
use std::rc::Rc;

use capnp::capability::{Client, FromClientHook};
use capnp_rpc::RpcSystem;
use wasip2::cli;

use crate::error::{Error, Result};
use crate::executor::{self, spawn};
use crate::session::Session;
use crate::vat::{Host, Network};

/// Runs the program as a cell: opens the conversation with the host, takes the session that holds what
/// the parent granted, hands it to `main`, and runs that to its end.
///
/// Returns when `main` has succeeded; whatever it has spawned is cancelled. When it fails, the
/// error with its causes is printed on standard error, and the program ends with exit code 1. So
/// it does when the conversation ends first: every call in flight fails, and `main` may go on for as
/// long as it need not wait.
///
/// Call it once, from `fn main`.
pub fn run<F, Fut>(main: F)
where
    F: FnOnce(Session) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    finish(converse(None, main));
}

/// Like [`run`], and offers `exported` to the parent, which reaches it through `Process.bootstrap`.
///
/// It serves until `main` ends, or the host ends the conversation, which is no error here. A program
/// that does nothing but serve has `std::future::pending()` for a `main`.
pub fn serve<C, F, Fut>(exported: C, main: F)
where
    C: FromClientHook,
    F: FnOnce(Session) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let exported = Client::new(exported.into_client_hook());
    finish(match converse(Some(exported), main) {
        Err(Error::Disconnected) => Ok(()),
        outcome => outcome,
    });
}

/// Ends the program with this code, once what it has written to the standard streams is handed over.
///
/// `std::process::exit` tells the host only whether the code was 0.
pub fn exit(code: u8) -> ! {
    flush();
    cli::exit::exit_with_code(code);
    // Not reached: the host ends the program in the call above.
    std::process::exit(i32::from(code))
}

fn converse<F, Fut>(exported: Option<Client>, main: F) -> Result<()>
where
    F: FnOnce(Session) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut rpc = RpcSystem::new(Box::new(Network::connect()?), exported);
    let membrane = rpc.bootstrap(Host);
    let ended = Rc::new(Cell::new(false));
    let end = ended.clone();
    // Before anything waits for an answer: it is this task that receives it.
    let conversation = spawn(async move {
        let _ = rpc.await;
        end.set(true);
    });
    let program = async {
        let session = Session::graft(membrane).await?;
        main(session).await
    };
    let outcome = executor::drive(program, &ended);
    drop(conversation);
    outcome
}

fn finish(outcome: Result<()>) {
    match outcome {
        Ok(()) => flush(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", error.chain());
            exit(1);
        }
    }
}

/// Flushing is asynchronous in WASI, and the end of a program does not wait for it. A stream whose
/// reader has gone is no error here.
fn flush() {
    let _ = std::io::stdout().flush();
    let _ = cli::stdout::get_stdout().blocking_flush();
    let _ = cli::stderr::get_stderr().blocking_flush();
}
