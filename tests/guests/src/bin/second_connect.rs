//! Asks for the conversation again after the SDK has taken it; prints how it is refused.

use guests::report;
use runtime::wit::{rpc, streams};
use wasip2::io::streams::StreamError;

fn reason(error: StreamError) -> String {
    match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    }
}

fn main() {
    runtime::run(|_session| async move {
        report("rpc connect", rpc::connect().map(drop));
        let second = streams::create_connection();
        for attempt in ["first", "second"] {
            let (input, output) = (second.get_input_stream(), second.get_output_stream());
            let read = input.read(8).map_err(reason);
            report(&format!("{attempt} read"), read);
            let room = output.check_write().map_err(reason);
            report(&format!("{attempt} check-write"), room);
        }
        Ok(())
    });
}
