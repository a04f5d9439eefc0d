//! Sends the host what is no message, by hand; prints how each is refused.

use guests::report;
use runtime::wit::rpc;

fn main() {
    let connection = match rpc::connect() {
        Ok(connection) => connection,
        Err(error) => return report("connect", Err::<(), _>(error)),
    };
    report("empty", connection.send(&[]));
    report("half a table", connection.send(&[0, 0, 0, 0]));
    report("too many segments", connection.send(&[0xff; 8]));
    report("cut short", connection.send(&[0, 0, 0, 0, 2, 0, 0, 0]));
    let two = [[0, 0, 0, 0, 1, 0, 0, 0], [0; 8]].concat().repeat(2);
    report("two at once", connection.send(&two));
    report("too large", connection.send(&vec![0; 12 * 1024 * 1024]));
    report("receive", connection.receive());
    report(
        "far too large",
        connection.send(&vec![0; 128 * 1024 * 1024]),
    );
}
