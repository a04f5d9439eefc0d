//! Calls the first of its grants, as an executor, until it is answered or refused twice. Prints how.

use guests::report;
use runtime::system_capnp::executor;

fn main() {
    runtime::run(|session| async move {
        let name = session.names().next().unwrap_or("nothing").to_owned();
        let granted: executor::Client = session.grant(&name)?;
        for call in ["first", "second"] {
            let mut request = granted.echo_request();
            request.get().set_message("hello");
            let reply = async {
                let reply = request.send().promise.await?;
                Ok::<_, runtime::Error>(reply.get()?.get_response()?.to_string()?)
            };
            report(call, reply.await);
        }
        Ok(())
    });
}
