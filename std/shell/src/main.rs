//! The shell as a program of its own: a prompt on a terminal, a list of commands elsewhere.

use std::cell::RefCell;
use std::rc::Rc;

use runtime::io::stdin;
use runtime::spawn;

fn main() {
    runtime::run(|session| async move {
        let session = Rc::new(RefCell::new(session));
        let _renewal = spawn(shell::renew(session.clone()));
        let input = stdin();
        let status = if input.is_terminal() {
            shell::prompt(input, &session).await?
        } else {
            shell::script(input, &session).await?.unwrap_or_default()
        };
        runtime::exit(status)
    })
}
