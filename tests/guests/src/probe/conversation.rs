//! A second conversation with the host, beside the one that the SDK has taken.

use runtime::wit::{rpc, streams};
use wasip2::io::streams::StreamError;

use super::tell;

const KIND: &str = "conversation";

/// Tries to have one.
pub fn run() {
    tell(KIND, "a second one, in messages", rpc::connect().map(drop));
    let second = streams::create_connection();
    let read = second.get_input_stream().read(8).map_err(reason);
    tell(KIND, "a second one, as a stream: read", read);
    let output = second.get_output_stream();
    let written = output.check_write().and_then(|_| output.write(&[0; 8]));
    tell(
        KIND,
        "a second one, as a stream: write",
        written.map_err(reason),
    );
}

fn reason(error: StreamError) -> String {
    match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    }
}
