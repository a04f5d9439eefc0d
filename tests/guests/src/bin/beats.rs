//! Writes to the stream that it was granted as `log`, again and again. When that fails it says why, and ends
//! with 9. With an argument it first spawns that program with the same grant, detaches it, and ends with 0.

use std::time::Duration;

use runtime::system_capnp::byte_stream;
use runtime::{Session, Spawn};

const PAUSE: Duration = Duration::from_millis(10);

fn main() {
    runtime::run(|session| async move {
        let log: byte_stream::Client = session.grant("log")?;
        let program = guests::arg(1, String::new());
        if !program.is_empty() {
            return delegate(&session, &program, &log).await;
        }
        loop {
            let mut beat = log.write_request();
            beat.get().set_data(b".");
            if let Err(error) = beat.send().promise.await {
                println!("{error}");
                runtime::exit(9);
            }
            runtime::sleep(PAUSE).await;
        }
    });
}

async fn delegate(
    session: &Session,
    program: &str,
    log: &byte_stream::Client,
) -> runtime::Result<()> {
    let child = Spawn::from_path(&session.executor()?, program)
        .args(&["beats"])
        .grant("log", log)
        .start()
        .await?;
    child.detach_request().send().promise.await?;
    Ok(())
}
