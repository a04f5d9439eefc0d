//! Grafts over `wetware:streams`, with the two-party network of `capnp-rpc`; prints the host's id.

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use runtime::capnp::message::ReaderOptions;
use runtime::capnp_rpc;
use runtime::io::{Reader, Writer};
use runtime::wit::streams;

fn main() -> runtime::Result<()> {
    let connection = streams::create_connection();
    runtime::block_on(async {
        let network = twoparty::VatNetwork::new(
            Reader::new(connection.get_input_stream()),
            Writer::new(connection.get_output_stream()),
            Side::Client,
            ReaderOptions::new(),
        );
        let mut rpc = RpcSystem::new(Box::new(network), None);
        let membrane = rpc.bootstrap(Side::Server);
        let _rpc = runtime::spawn(rpc);
        let session = runtime::Session::graft(membrane).await?;
        let reply = session.host()?.id_request().send().promise.await?;
        println!(
            "{}",
            bs58::encode(reply.get()?.get_peer_id()?).into_string()
        );
        Ok(())
    })
}
