//! What passes, and what it is when it arrives.

use capnp::capability::{FromClientHook, get_resolved_cap};

use crate::node_capnp::node;
use crate::nodes::{
    World, ask, begin, brand, echo, keep, kept, make, name, open_membrane, ptr, same,
};

#[tokio::test]
async fn a_call_goes_through() {
    let (world, membrane) = (World::new(), open_membrane());
    let outside = membrane.wrap(world.node("a"));
    assert_eq!(name(&outside).await.unwrap(), "a");
}

#[tokio::test]
async fn what_comes_out_in_results_is_wrapped() {
    let (world, membrane) = (World::new(), open_membrane());
    let outside = membrane.wrap(world.node("a"));
    let made = make(&outside, "b").await.unwrap();
    assert_eq!(brand(&made), brand(&outside));
    assert_eq!(name(&made).await.unwrap(), "b");
}

#[tokio::test]
async fn what_goes_in_is_wrapped_and_can_be_called_back() {
    let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
    let node = inside.node("inside");
    let wrapped = membrane.wrap(node.clone());
    let mine = outside.node("mine");
    assert_eq!(ask(&wrapped, &mine).await.unwrap(), "mine");
    keep(&wrapped, &mine).await.unwrap();
    let seen_inside = kept(&node).await.unwrap();
    assert_ne!(ptr(&seen_inside), ptr(&mine));
    assert_eq!(brand(&seen_inside), brand(&wrapped));
    // What the outside makes for the inside is wrapped in its turn.
    let made = make(&seen_inside, "made").await.unwrap();
    assert_eq!(brand(&made), brand(&wrapped));
}

#[tokio::test]
async fn what_comes_home_is_the_identical_capability() {
    let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
    let node = inside.node("inside");
    keep(&node, &inside.node("treasure")).await.unwrap();
    let wrapped = membrane.wrap(node);
    let seen_outside = kept(&wrapped).await.unwrap();
    assert!(same(&wrapped, &seen_outside).await.unwrap());

    let mine = outside.node("mine");
    assert_eq!(ptr(&echo(&wrapped, &mine).await.unwrap()), ptr(&mine));
    keep(&wrapped, &mine).await.unwrap();
    assert_eq!(ptr(&kept(&wrapped).await.unwrap()), ptr(&mine));
}

#[tokio::test]
async fn the_same_capability_seen_twice_is_the_same() {
    let (world, membrane) = (World::new(), open_membrane());
    let node = world.node("a");
    keep(&node, &node).await.unwrap();
    let first = membrane.wrap(node.clone());
    let second = membrane.wrap(node.clone());
    let third = kept(&first).await.unwrap();
    assert_eq!(ptr(&first), ptr(&second));
    assert_eq!(ptr(&first), ptr(&third));
    assert_eq!(ptr(&membrane.wrap(first.clone())), ptr(&first));
    assert_eq!(membrane.live_references(), 1);
    keep(&node, &world.node("b")).await.unwrap();
    drop((first, second, third));
    assert_eq!(membrane.live_references(), 0);
}

#[tokio::test]
async fn one_server_under_two_names_is_one_reference() {
    let (world, membrane) = (World::new(), open_membrane());
    let server = world.server("a");
    let one: node::Client = capnp_rpc::new_client_from_rc(server.clone());
    let other: node::Client = capnp_rpc::new_client_from_rc(server);
    let (one, other) = (membrane.wrap(one), membrane.wrap(other));
    assert_eq!(ptr(&one), ptr(&other));
    drop(one);
    assert_eq!(name(&other).await.unwrap(), "a");
}

#[tokio::test]
async fn two_membranes_give_two_references() {
    let world = World::new();
    let node = world.node("a");
    let (one, other) = (open_membrane(), open_membrane());
    assert_ne!(ptr(&one.wrap(node.clone())), ptr(&other.wrap(node)));
}

#[tokio::test]
async fn calls_can_be_pipelined() {
    let (world, membrane) = (World::new(), open_membrane());
    let outside = membrane.wrap(world.node("a"));
    let mut request = outside.make_request();
    request.get().set_name("b");
    let sent = request.send();
    let pipelined = sent.pipeline.get_node();
    assert_eq!(brand(&pipelined), brand(&outside));
    let (named, answered) = futures::join!(name(&pipelined), sent.promise);
    assert_eq!(named.unwrap(), "b");
    let answered = answered.unwrap().get().unwrap().get_node().unwrap();
    assert_eq!(ptr(&get_resolved_cap(pipelined).await), ptr(&answered));
}

#[tokio::test]
async fn a_promise_that_resolves_later_resolves_to_something_wrapped() {
    let (world, membrane) = (World::new(), open_membrane());
    let outside = membrane.wrap(world.node("a"));
    let response = outside.later_request().send().promise.await.unwrap();
    let promise = response.get().unwrap().get_node().unwrap();
    assert!(promise.as_client_hook().get_resolved().is_none());
    let call = begin(promise.name_request().send().promise);
    world.open_gates();
    let answer = call.await.unwrap();
    assert_eq!(answer.get().unwrap().get_name().unwrap(), "later");
    let resolved = get_resolved_cap(promise.clone()).await;
    assert_eq!(brand(&resolved), brand(&outside));
    assert_ne!(ptr(&resolved), ptr(&promise));
    assert_eq!(name(&resolved).await.unwrap(), "later");
}

#[tokio::test]
async fn a_promise_that_resolves_to_the_outside_comes_home() {
    let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
    let wrapped = membrane.wrap(inside.node("inside"));
    let mine = outside.node("mine");
    let mut request = wrapped.echo_request();
    request.get().set_node(mine.clone());
    let sent = request.send();
    let promise = sent.pipeline.get_node();
    assert_ne!(ptr(&promise), ptr(&mine));
    assert_eq!(ptr(&get_resolved_cap(promise).await), ptr(&mine));
}

#[tokio::test]
async fn a_promise_that_has_resolved_home_is_unwrapped_when_passed_in() {
    let (world, membrane) = (World::new(), open_membrane());
    let node = world.node("a");
    keep(&node, &node).await.unwrap();
    let wrapped = membrane.wrap(node);
    let promise: node::Client = capnp_rpc::new_future_client({
        let wrapped = wrapped.clone();
        async move { Ok(wrapped) }
    });
    assert_eq!(name(&promise).await.unwrap(), "a");
    assert!(same(&wrapped, &promise).await.unwrap());
}

#[tokio::test]
async fn capabilities_in_lists_and_structs_keep_their_places() {
    let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
    let wrapped = membrane.wrap(inside.node("inside"));
    let mine: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|name| outside.node(name))
        .collect();
    let mut request = wrapped.swap_request();
    let mut entries = request.get().init_entries(3);
    for (index, node) in mine.iter().enumerate() {
        let mut entry = entries.reborrow().get(index as u32);
        entry.set_number(index as u32);
        entry.set_label(format!("label {index}"));
        // The first is left null.
        if index > 0 {
            entry.set_node(node.clone());
        }
    }
    let mut loose = request.get().init_loose(3);
    for (index, node) in mine.iter().enumerate() {
        loose.set(index as u32, node.client.hook.add_ref());
    }
    let response = request.send().promise.await.unwrap();
    let swapped = response.get().unwrap().get_entries().unwrap();
    for (index, entry) in swapped.iter().enumerate() {
        let from = 2 - index;
        assert_eq!(entry.get_number(), from as u32);
        assert_eq!(entry.get_label().unwrap(), format!("label {from}"));
        assert_eq!(entry.has_node(), from > 0);
        if from > 0 {
            assert_eq!(ptr(&entry.get_node().unwrap()), ptr(&mine[from]));
        }
    }
    let loose = response.get().unwrap().get_loose().unwrap();
    for (index, node) in loose.iter().enumerate() {
        assert_eq!(ptr(&node.unwrap()), ptr(&mine[2 - index]));
    }
}

/// Calls that arrive by `ClientHook::call`, as they do from a connection and from a queue: from a
/// promise that resolved to the wrapped node.
async fn forwarded(wrapped: &node::Client) -> node::Client {
    let (go, gate) = futures::channel::oneshot::channel();
    let target = wrapped.clone();
    let promise = capnp_rpc::new_future_client(async move {
        let _ = gate.await;
        Ok(target)
    });
    // Nothing else makes the promise resolve.
    let waiting = promise.clone();
    let resolve = async move { waiting.client.when_resolved().await };
    let (resolved, _) = futures::join!(resolve, async { go.send(()) });
    resolved.unwrap();
    promise
}

#[tokio::test]
async fn forwarded_calls_carry_capabilities_both_ways() {
    let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
    let node = inside.node("inside");
    let wrapped = membrane.wrap(node.clone());
    let mine = outside.node("mine");
    for forwarded in [wrapped.clone(), forwarded(&wrapped).await] {
        let mut request = outside_queue(&forwarded).swap_request();
        let mut entries = request.get().init_entries(2);
        entries.reborrow().get(1).set_label("b");
        entries.reborrow().get(1).set_node(mine.clone());
        entries.reborrow().get(0).set_node(wrapped.clone());
        let response = request.send().promise.await.unwrap();
        let swapped = response.get().unwrap().get_entries().unwrap();
        assert_eq!(ptr(&swapped.get(0).get_node().unwrap()), ptr(&mine));
        assert_eq!(swapped.get(0).get_label().unwrap(), "b");
        assert_eq!(ptr(&swapped.get(1).get_node().unwrap()), ptr(&wrapped));
    }
}

/// A promise whose calls queue up and are then forwarded to `target`.
fn outside_queue(target: &node::Client) -> node::Client {
    let target = target.clone();
    capnp_rpc::new_future_client(async move {
        tokio::task::yield_now().await;
        Ok(target)
    })
}

#[tokio::test]
async fn a_forwarded_call_may_name_the_promise_it_was_queued_on() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    let promise = outside_queue(&wrapped);
    let answer = echo(&promise, &promise).await.unwrap();
    assert_eq!(ptr(&get_resolved_cap(answer).await), ptr(&wrapped));
}

#[tokio::test]
async fn results_can_be_pipelined_on_before_the_call_returns() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    for node in [wrapped.clone(), outside_queue(&wrapped)] {
        let sent = node.early_request().send();
        let early = sent.pipeline.get_node();
        let mut call = sent.promise;
        let named = futures::select_biased! {
            named = futures::FutureExt::fuse(Box::pin(name(&early))) => named.unwrap(),
            _ = futures::FutureExt::fuse(&mut call) => panic!("the call returned"),
        };
        assert_eq!(named, "early");
        world.open_gates();
        let late = call.await.unwrap().get().unwrap().get_node().unwrap();
        assert_eq!(brand(&late), brand(&wrapped));
        assert_eq!(name(&late).await.unwrap(), "late");
    }
}

#[tokio::test]
async fn a_tail_call_passes_the_membrane() {
    let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
    let wrapped = membrane.wrap(inside.node("inside"));
    let mine = outside.node("mine");
    let theirs = make(&wrapped, "theirs").await.unwrap();
    // A call to the target itself cannot be a tail call with `capnp-rpc`; a forwarded one can.
    let promise = outside_queue(&wrapped);
    for (target, made_outside) in [(&mine, true), (&theirs, false)] {
        let mut request = promise.tail_request();
        request.get().set_node(target.clone());
        let response = request.send().promise.await.unwrap();
        let made = response.get().unwrap().get_node().unwrap();
        assert_eq!(name(&made).await.unwrap(), "tail");
        assert_eq!(brand(&made) != brand(&wrapped), made_outside);
    }
}

#[tokio::test]
async fn streams_pass() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    for node in [wrapped.clone(), outside_queue(&wrapped)] {
        let before = world.started.get();
        for _ in 0..10 {
            let mut request = node.push_request();
            request.get().set_bytes(b"bytes");
            request.send().await.unwrap();
        }
        assert_eq!(world.started.get() - before, 10);
    }
}

#[tokio::test]
async fn a_call_without_capabilities_is_not_copied() {
    let (world, membrane) = (World::new(), open_membrane());
    let wrapped = membrane.wrap(world.node("a"));
    for node in [wrapped.clone(), outside_queue(&wrapped)] {
        let mut request = node.sum_request();
        let bytes = request.get().init_bytes(100_000);
        bytes.fill(1);
        let written_at = bytes.as_ptr().addr();
        let response = request.send().promise.await.unwrap();
        assert_eq!(response.get().unwrap().get_sum(), 100_000);
        assert_eq!(world.bytes_at.get(), written_at);
    }
}

#[tokio::test]
async fn errors_pass_as_they_are() {
    let (world, membrane) = (World::new(), open_membrane());
    let node = world.node("a");
    let request = |node: &node::Client| {
        node.client
            .new_call::<node::name_params::Owned, node::name_results::Owned>(7, 7, None)
    };
    let bare = request(&node).send().promise.await.err().unwrap();
    let wrapped = request(&membrane.wrap(node)).send().promise.await;
    assert_eq!(wrapped.err().unwrap().to_string(), bare.to_string());
}

#[tokio::test]
async fn a_hundred_thousand_calls_leave_nothing_behind() {
    let (inside, outside, membrane) = (World::new(), World::new(), open_membrane());
    let wrapped = membrane.wrap(inside.node("inside"));
    let mine = outside.node("mine");
    for round in 0..50_000 {
        let made = make(&wrapped, "made").await.unwrap();
        let home = echo(&wrapped, &mine).await.unwrap();
        assert_eq!(ptr(&home), ptr(&mine));
        drop(made);
        if round % 1000 == 0 {
            assert_eq!(membrane.live_references(), 1);
            assert_eq!(membrane.live_calls(), 0);
        }
    }
    assert_eq!(inside.live.get(), 1);
    assert_eq!(membrane.live_references(), 1);
    assert_eq!(membrane.live_calls(), 0);
}
