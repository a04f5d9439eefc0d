//! Spawns children for as long as it is told to. A line of standard input is `row NUMBER`, for children that each
//! end before the next one begins, or `once NUMBER`, for children that are all there at a time; it says when they
//! are. Repeats the line when they have gone.
//!
//! Children in a row run `/bin/plain.wasm`, those at once `/bin/idle.wasm`, which is killed.

use futures::future::try_join_all;
use futures::io::BufReader;
use futures::{AsyncBufReadExt as _, StreamExt as _};
use runtime::system_capnp::{process, program};
use runtime::{Result, Session};

/// Children that are started and ended at a time, of those that are all there at once: as many calls as
/// a cell may comfortably have under way.
const TOGETHER: usize = 100;

fn main() {
    runtime::run(|session| async move {
        let plain = load(&session, "/bin/plain.wasm").await?;
        let idle = load(&session, "/bin/idle.wasm").await?;
        let mut lines = BufReader::new(runtime::io::stdin()).lines();
        while let Some(line) = lines.next().await {
            let line = line?;
            match line.split_once(' ') {
                Some(("row", number)) => in_a_row(&plain, number.parse()?).await?,
                Some(("once", number)) => at_once(&idle, number.parse()?).await?,
                _ => return Err("what is a line of this?".into()),
            }
            println!("{line}");
        }
        Ok(())
    });
}

async fn in_a_row(program: &program::Client, number: usize) -> Result<()> {
    for _ in 0..number {
        let process = spawn(program).await?;
        let exit = process.wait_request().send().promise.await?;
        if exit.get()?.get_exit_code() != 0 {
            return Err("a child has failed".into());
        }
    }
    Ok(())
}

async fn at_once(program: &program::Client, number: usize) -> Result<()> {
    let mut all = Vec::new();
    while all.len() < number {
        let more = TOGETHER.min(number - all.len());
        all.extend(try_join_all((0..more).map(|_| spawn(program))).await?);
    }
    println!("alive {}", all.len());
    for some in all.chunks(TOGETHER) {
        try_join_all(some.iter().map(async |process| {
            process.kill_request().send().promise.await?;
            Ok::<_, runtime::Error>(())
        }))
        .await?;
    }
    Ok(())
}

async fn load(session: &Session, path: &str) -> Result<program::Client> {
    let executor = session.executor()?;
    let mut request = executor.load_request();
    request.get().init_source().set_path(path);
    Ok(request.send().promise.await?.get()?.get_program()?)
}

async fn spawn(program: &program::Client) -> Result<process::Client> {
    let process = program.spawn_request().send().promise.await?;
    Ok(process.get()?.get_process()?)
}
