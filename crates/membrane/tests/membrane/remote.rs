//! Membranes with connections on either side.

use capnp::capability::{FromClientHook, get_resolved_cap};
use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use tokio::task::LocalSet;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::node_capnp::node;
use crate::nodes::{
    World, ask, echo, is_reason, keep, kept, make, name, open_membrane, ptr, reason, same,
};

/// What a peer sees of `served`, over a connection whose two ends run here.
fn connect(served: node::Client) -> node::Client {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let network = |stream, side| {
        let (read, write) = tokio::io::split::<tokio::io::DuplexStream>(stream);
        Box::new(VatNetwork::new(
            read.compat(),
            write.compat_write(),
            side,
            Default::default(),
        ))
    };
    let server = RpcSystem::new(network(ours, Side::Server), Some(served.client));
    let mut client = RpcSystem::new(network(theirs, Side::Client), None);
    let seen = client.bootstrap(Side::Server);
    tokio::task::spawn_local(server);
    tokio::task::spawn_local(client);
    seen
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_peer_outside_calls_and_is_called_back() {
    let body = async {
        let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
        let node = inside.node("inside");
        let peer = connect(membrane.wrap(node.clone()));
        assert_eq!(name(&peer).await.unwrap(), "inside");
        let mine = outside.node("mine");
        assert_eq!(ask(&peer, &mine).await.unwrap(), "mine");
        let made = make(&peer, "made").await.unwrap();
        assert_eq!(name(&made).await.unwrap(), "made");
        // Home on the inside, and home at the peer.
        assert_eq!(ask(&peer, &made).await.unwrap(), "made");
        keep(&peer, &mine).await.unwrap();
        let home = get_resolved_cap(kept(&peer).await.unwrap()).await;
        assert_eq!(ptr(&home), ptr(&mine));
        let treasure = inside.node("treasure");
        keep(&node, &treasure).await.unwrap();
        assert!(same(&peer, &kept(&peer).await.unwrap()).await.unwrap());
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn a_peer_outside_pipelines_and_waits_for_promises() {
    let body = async {
        let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
        let peer = connect(membrane.wrap(inside.node("inside")));
        let mut request = peer.make_request();
        request.get().set_name("made");
        let made = request.send().pipeline.get_node();
        assert_eq!(name(&made).await.unwrap(), "made");

        let later = peer.later_request().send().pipeline.get_node();
        let call = tokio::task::spawn_local(async move { name(&later).await });
        settle().await;
        inside.open_gates();
        assert_eq!(call.await.unwrap().unwrap(), "later");

        let early = peer.early_request().send();
        assert_eq!(name(&early.pipeline.get_node()).await.unwrap(), "early");
        inside.open_gates();
        let late = early.promise.await.unwrap();
        let late = late.get().unwrap().get_node().unwrap();
        assert_eq!(name(&late).await.unwrap(), "late");

        // A promise that resolves back to the peer's own.
        let mine = outside.node("mine");
        let mut request = peer.echo_request();
        request.get().set_node(mine.clone());
        let sent = request.send();
        let promise = sent.pipeline.get_node();
        assert_eq!(name(&promise).await.unwrap(), "mine");
        // It has resolved, once the call that was pipelined on it is known to have arrived.
        settle().await;
        let resolved = promise.as_client_hook().get_resolved().unwrap();
        // Calls on it are held up until the peer has said that it has none left.
        let resolved = get_resolved_cap(node::Client::new(resolved)).await;
        assert_eq!(ptr(&resolved), ptr(&mine));
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn a_peer_outside_is_cut_off() {
    let body = async {
        let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
        let node = inside.node("inside");
        let peer = connect(membrane.wrap(node.clone()));
        let made = make(&peer, "made").await.unwrap();
        keep(&peer, &outside.node("mine")).await.unwrap();
        let hanging = peer.hang_request().send();
        let pipelined = hanging.pipeline.get_node();
        let queued = tokio::task::spawn_local(async move { is_reason(name(&pipelined).await) });
        let later = peer.later_request().send().promise.await.unwrap();
        let later = later.get().unwrap().get_node().unwrap();
        let resolution = tokio::task::spawn_local(later.client.when_resolved());
        settle().await;
        let (started, seen_inside) = (inside.started.get(), kept(&node).await.unwrap());
        membrane.revoke(reason());
        assert_eq!(inside.dropped.get(), 1);
        inside.open_gates();
        assert!(is_reason(hanging.promise.await));
        assert!(queued.await.unwrap());
        let _ = resolution.await.unwrap();
        for dead in [&peer, &made, &later, &seen_inside] {
            assert!(is_reason(name(dead).await));
        }
        assert_eq!(inside.started.get(), started + 1);
        settle().await;
        assert_eq!((inside.live.get(), outside.live.get()), (1, 0));
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn a_peer_inside_is_called_through_the_membrane() {
    let body = async {
        let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
        let remote = connect(inside.node("inside"));
        let wrapped = membrane.wrap(remote.clone());
        assert_eq!(name(&wrapped).await.unwrap(), "inside");
        let mine = outside.node("mine");
        assert_eq!(ask(&wrapped, &mine).await.unwrap(), "mine");
        let home = get_resolved_cap(echo(&wrapped, &mine).await.unwrap()).await;
        assert_eq!(ptr(&home), ptr(&mine));

        // Pipelined calls go to the peer without waiting for the first answer.
        let mut request = wrapped.make_request();
        request.get().set_name("made");
        let made = request.send().pipeline.get_node();
        assert_eq!(name(&made).await.unwrap(), "made");

        let mut request = wrapped.push_request();
        request.get().set_bytes(b"bytes");
        request.send().await.unwrap();

        let call = wrapped.hang_request().send().promise;
        settle().await;
        membrane.revoke(reason());
        assert!(is_reason(call.await));
        assert!(is_reason(name(&wrapped).await));
        settle().await;
        // The peer was told to stop, and the membrane let go; what is held bare stays good.
        assert_eq!(inside.dropped.get(), 1);
        assert_eq!(name(&remote).await.unwrap(), "inside");
    };
    LocalSet::new().run_until(body).await;
}

#[tokio::test]
async fn peers_on_both_sides_reach_each_other_and_are_parted() {
    let body = async {
        let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
        let peer = connect(membrane.wrap(connect(inside.node("inside"))));
        let mine = outside.node("mine");
        assert_eq!(ask(&peer, &mine).await.unwrap(), "mine");
        let made = make(&peer, "made").await.unwrap();
        assert_eq!(ask(&peer, &made).await.unwrap(), "made");
        let home = get_resolved_cap(echo(&peer, &mine).await.unwrap()).await;
        assert_eq!(ptr(&home), ptr(&mine));
        let hanging = peer.hang_request().send();
        settle().await;
        membrane.revoke(reason());
        assert!(is_reason(hanging.promise.await));
        assert!(is_reason(name(&made).await));
        settle().await;
        assert_eq!(inside.live.get(), 1);
    };
    LocalSet::new().run_until(body).await;
}
