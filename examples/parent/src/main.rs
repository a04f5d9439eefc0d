//! Runs another program as a cell, talks to it through its standard streams, and waits for its end.
//!
//! The child is the component at `/bin/echo.wasm` in this program's image, or at the path in the first
//! argument. It is handed no capability: it can read what we write, answer, and nothing else.

use runtime::{bytes, process};

/// The longest answer that is taken from the child, in bytes.
const ANSWER_LIMIT: usize = 1024 * 1024;

fn main() {
    runtime::run(|session| async move {
        let path = std::env::args().nth(1);
        let path = path.unwrap_or_else(|| "/bin/echo.wasm".to_owned());
        let component = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;

        let (args, env) = ([path.as_str()], ["GREETING=hello"]);
        let child = process::run_bytes(&session.executor()?, &component, &args, &env).await?;

        let input = process::stdin(&child);
        bytes::write_all(&input, b"Is anybody there?\n").await?;
        bytes::close(&input).await?;
        let answer = bytes::read_to_end(&process::stdout(&child), ANSWER_LIMIT).await?;
        let code = process::wait(&child).await?;

        print!("the child said: {}", String::from_utf8_lossy(&answer));
        println!("the child ended with {code}");
        Ok(())
    });
}
