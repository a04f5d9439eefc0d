//! Calls one method of its host's bootstrap capability over and over, without any RPC library: fills a
//! `Call`, sends it, takes the `Return`. Prints the nanoseconds that a call took, one sample a line.
//!
//! `wire SAMPLES CALLS METHOD BYTES`: so many samples of so many calls of this method of `Lab`, with so
//! many bytes of data there and back.

#[allow(dead_code, clippy::all)]
#[rustfmt::skip]
#[path = "../../../../crates/vat/tests/vat/lab_capnp.rs"]
mod lab_capnp;

use std::time::Instant;

use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use capnp::serialize;
use capnp::traits::HasTypeId;
use lab_capnp::lab;
use runtime::capnp_rpc::rpc_capnp::{cap_descriptor, message, return_};
use runtime::wit::rpc;

fn main() {
    let (samples, calls) = (guests::arg(1, 50), guests::arg(2, 200));
    let method = guests::arg(3, 0);
    let data = vec![7; guests::arg(4, 0)];
    let connection = rpc::connect().expect("the conversation");
    let target = bootstrap(&connection);
    let mut call = call(target, method, &data);
    let content = call.len() - data.len();
    for sample in 0..=samples {
        let start = Instant::now();
        for _ in 0..calls {
            call[content..].copy_from_slice(&data);
            connection.send(&call).expect("to send");
            let returned = receive(&connection);
            assert!(returned.len() >= data.len());
        }
        if sample > 0 {
            println!("{}", start.elapsed().as_nanos() / calls);
        }
    }
}

fn receive(connection: &rpc::Connection) -> Vec<u8> {
    loop {
        let received = connection.receive().expect("to receive");
        if !received.is_empty() {
            return received;
        }
        connection.subscribe().block();
    }
}

/// Asks for the bootstrap capability; returns its number.
fn bootstrap(connection: &rpc::Connection) -> u32 {
    let mut ask = Builder::new_default();
    ask.init_root::<message::Builder<'_>>().init_bootstrap();
    connection
        .send(&serialize::write_message_to_words(&ask))
        .expect("to send");
    let received = receive(connection);
    let answer =
        serialize::read_message_from_flat_slice(&mut received.as_slice(), ReaderOptions::new())
            .expect("a message");
    let root: message::Reader<'_> = answer.get_root().expect("a root");
    let Ok(message::Return(Ok(returned))) = root.which() else {
        panic!("no return");
    };
    let Ok(return_::Results(Ok(results))) = returned.which() else {
        panic!("no results");
    };
    let capability = results.get_cap_table().expect("a table").get(0);
    match capability.which() {
        Ok(cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id)) => id,
        _ => panic!("no capability"),
    }
}

/// A call, framed. Its data, if there is any, is the end of it; its length is a multiple of eight.
fn call(target: u32, method: u16, data: &[u8]) -> Vec<u8> {
    let words = u32::try_from(data.len() / 8 + 64).expect("a size");
    let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
    let mut call = message.init_root::<message::Builder<'_>>().init_call();
    call.set_question_id(1);
    call.set_interface_id(<lab::Client as HasTypeId>::TYPE_ID);
    call.set_method_id(method);
    call.reborrow().init_target().set_imported_cap(target);
    let content = call.init_params().get_content();
    if !data.is_empty() {
        content.init_as::<lab::echo_params::Builder<'_>>().set_data(data);
    }
    serialize::write_message_to_words(&message)
}
