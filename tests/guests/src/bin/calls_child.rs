//! Runs the component at the path in its first argument, and calls what that exports: an executor.

use runtime::capnp::capability::FromClientHook as _;
use runtime::process;
use runtime::system_capnp::executor;

fn main() {
    runtime::run(|session| async move {
        let wasm = std::fs::read(guests::arg(1, "/bin/serves.wasm".to_owned()))?;
        let none: [&str; 0] = [];
        let child = process::run_bytes(&session.executor()?, &wasm, &["serves"], &none).await?;
        let hook = child.bootstrap_request().send().pipeline.get_cap().as_cap();
        let exported = executor::Client::new(hook);
        let mut request = exported.echo_request();
        request.get().set_message("grüße");
        let reply = request.send().promise.await?;
        println!("{}", reply.get()?.get_response()?.to_str()?);
        child.kill_request().send().promise.await?;
        Ok(())
    });
}
