//! Chains of membranes that a peer made long end in an error.

use capnp::Error;
use capnp::capability::FromClientHook;
use membrane::{MAX_NESTING, TOO_DEEP};

use crate::node_capnp::node;
use crate::nodes::{World, begin, keep, kept, name, open_membrane};

fn is_too_deep<T>(result: Result<T, Error>) -> bool {
    result.is_err_and(|error| error.extra.contains(TOO_DEEP))
}

/// A node seen through `depth` membranes, one within the other.
fn chain(world: &std::rc::Rc<World>, depth: u32) -> node::Client {
    (0..depth).fold(world.node("a"), |node, _| open_membrane().wrap(node))
}

#[test]
fn as_many_membranes_as_may_be_fit_on_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let run = thread.spawn(|| {
        futures::executor::block_on(async {
            let world = World::new();
            let deep = chain(&world, MAX_NESTING / 2);
            assert_eq!(name(&deep).await.unwrap(), "a");
            let deepest = chain(&world, MAX_NESTING);
            assert_eq!(name(&deepest).await.unwrap(), "a");
            keep(&deepest, &deep).await.unwrap();
            assert_eq!(name(&kept(&deepest).await.unwrap()).await.unwrap(), "a");
        });
    });
    run.unwrap().join().unwrap();
}

#[tokio::test]
async fn a_long_chain_fails_and_is_dropped_without_recursion() {
    let world = World::new();
    let deep = chain(&world, 100_000);
    assert!(is_too_deep(name(&deep).await));
    assert!(is_too_deep(deep.push_request().send().await));
    assert!(deep.as_client_hook().get_resolved().is_none());
    drop(deep);
    assert_eq!((world.started.get(), world.live.get()), (0, 0));
}

#[tokio::test]
async fn two_membranes_in_turn_do_not_make_a_chain_that_ends_the_process() {
    let world = World::new();
    let node = world.node("a");
    let (one, other) = (open_membrane(), open_membrane());
    let (through_one, through_other) = (one.wrap(node.clone()), other.wrap(node.clone()));
    // In through the one, out through the other: each round adds two.
    let mut held = through_one.clone();
    for _ in 0..10_000 {
        keep(&through_other, &held).await.unwrap();
        held = kept(&through_one).await.unwrap();
    }
    assert!(is_too_deep(name(&held).await));
    keep(&node, &world.node("b")).await.unwrap();
    drop(held);
    assert_eq!(name(&through_one).await.unwrap(), "a");
}

#[tokio::test]
async fn a_cycle_of_promises_through_two_membranes_ends() {
    let (one, other) = (open_membrane(), open_membrane());
    let (send_first, first) = futures::channel::oneshot::channel::<node::Client>();
    let (send_second, second) = futures::channel::oneshot::channel::<node::Client>();
    let promise = |receiver: futures::channel::oneshot::Receiver<node::Client>| {
        capnp_rpc::new_future_client(async move {
            receiver.await.map_err(|_| Error::failed("gone".into()))
        })
    };
    let (first, second): (node::Client, node::Client) = (promise(first), promise(second));
    let _ = send_first.send(one.wrap(second.clone()));
    let _ = send_second.send(other.wrap(first.clone()));
    // No call is queued while they resolve: `capnp-rpc` itself does not survive that.
    for promise in [&first, &second] {
        let resolved = promise.as_client_hook().when_more_resolved().unwrap();
        resolved.await.unwrap();
    }
    let passed = open_membrane().wrap(first.clone());
    for promise in [&first, &second, &passed] {
        assert!(is_too_deep(name(promise).await));
    }
    one.revoke(Error::failed("over".into()));
    other.revoke(Error::failed("over".into()));
}

#[tokio::test]
async fn a_chain_of_calls_in_flight_is_dropped_without_recursion() {
    let world = World::new();
    let deep = chain(&world, MAX_NESTING);
    let call = begin(deep.hang_request().send().promise);
    drop(call);
    drop(deep);
    assert_eq!((world.dropped.get(), world.live.get()), (1, 0));
}
