//! What a policy's answers do: other targets, and guards that see the end of a call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use capnp::Error;
use capnp::capability::FromClientHook;
use futures::FutureExt;
use membrane::{Call, Decision, Direction, Membrane, Policy};

use crate::node_capnp::node;
use crate::nodes::{
    World, ask, begin, brand, echo, is_reason, keep, kept, make, name, ptr, reason,
};

/// A policy that is a function.
struct By<F>(F);

impl<F: Fn(Call) -> Decision> Policy for By<F> {
    fn check(&self, call: Call) -> Decision {
        (self.0)(call)
    }
}

fn by(decide: impl Fn(Call) -> Decision + 'static) -> Membrane {
    Membrane::new(Rc::new(By(decide)))
}

/// A membrane that sends calls inward to another node.
fn instead(stand_in: &node::Client) -> Membrane {
    let stand_in = stand_in.clone();
    by(move |call| match call.direction {
        Direction::Inward => Decision::replace(stand_in.clone()),
        Direction::Outward => Decision::Allow,
    })
}

/// A promise that forwards calls to `target`, as a queue or a connection does.
fn forwarder(target: &node::Client) -> node::Client {
    let target = target.clone();
    capnp_rpc::new_future_client(async move {
        tokio::task::yield_now().await;
        Ok(target)
    })
}

#[tokio::test]
async fn a_call_to_a_replaced_target_goes_to_the_stand_in() {
    let (target, other) = (World::new(), World::new());
    let membrane = instead(&other.node("stand-in"));
    let wrapped = membrane.wrap(target.node("target"));
    for node in [wrapped.clone(), forwarder(&wrapped)] {
        assert_eq!(name(&node).await.unwrap(), "stand-in");
        let made = make(&node, "made").await.unwrap();
        assert_eq!(brand(&made), brand(&wrapped));
        let mut request = node.push_request();
        request.get().set_bytes(b"bytes");
        request.send().await.unwrap();
    }
    assert_eq!((target.started.get(), other.started.get()), (0, 6));
}

#[tokio::test]
async fn what_passes_to_and_from_a_stand_in_crosses_the_membrane() {
    let (inside, outside) = (World::new(), World::new());
    let stand_in = inside.node("stand-in");
    let membrane = instead(&stand_in);
    let wrapped = membrane.wrap(inside.node("target"));
    let mine = outside.node("mine");
    assert_eq!(ptr(&echo(&wrapped, &mine).await.unwrap()), ptr(&mine));
    keep(&wrapped, &mine).await.unwrap();
    let held_inside = kept(&stand_in).await.unwrap();
    assert_ne!(ptr(&held_inside), ptr(&mine));
    keep(&wrapped, &wrapped).await.unwrap();
    // Home is where the reference came from, whoever answers for it.
    let home = kept(&stand_in).await.unwrap();
    assert_eq!(name(&home).await.unwrap(), "target");
    membrane.revoke(reason());
    assert!(is_reason(name(&held_inside).await));
}

#[tokio::test]
async fn parameters_written_before_the_target_was_replaced_arrive() {
    let (target, other) = (World::new(), World::new());
    let wrapped = instead(&other.node("stand-in")).wrap(target.node("target"));
    let mut request = wrapped.swap_request();
    let mut entries = request.get().init_entries(2);
    entries.reborrow().get(0).set_label("first");
    entries.reborrow().get(0).set_node(wrapped.clone());
    entries.reborrow().get(1).set_number(7);
    let response = request.send().promise.await.unwrap();
    let swapped = response.get().unwrap().get_entries().unwrap();
    assert_eq!(swapped.get(0).get_number(), 7);
    assert_eq!(swapped.get(1).get_label().unwrap(), "first");
    assert_eq!(ptr(&swapped.get(1).get_node().unwrap()), ptr(&wrapped));
}

#[tokio::test]
async fn calls_pipelined_on_a_stand_in_are_decided_on_too() {
    let (target, other) = (World::new(), World::new());
    let wrapped = instead(&other.node("stand-in")).wrap(target.node("target"));
    let made = wrapped.make_request().send().pipeline.get_node();
    assert_eq!(name(&made).await.unwrap(), "stand-in");
}

#[tokio::test]
async fn revocation_ends_calls_to_a_stand_in() {
    let (target, other) = (World::new(), World::new());
    let membrane = instead(&other.node("stand-in"));
    let wrapped = membrane.wrap(target.node("target"));
    let call = begin(wrapped.hang_request().send().promise);
    membrane.revoke(reason());
    assert_eq!(other.dropped.get(), 1);
    assert!(is_reason(call.await));
    assert!(is_reason(name(&wrapped).await));
}

#[tokio::test]
async fn a_stand_in_that_this_membrane_wrapped_is_called_bare() {
    let world = World::new();
    let stand_in: Rc<RefCell<Option<node::Client>>> = Rc::default();
    let membrane = by({
        let stand_in = Rc::clone(&stand_in);
        move |_| Decision::replace(stand_in.borrow().clone().unwrap())
    });
    let wrapped = membrane.wrap(world.node("target"));
    stand_in.replace(Some(membrane.wrap(world.node("stand-in"))));
    assert_eq!(name(&wrapped).await.unwrap(), "stand-in");
    stand_in.take();
}

#[tokio::test]
async fn a_membrane_around_one_that_replaces_still_refuses() {
    let (target, other) = (World::new(), World::new());
    let inner = instead(&other.node("stand-in"));
    let outer = by(|call| match call.method_id {
        0 => Decision::Refuse(Error::failed("not granted".into())),
        _ => Decision::Allow,
    });
    let wrapped = outer.wrap(inner.wrap(target.node("target")));
    assert!(name(&wrapped).await.is_err());
    let made = make(&wrapped, "made").await.unwrap();
    assert!(name(&made).await.is_err());
    assert_eq!((target.started.get(), other.started.get()), (0, 1));
}

/// How many guards there are.
type Live = Rc<Cell<u32>>;

struct Guard(Live);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn guarded() -> (Membrane, Live) {
    let live = Live::default();
    let counted = Rc::clone(&live);
    let membrane = by(move |_| {
        counted.set(counted.get() + 1);
        Decision::AllowWith(Box::new(Guard(Rc::clone(&counted))))
    });
    (membrane, live)
}

#[tokio::test]
async fn a_guard_goes_when_the_call_returns_or_fails() {
    let (membrane, live) = guarded();
    let world = World::new();
    let wrapped = membrane.wrap(world.node("a"));
    for node in [wrapped.clone(), forwarder(&wrapped)] {
        let call = node.name_request().send();
        let answer = call.promise.await.unwrap();
        assert_eq!(live.get(), 0);
        drop((answer, call.pipeline));
        // There is no such method.
        let request = node
            .client
            .new_call::<node::name_params::Owned, node::name_results::Owned>(7, 7, None);
        assert!(request.send().promise.await.is_err());
        assert_eq!(live.get(), 0);
        node.push_request().send().await.unwrap();
        assert_eq!(live.get(), 0);
    }
}

#[tokio::test]
async fn a_guard_stays_while_the_call_is_under_way() {
    let (membrane, live) = guarded();
    let world = World::new();
    let wrapped = membrane.wrap(world.node("a"));
    let mut calls: Vec<_> = (0..3)
        .map(|_| begin(wrapped.hang_request().send().promise))
        .collect();
    assert_eq!(live.get(), 3);
    drop(calls.pop());
    assert_eq!(live.get(), 2);
    world.open_gates();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(live.get(), 0);
}

#[tokio::test]
async fn a_guard_stays_while_somebody_holds_what_the_call_promises() {
    let (membrane, live) = guarded();
    let world = World::new();
    let wrapped = membrane.wrap(world.node("a"));
    // The call goes on as long as its pipeline does, and so does what bounds it.
    let sent = wrapped.hang_request().send();
    drop(begin(sent.promise));
    assert_eq!(live.get(), 1);
    let promised = sent.pipeline.get_node();
    drop(sent.pipeline);
    assert_eq!(live.get(), 1);
    drop(promised);
    assert_eq!(live.get(), 0);
    // Once it is known what was promised, the call is over.
    let promised = wrapped.make_request().send().pipeline.get_node();
    assert_eq!(name(&promised).await.unwrap(), "");
    assert_eq!(name(&promised).await.unwrap(), "");
    assert_eq!(live.get(), 0);
}

#[tokio::test]
async fn revocation_drops_guards_before_it_returns() {
    let (membrane, live) = guarded();
    let world = World::new();
    let wrapped = membrane.wrap(world.node("a"));
    let one = begin(wrapped.hang_request().send().promise);
    let queue = forwarder(&wrapped);
    let mut other = queue.hang_request().send().promise;
    while live.get() < 2 {
        assert!((&mut other).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    membrane.revoke(reason());
    assert_eq!(live.get(), 0);
    assert!(is_reason(one.await));
    assert!(is_reason(other.await));
}

#[tokio::test]
async fn a_guard_of_a_call_that_was_never_made_goes() {
    let (membrane, live) = guarded();
    let world = World::new();
    let wrapped = membrane.wrap(world.node("a"));
    drop(wrapped.name_request());
    assert_eq!(live.get(), 0);
    let fuse: Rc<RefCell<Option<Membrane>>> = Rc::default();
    let revoking = by({
        let (fuse, live) = (Rc::clone(&fuse), Rc::clone(&live));
        move |_| {
            if let Some(membrane) = fuse.take() {
                membrane.revoke(reason());
            }
            live.set(live.get() + 1);
            Decision::AllowWith(Box::new(Guard(Rc::clone(&live))))
        }
    });
    let wrapped = revoking.wrap(world.node("a"));
    fuse.replace(Some(revoking));
    assert!(is_reason(name(&wrapped).await));
    assert_eq!((live.get(), world.started.get()), (0, 0));
}

#[tokio::test]
async fn a_guard_may_revoke_as_it_is_dropped() {
    struct Fuse(Rc<RefCell<Option<Membrane>>>);
    impl Drop for Fuse {
        fn drop(&mut self) {
            let membrane = self.0.take();
            if let Some(membrane) = membrane {
                membrane.revoke(reason());
            }
        }
    }
    let fuse: Rc<RefCell<Option<Membrane>>> = Rc::default();
    let membrane = by({
        let fuse = Rc::clone(&fuse);
        move |_| Decision::AllowWith(Box::new(Fuse(Rc::clone(&fuse))))
    });
    let (inside, outside) = (World::new(), World::new());
    let wrapped = membrane.wrap(inside.node("a"));
    fuse.replace(Some(membrane.clone()));
    // The call itself had ended; nothing it returned gets out alive.
    match make(&wrapped, "made").await {
        Err(error) => assert!(is_reason::<()>(Err(error))),
        Ok(made) => assert!(is_reason(name(&made).await)),
    }
    assert!(membrane.is_revoked());
    assert!(is_reason(ask(&wrapped, &outside.node("b")).await));
    assert_eq!(inside.live.get(), 0);
}

#[test]
fn decisions_can_be_printed() {
    let world = World::new();
    let printed = [
        Decision::Allow,
        Decision::AllowWith(Box::new(())),
        Decision::replace(world.node("a")),
        Decision::ReplaceWith(world.node("a").into_client_hook(), Box::new(())),
    ]
    .map(|decision| format!("{decision:?}"));
    assert_eq!(
        printed,
        ["Allow", "AllowWith(..)", "Replace(..)", "ReplaceWith(..)"]
    );
    assert!(format!("{:?}", Decision::Refuse(reason())).contains("staleEpoch"));
}
