//! Peers, and where content is.

use guests::{hex, report};
use runtime::ipfs;
use runtime::ipfs_capnp::client::Client;
use runtime::ipfs_capnp::{routing, swarm};
use runtime::system_capnp::peer_info;
use serde_json::{Value, json};

/// A CID of something that nobody has added.
const NOBODYS: &str = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

/// The arguments are a peer and an address of it, in hexadecimal digits.
pub async fn play(client: &Client) -> runtime::Result<()> {
    let (peer, addr) = (unhex(&crate::argument(0)), unhex(&crate::argument(1)));
    let swarm = client.swarm_request().send().pipeline.get_api();
    let routing = client.routing_request().send().pipeline.get_api();
    report("no peers yet", peers(&swarm).await);
    report("find before", find(&routing, &peer).await);
    report("connect", connect(&swarm, &peer, &addr).await);
    report("peers", peers(&swarm).await);
    report("find", find(&routing, &peer).await);
    report("connect to nobody", connect(&swarm, &[0], &addr).await);
    let reply = swarm.local_addrs_request().send().promise.await?;
    let addrs = reply.get()?.get_addrs()?.len();
    report("localAddrs", Ok::<_, String>(addrs > 0));

    let here = ipfs::add(client, b"here", "").await?;
    report("providers", providers(&routing, here.as_bytes()).await);
    report("provide", provide(&routing, &here.path()).await);
    report("provide nothing", provide(&routing, NOBODYS).await);
    report("providers of nothing", providers(&routing, b"").await);
    Ok(())
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect()
}

fn told(peer: peer_info::Reader<'_>) -> runtime::Result<Value> {
    Ok(json!([
        hex(peer.get_peer_id()?),
        !peer.get_addrs()?.is_empty()
    ]))
}

pub async fn peers(swarm: &swarm::Client) -> runtime::Result<Value> {
    let reply = swarm.peers_request().send().promise.await?;
    let peers = reply.get()?.get_peers()?.iter().map(told);
    Ok(peers.collect::<runtime::Result<Vec<_>>>()?.into())
}

pub async fn connect(swarm: &swarm::Client, peer: &[u8], addr: &[u8]) -> runtime::Result<()> {
    let mut request = swarm.connect_request();
    let mut info = request.get().init_peer();
    info.set_peer_id(peer);
    info.init_addrs(1).set(0, addr);
    request.send().promise.await?;
    Ok(())
}

async fn find(routing: &routing::Client, peer: &[u8]) -> runtime::Result<Value> {
    let mut request = routing.find_peer_request();
    request.get().set_peer(peer);
    let reply = request.send().promise.await?;
    told(reply.get()?.get_peer()?)
}

async fn providers(routing: &routing::Client, cid: &[u8]) -> runtime::Result<Value> {
    let mut request = routing.find_providers_request();
    request.get().set_cid(cid);
    request.get().set_limit(5);
    let reply = request.send().promise.await?;
    let peers = reply.get()?.get_peers()?.iter().map(told);
    Ok(peers.collect::<runtime::Result<Vec<_>>>()?.into())
}

async fn provide(routing: &routing::Client, path: &str) -> runtime::Result<()> {
    let mut request = routing.provide_request();
    request.get().set_path(path);
    request.send().promise.await?;
    Ok(())
}
