//! Whatever is passed to and fro, nothing gets across bare, and nothing outlives the membrane.

use futures::FutureExt;
use proptest::prelude::*;

use crate::nodes::{
    World, ask, brand, echo, is_reason, keep, kept, make, name, open_membrane, reason,
};

/// One step of a random exchange. The numbers pick from what is held, modulo how much that is.
#[derive(Clone, Debug)]
enum Step {
    /// The outside asks for a new node.
    Make(usize),
    /// The outside passes something and gets it back.
    Echo(usize, usize),
    /// The outside has something kept.
    Keep(usize, usize),
    /// The outside takes what is kept.
    Kept(usize),
    /// The inside's node asks what the outside passes for its name.
    Ask(usize, usize),
    /// The outside takes a promise, from results or from the pipeline.
    Later(usize, bool),
    /// The outside wraps a promise of its own around something it holds.
    Promise(usize),
    /// A call is left under way.
    Hang(usize),
    /// All promises and calls may go on.
    Open,
    /// The outside lets go of something.
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let pick = || 0..1000_usize;
    prop_oneof![
        pick().prop_map(Step::Make),
        (pick(), pick()).prop_map(|(on, what)| Step::Echo(on, what)),
        (pick(), pick()).prop_map(|(on, what)| Step::Keep(on, what)),
        pick().prop_map(Step::Kept),
        (pick(), pick()).prop_map(|(on, what)| Step::Ask(on, what)),
        (pick(), any::<bool>()).prop_map(|(on, pipelined)| Step::Later(on, pipelined)),
        pick().prop_map(Step::Promise),
        pick().prop_map(Step::Hang),
        Just(Step::Open),
        pick().prop_map(Step::Drop),
    ]
}

/// Gives up on what waits for a promise that nobody resolves.
async fn soon<T>(future: impl Future<Output = Result<T, capnp::Error>>) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..10 {
        if let Some(result) = (&mut future).now_or_never() {
            return result.ok();
        }
        tokio::task::yield_now().await;
    }
    None
}

async fn exchange(steps: Vec<Step>) {
    let membrane = open_membrane();
    let (inside, outside) = (World::new(), World::new());
    inside.handed.replace(Some(Vec::new()));
    let root = inside.node("inside");
    let wrapped = membrane.wrap(root.clone());
    let wall = brand(&wrapped);
    let mut held = vec![wrapped, outside.node("x"), outside.node("y")];
    let mut calls = Vec::new();

    for step in steps {
        let at = |number: usize| held[number % held.len()].clone();
        let got = match step {
            Step::Make(on) => soon(make(&at(on), "made")).await,
            Step::Echo(on, what) => soon(echo(&at(on), &at(what))).await,
            Step::Keep(on, what) => {
                soon(keep(&at(on), &at(what))).await;
                None
            }
            Step::Kept(on) => soon(kept(&at(on))).await,
            Step::Ask(on, what) => {
                soon(ask(&at(on), &at(what))).await;
                None
            }
            Step::Later(on, true) => Some(at(on).later_request().send().pipeline.get_node()),
            Step::Later(on, false) => {
                let request = at(on).later_request();
                soon(async { request.send().promise.await?.get()?.get_node() }).await
            }
            Step::Promise(on) => {
                let target = at(on);
                Some(capnp_rpc::new_future_client(async move { Ok(target) }))
            }
            Step::Hang(on) => {
                let on = at(on);
                let mut call = on.hang_request().send().promise;
                if (&mut call).now_or_never().is_none() && brand(&on) == wall {
                    calls.push(call);
                }
                None
            }
            Step::Open => {
                inside.open_gates();
                None
            }
            Step::Drop(which) => {
                if held.len() > 3 {
                    held.swap_remove(3 + which % (held.len() - 3));
                }
                None
            }
        };
        held.extend(got);
        for node in &held {
            assert!(!inside.owns(node), "something got out bare");
        }
        for node in inside.handed.borrow().iter().flatten() {
            assert!(!outside.owns(node), "something got in bare");
        }
    }

    let started = (inside.started.get(), outside.started.get());
    membrane.revoke(reason());
    inside.open_gates();
    outside.open_gates();
    assert_eq!((membrane.live_references(), membrane.live_calls()), (0, 0));
    for call in calls {
        assert!(soon(call).await.is_none());
    }
    for node in &held {
        assert!(!inside.owns(node));
        if brand(node) == wall {
            assert!(is_reason(name(node).await));
        }
    }
    for node in inside.handed.take().iter().flatten() {
        assert!(!outside.owns(node));
        if brand(node) == wall {
            assert!(is_reason(name(node).await));
        }
    }
    tokio::task::yield_now().await;
    assert_eq!(
        (inside.started.get(), outside.started.get()),
        started,
        "a method ran behind a revoked membrane"
    );
    assert_eq!(name(&root).await.unwrap(), "inside");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_leaks_and_nothing_survives(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(exchange(steps));
    }
}
