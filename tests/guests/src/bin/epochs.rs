//! Lives through epochs: calls what it was granted until that fails, tells why, waits for the next epoch, and
//! goes on with its session. The argument is how many epochs to see. In each it spawns a child and detaches it.

use std::time::Duration;

use runtime::{Session, Spawn};

fn main() {
    runtime::run(|mut session| async move {
        let epochs = guests::arg(1, 2);
        for seen in 1..=epochs {
            println!("epoch {}", session.epoch().seq);
            spawn(&session).await?;
            println!("spawned");
            if seen < epochs {
                println!("{}", until_it_fails(&session).await?);
                session = session.next_epoch().await?;
            }
        }
        Ok(())
    });
}

async fn spawn(session: &Session) -> runtime::Result<()> {
    let child = Spawn::from_path(&session.executor()?, "/bin/idle.wasm")
        .args(&["idle"])
        .start()
        .await?;
    child.detach_request().send().promise.await?;
    Ok(())
}

async fn until_it_fails(session: &Session) -> runtime::Result<String> {
    let executor = session.executor()?;
    loop {
        let mut request = executor.echo_request();
        request.get().set_message("still good");
        if let Err(error) = request.send().promise.await {
            return Ok(error.to_string());
        }
        runtime::sleep(Duration::from_millis(5)).await;
    }
}
