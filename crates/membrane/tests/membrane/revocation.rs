//! Revocation ends what was, is under way, and is to come.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use capnp::capability::{FromClientHook, get_resolved_cap};
use membrane::Membrane;

use crate::node_capnp::node;
use crate::nodes::{
    World, begin, echo, is_reason, keep, kept, make, name, open_membrane, ptr, reason,
};

#[tokio::test]
async fn new_calls_fail_with_the_reason() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let made = make(&wrapped, "b").await.unwrap();
    assert!(!membrane.is_revoked());
    membrane.revoke(reason());
    assert!(membrane.is_revoked());
    membrane.revoke(Error::failed("too late".into()));
    let started = world.started.get();
    for node in [&wrapped, &made] {
        let error = name(node).await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected);
        assert!(is_reason::<()>(Err(error)));
        let sent = node.make_request().send();
        assert!(is_reason(name(&sent.pipeline.get_node()).await));
        assert!(is_reason(node.push_request().send().await));
        assert!(is_reason(node.client.when_resolved().await));
        assert!(node.as_client_hook().get_resolved().is_none());
    }
    assert_eq!(world.started.get(), started);
}

#[tokio::test]
async fn a_call_in_flight_is_dropped_at_once_and_fails_with_the_reason() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let call = begin(wrapped.hang_request().send().promise);
    assert_eq!((world.started.get(), world.dropped.get()), (1, 0));
    membrane.revoke(reason());
    assert_eq!(world.dropped.get(), 1);
    world.open_gates();
    assert!(is_reason(call.await));
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let call = wrapped.hang_request().send().promise;
            let waiting = tokio::task::spawn_local(async move { is_reason(call.await) });
            while world.started.get() == 0 {
                tokio::task::yield_now().await;
            }
            membrane.revoke(reason());
            assert!(waiting.await.unwrap());
        })
        .await;
}

#[tokio::test]
async fn a_call_that_was_made_but_not_polled_never_starts() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let call = wrapped.name_request().send();
    membrane.revoke(reason());
    assert!(is_reason(call.promise.await));
    assert_eq!(world.started.get(), 0);
}

#[tokio::test]
async fn a_call_queued_on_a_promise_never_starts() {
    let (world, membrane) = (World::new(), open_membrane());
    let node = world.node("a");
    let promise = node.later_request().send().promise.await.unwrap();
    let promise = promise.get().unwrap().get_node().unwrap();
    let wrapped = membrane.wrap(promise.clone());
    let queued = begin(wrapped.name_request().send().promise);
    let started = world.started.get();
    membrane.revoke(reason());
    world.open_gates();
    assert!(is_reason(queued.await));
    assert_eq!(world.started.get(), started);
    // The promise itself is good, and resolves, for those who hold it bare.
    assert_eq!(name(&promise).await.unwrap(), "later");
    assert_eq!(world.started.get(), started + 1);
}

#[tokio::test]
async fn a_call_pipelined_on_a_call_in_flight_never_starts() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let sent = wrapped.hang_request().send();
    let pipelined = sent.pipeline.get_node();
    let outer = begin(sent.promise);
    let inner = begin(pipelined.name_request().send().promise);
    membrane.revoke(reason());
    world.open_gates();
    assert!(is_reason(outer.await));
    assert!(is_reason(inner.await));
    assert!(is_reason(name(&pipelined).await));
    assert!(is_reason(name(&sent.pipeline.get_node()).await));
    assert_eq!(world.started.get(), 1);
}

#[tokio::test]
async fn a_call_queued_behind_a_stream_never_starts() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    world.push_hangs.set(true);
    let stream = begin(wrapped.push_request().send());
    let queued: Vec<_> = (0..3)
        .map(|_| begin(wrapped.name_request().send().promise))
        .collect();
    assert_eq!(world.started.get(), 1);
    membrane.revoke(reason());
    assert_eq!((world.started.get(), world.dropped.get()), (1, 1));
    world.open_gates();
    assert!(is_reason(stream.await));
    for call in queued {
        assert!(is_reason(call.await));
    }
    assert_eq!(world.started.get(), 1);
}

#[tokio::test]
async fn a_queue_outside_that_resolves_later_reaches_nothing() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let (go, gate) = futures::channel::oneshot::channel::<()>();
    let promise: node::Client = capnp_rpc::new_future_client(async move {
        let _ = gate.await;
        Ok(wrapped)
    });
    let call = begin(promise.name_request().send().promise);
    membrane.revoke(reason());
    go.send(()).unwrap();
    assert!(is_reason(call.await));
    assert_eq!(world.started.get(), 0);
}

#[tokio::test]
async fn a_request_made_before_and_sent_after_fails() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let (one, other) = (wrapped.name_request(), wrapped.push_request());
    membrane.revoke(reason());
    assert!(is_reason(one.send().promise.await));
    assert!(is_reason(other.send().await));
    let mut late = wrapped.echo_request();
    late.get().set_node(wrapped.clone());
    late.get().set_node(wrapped.clone());
    assert_eq!(ptr(&late.get().get_node().unwrap()), ptr(&wrapped));
    assert!(is_reason(late.send().promise.await));
    assert_eq!((world.started.get(), world.live.get()), (0, 0));
}

#[tokio::test]
async fn what_the_membrane_held_is_released_at_once() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let made = make(&wrapped, "b").await.unwrap();
    let sent = wrapped.hang_request().send();
    let (pipelined, call) = (sent.pipeline.get_node(), begin(sent.promise));
    let response = wrapped.later_request().send().promise.await.unwrap();
    let promise = response.get().unwrap().get_node().unwrap();
    let resolution = promise.as_client_hook().when_more_resolved().unwrap();
    assert_eq!(world.live.get(), 3);
    assert!(membrane.live_references() > 0 && membrane.live_calls() > 0);
    membrane.revoke(reason());
    assert_eq!(world.live.get(), 0);
    assert_eq!((membrane.live_references(), membrane.live_calls()), (0, 0));
    assert!(is_reason(resolution.await));
    drop((made, pipelined, call, response));
}

#[tokio::test]
async fn a_promise_that_resolves_afterwards_yields_nothing() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let response = wrapped.later_request().send().promise.await.unwrap();
    let promise = response.get().unwrap().get_node().unwrap();
    let resolution = begin(promise.as_client_hook().when_more_resolved().unwrap());
    membrane.revoke(reason());
    world.open_gates();
    assert!(is_reason(resolution.await));
    assert!(promise.as_client_hook().get_resolved().is_none());
    assert!(is_reason(name(&promise).await));
    // What was in the response is as dead as what was taken from it.
    let again = response.get().unwrap().get_node().unwrap();
    assert!(is_reason(name(&again).await));
}

#[tokio::test]
async fn the_inside_is_cut_off_from_the_outside_too() {
    let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
    let node = inside.node("inside");
    let wrapped = membrane.wrap(node.clone());
    keep(&wrapped, &outside.node("mine")).await.unwrap();
    let seen_inside = kept(&node).await.unwrap();
    let call = begin(seen_inside.hang_request().send().promise);
    assert_eq!(outside.live.get(), 1);
    membrane.revoke(reason());
    assert_eq!((outside.live.get(), outside.dropped.get()), (0, 1));
    assert!(is_reason(call.await));
    assert!(is_reason(name(&seen_inside).await));
}

#[tokio::test]
async fn what_is_wrapped_afterwards_is_dead_and_released() {
    let (world, membrane) = (World::new(), open_membrane());
    membrane.revoke(reason());
    let wrapped = membrane.wrap(world.node("a"));
    assert_eq!(world.live.get(), 0);
    assert!(is_reason(name(&wrapped).await));
    assert!(is_reason(echo(&wrapped, &world.node("b")).await));
}

#[tokio::test]
async fn a_call_whose_promised_results_the_inside_keeps_is_cut_all_the_same() {
    let (world, membrane) = (World::new(), open_membrane());
    let (node, keeper) = (world.node("a"), world.node("keeper"));
    let later = node.later_request().send().promise.await.unwrap();
    let later = later.get().unwrap().get_node().unwrap();
    let (queue, outside_keeper) = (membrane.wrap(later), membrane.wrap(keeper.clone()));
    // The outside has the inside keep what a call promises that has not begun.
    let sent = queue.make_request().send();
    keep(&outside_keeper, &sent.pipeline.get_node())
        .await
        .unwrap();
    let call = begin(sent.promise);
    let started = world.started.get();
    membrane.revoke(reason());
    world.open_gates();
    assert!(is_reason(call.await));
    let promised = kept(&keeper).await.unwrap();
    assert!(is_reason(name(&promised).await));
    // Only the inside's own `kept` ran.
    assert_eq!(world.started.get(), started + 1);
}

#[tokio::test]
async fn what_a_call_promises_comes_home_once_it_is_there() {
    let (world, membrane) = (World::new(), open_membrane());
    let keeper = world.node("keeper");
    let wrapped = membrane.wrap(world.node("a"));
    let outside_keeper = membrane.wrap(keeper.clone());
    let sent = wrapped.hang_request().send();
    let promised = sent.pipeline.get_node();
    let call = begin(sent.promise);
    keep(&outside_keeper, &promised).await.unwrap();
    world.open_gates();
    call.await.unwrap();
    let home = get_resolved_cap(kept(&keeper).await.unwrap()).await;
    assert!(world.owns(&home));
    membrane.revoke(reason());
    assert_eq!(name(&home).await.unwrap(), "hung");
}

#[tokio::test]
async fn another_membrane_on_the_same_object_stays_good() {
    let world = World::new();
    let node = world.node("a");
    let (one, other) = (open_membrane(), open_membrane());
    let (dead, alive) = (one.wrap(node.clone()), other.wrap(node));
    one.revoke(reason());
    assert!(is_reason(name(&dead).await));
    assert_eq!(name(&alive).await.unwrap(), "a");
}

/// Revokes when it is called, and when it is dropped.
struct Fuse(RefCell<Option<Membrane>>);

impl Fuse {
    fn blow(&self) {
        if let Some(membrane) = self.0.take() {
            membrane.revoke(reason());
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.blow();
    }
}

impl node::Server for Fuse {
    async fn name(
        self: Rc<Self>,
        _: node::NameParams,
        mut results: node::NameResults,
    ) -> Result<(), Error> {
        self.blow();
        results.get().set_name("too late");
        Ok(())
    }

    async fn kept(
        self: Rc<Self>,
        _: node::KeptParams,
        mut results: node::KeptResults,
    ) -> Result<(), Error> {
        self.blow();
        results
            .get()
            .set_node(capnp_rpc::new_client_from_rc(Rc::clone(&self)));
        results.set_pipeline()
    }
}

#[tokio::test]
async fn a_method_may_revoke_the_membrane_it_was_called_through() {
    for forwarded in [false, true] {
        let membrane = open_membrane();
        let fuse = Rc::new(Fuse(RefCell::new(Some(membrane.clone()))));
        let bare: node::Client = capnp_rpc::new_client_from_rc(Rc::clone(&fuse));
        let mut wrapped = membrane.wrap(bare);
        if forwarded {
            let target = wrapped;
            wrapped = capnp_rpc::new_future_client(async move { Ok(target) });
        }
        assert!(is_reason(name(&wrapped).await));
        assert!(membrane.is_revoked());
        assert_eq!(Rc::strong_count(&fuse), 1);

        let membrane = open_membrane();
        let fuse = Fuse(RefCell::new(Some(membrane.clone())));
        let bare: node::Client = capnp_rpc::new_client(fuse);
        assert!(is_reason(kept(&membrane.wrap(bare)).await));
    }
}

#[tokio::test]
async fn a_destructor_may_revoke_the_membrane_that_drops_it() {
    let (world, membrane) = (World::new(), open_membrane());
    let fuse: node::Client = capnp_rpc::new_client(Fuse(RefCell::new(Some(membrane.clone()))));
    let wrapped = membrane.wrap(world.node("a"));
    keep(&wrapped, &wrapped).await.unwrap();
    let fuse = membrane.wrap(fuse);
    let call = begin(wrapped.hang_request().send().promise);
    drop(fuse);
    assert!(membrane.is_revoked());
    assert!(is_reason(call.await));

    // Within a revocation, a second one changes nothing.
    let membrane = open_membrane();
    let fuse: node::Client = capnp_rpc::new_client(Fuse(RefCell::new(Some(membrane.clone()))));
    let fuse = membrane.wrap(fuse);
    membrane.revoke(Error::failed("first".into()));
    assert_eq!(name(&fuse).await.err().unwrap().extra, "first");
}

/// Does its work before it returns a future, and streams without end.
struct Eager(Rc<World>);

impl node::Server for Eager {
    fn name(
        self: Rc<Self>,
        _: node::NameParams,
        _: node::NameResults,
    ) -> impl Future<Output = Result<(), Error>> + 'static {
        self.0.started.set(self.0.started.get() + 1);
        std::future::ready(Ok(()))
    }

    fn push(
        self: Rc<Self>,
        _: node::PushParams,
    ) -> impl Future<Output = Result<(), Error>> + 'static {
        std::future::pending()
    }
}

#[tokio::test]
async fn ending_a_stream_does_not_start_the_calls_behind_it() {
    let (world, membrane) = (World::new(), open_membrane());
    let bare: node::Client = capnp_rpc::new_client(Eager(Rc::clone(&world)));
    let wrapped = membrane.wrap(bare);
    let stream = begin(wrapped.push_request().send());
    let queued = [
        begin(wrapped.name_request().send().promise),
        begin(wrapped.name_request().send().promise),
    ];
    membrane.revoke(reason());
    assert!(is_reason(stream.await));
    for call in queued {
        assert!(is_reason(call.await));
    }
    assert_eq!(world.started.get(), 0);
}
