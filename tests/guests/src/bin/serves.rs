//! Exports an executor that knows nothing but to echo, in capitals.

use std::rc::Rc;

use runtime::capnp;
use runtime::system_capnp::executor;

struct Shout;

impl executor::Server for Shout {
    async fn echo(
        self: Rc<Self>,
        params: executor::EchoParams,
        mut results: executor::EchoResults,
    ) -> capnp::Result<()> {
        let text = params.get()?.get_message()?.to_str()?.to_uppercase();
        results.get().set_response(text);
        Ok(())
    }
}

fn main() {
    let shout: executor::Client = runtime::capnp_rpc::new_client(Shout);
    runtime::serve(shout, |_session| std::future::pending());
}
