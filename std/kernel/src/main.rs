//! Wetware's kernel: the first cell of a node.
//!
//! On a terminal it is a prompt. Elsewhere it says on standard error that it is ready, and runs what
//! standard input holds, a command a line; the end of such a script ends it, with the last command's
//! status. Where there is no input at all, it serves until it is told to stop, which is by the end of the
//! conversation with its host.
//!
//! Standard input is one more thing that its loop waits for, so that calls, releases and the
//! output of programs move while the user thinks. When an epoch ends, the commands that follow use
//! the next one's session.

use std::cell::RefCell;
use std::rc::Rc;

use runtime::io::{stderr, stdin};
use runtime::{Result, Session, spawn};
use shell::host;

fn main() {
    runtime::run(|session| async move {
        let session = Rc::new(RefCell::new(session));
        let renewal = spawn(shell::renew(session.clone()));
        let input = stdin();
        let status = if input.is_terminal() {
            shell::prompt(input, &session).await?
        } else {
            announce(&session).await?;
            match shell::script(input, &session).await? {
                Some(status) => status,
                None => {
                    renewal.await;
                    0
                }
            }
        };
        runtime::exit(status)
    })
}

/// One line for whoever started us off a terminal.
async fn announce(session: &RefCell<Session>) -> Result<()> {
    let session = session.borrow().clone();
    let id = match session.host() {
        Ok(_) => format!("\"{}\"", host::id(&session).await?),
        Err(_) => "null".to_owned(),
    };
    let line = format!("{{\"event\":\"ready\",\"peer_id\":{id}}}\n");
    stderr().write_all(line.as_bytes()).await?;
    Ok(())
}
