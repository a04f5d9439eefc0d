//! Makes so many calls (the first argument, a million otherwise) without ever reading a reply, by hand: the
//! SDK would read. Prints how many were taken, and why no more were.

use guests::report;
use runtime::capnp::message::Builder;
use runtime::capnp::serialize::write_message_to_words;
use runtime::capnp_rpc::rpc_capnp;
use runtime::wit::rpc;

fn main() {
    let connection = match rpc::connect() {
        Ok(connection) => connection,
        Err(error) => return report("connect", Err::<(), _>(error)),
    };
    let mut taken = 0;
    let refused = (0..guests::arg(1, 1_000_000_u32)).find_map(|question| {
        let mut message = Builder::new_default();
        message
            .init_root::<rpc_capnp::message::Builder<'_>>()
            .init_bootstrap()
            .set_question_id(question);
        let outcome = connection.send(&write_message_to_words(&message));
        taken = question;
        outcome.err()
    });
    report("flood", refused.map_or(Ok(taken), Err));
    eprintln!("{taken} calls were taken");
}
