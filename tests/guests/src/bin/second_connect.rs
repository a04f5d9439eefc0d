//! Asks for the conversation again after the SDK has taken it; prints how it is refused.

use guests::report;
use runtime::wit::{rpc, streams};

fn main() {
    runtime::run(|_session| async move {
        report("rpc connect", rpc::connect().map(drop));
        let second = streams::create_connection();
        for attempt in ["first", "second"] {
            let (input, output) = (second.get_input_stream(), second.get_output_stream());
            report(&format!("{attempt} read"), input.read(8));
            report(&format!("{attempt} check-write"), output.check_write());
        }
        Ok(())
    });
}
