//! Makes a call of so many MiB (the first argument, 64 otherwise), and then a small one; prints how both
//! are answered.

use guests::report;
use runtime::system_capnp::executor::Client;

async fn echo(executor: &Client, text: &str) -> runtime::Result<usize> {
    let mut request = executor.echo_request();
    request.get().set_message(text);
    let reply = request.send().promise.await?;
    Ok(reply.get()?.get_response()?.len())
}

fn main() {
    runtime::run(|session| async move {
        let executor = session.executor()?;
        let text = "x".repeat(guests::arg(1, 64) * 1024 * 1024);
        report("oversized", echo(&executor, &text).await);
        report("small", echo(&executor, "x").await);
        Ok(())
    });
}
