//! Methods that end in a call to somebody else, through a membrane.

use std::cell::Cell;
use std::rc::Rc;

use capnp::Error;
use membrane::{AllowAll, Membrane, TailCalls};

use crate::node_capnp::node;
use crate::nodes::{World, brand, is_reason, make, name, reason};

/// Says what it will return long before it does.
struct Slow(Rc<World>, Rc<Cell<bool>>);

/// Whether something is there.
struct There(Rc<Cell<bool>>);

impl Drop for There {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl node::Server for Slow {
    async fn make(
        self: Rc<Self>,
        _: node::MakeParams,
        mut results: node::MakeResults,
    ) -> Result<(), Error> {
        self.1.set(true);
        let _there = There(Rc::clone(&self.1));
        results
            .get()
            .set_node(vat::new_client_from_rc(self.0.server("promised")));
        results.set_pipeline()?;
        std::future::pending().await
    }
}

fn forwarder(world: &Rc<World>, tail_calls: TailCalls) -> (Membrane, node::Client) {
    let membrane = Membrane::with_tail_calls(Rc::new(AllowAll), tail_calls);
    let node: node::Client = vat::new_client_from_rc(world.server("forwarder"));
    let wrapped = membrane.wrap(node);
    // Tail calls are made where calls arrive through a promise.
    (membrane, vat::new_future_client(async move { Ok(wrapped) }))
}

fn tail(
    on: &node::Client,
    to: &node::Client,
) -> capnp::capability::RemotePromise<node::tail_results::Owned> {
    let mut request = on.tail_request();
    request.get().set_node(to.clone());
    request.send()
}

#[tokio::test]
async fn tail_calls_pass_either_way() {
    for tail_calls in [TailCalls::Copy, TailCalls::HandOn] {
        let run = async {
            let (world, outside) = (World::new(), World::new());
            let (membrane, node) = forwarder(&world, tail_calls);
            let mine: node::Client = vat::new_client_from_rc(outside.server("mine"));
            let made = tail(&node, &mine).promise.await.unwrap();
            let made = made.get().unwrap().get_node().unwrap();
            assert_eq!(name(&made).await.unwrap(), "tail");
            // What was made outside has come home; what is made inside is wrapped.
            assert!(outside.owns(&made));
            let theirs = make(&node, "theirs").await.unwrap();
            let made = tail(&node, &theirs).promise.await.unwrap();
            let made = made.get().unwrap().get_node().unwrap();
            assert_eq!(brand(&made), brand(&theirs));
            membrane.revoke(reason());
            assert!(is_reason(name(&made).await));
        };
        vat::run_until(run).await;
    }
}

#[tokio::test]
async fn a_call_pipelined_on_a_tail_call_that_is_handed_on_does_not_wait_for_it() {
    let run = async {
        let (world, outside) = (World::new(), World::new());
        let (membrane, node) = forwarder(&world, TailCalls::HandOn);
        let runs = Rc::new(Cell::new(false));
        let slow: node::Client = vat::new_client(Slow(Rc::clone(&outside), Rc::clone(&runs)));
        let sent = tail(&node, &slow);
        let promised = sent.pipeline.get_node();
        assert_eq!(name(&promised).await.unwrap(), "promised");
        assert!(runs.get());
        membrane.revoke(reason());
        assert!(is_reason(sent.promise.await));
        assert!(!runs.get(), "the tail call outlived the membrane");
    };
    vat::run_until(run).await;
}
