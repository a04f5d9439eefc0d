//! A hundred thousand calls leave no byte behind. A program of its own, because it counts what the whole
//! program allocates.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "membrane/node_capnp.rs"]
#[allow(
    dead_code,
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
#[rustfmt::skip]
mod node_capnp;

use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use capnp::Error;
use membrane::policies::{All, AllowList, Audit, ConcurrencyLimit, Counts};
use membrane::{AllowAll, Membrane, Policy};
use node_capnp::node;

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came; counting touches no memory of
// the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's layout, unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's pointer and layout, unchanged.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Node;

impl node::Server for Node {
    async fn make(
        self: Rc<Self>,
        _: node::MakeParams,
        mut results: node::MakeResults,
    ) -> Result<(), Error> {
        results.get().set_node(vat::new_client(Node));
        Ok(())
    }

    async fn echo(
        self: Rc<Self>,
        params: node::EchoParams,
        mut results: node::EchoResults,
    ) -> Result<(), Error> {
        results.get().set_node(params.get()?.get_node()?);
        Ok(())
    }
}

/// One call of each kind: that returns, is passed home, pipelined, refused, and let go of.
async fn round(on: &node::Client, mine: &node::Client) {
    let made = on.make_request().send();
    let promised = made.pipeline.get_node();
    assert!(promised.make_request().send().promise.await.is_ok());
    let made = made
        .promise
        .await
        .unwrap()
        .get()
        .unwrap()
        .get_node()
        .unwrap();
    for given in [&made, mine] {
        let mut request = on.echo_request();
        request.get().set_node(given.clone());
        let answer = request.send().promise.await.unwrap();
        answer.get().unwrap().get_node().unwrap();
    }
    assert!(on.hang_request().send().promise.await.is_err());
    drop(on.make_request().send());
}

#[test]
fn a_hundred_thousand_calls_leave_no_byte_behind() {
    let id = <node::Client as capnp::traits::HasTypeId>::TYPE_ID;
    let counts = Rc::new(Counts::default());
    let list = Rc::new(AllowList::new([(id, 1), (id, 2)]));
    let all = All::new([list as Rc<dyn Policy>, Rc::new(ConcurrencyLimit::new(8))]);
    let membrane = Membrane::new(Rc::new(Audit::new(Rc::new(all), counts.clone())));
    let other = Membrane::new(Rc::new(AllowAll));
    let wrapped = other.wrap(membrane.wrap(vat::new_client::<node::Client, _>(Node)));
    let mine: node::Client = vat::new_client(Node);
    let calls = |rounds| {
        let run = async {
            for _ in 0..rounds {
                round(&wrapped, &mine).await;
            }
        };
        futures::executor::block_on(vat::run_until(run));
        // What was let go of is done with when the vat next has nothing to do.
        futures::executor::block_on(vat::run_until(async {
            assert!(wrapped.make_request().send().promise.await.is_ok());
        }));
    };
    calls(1000);
    let before = BYTES.load(Ordering::Relaxed);
    calls(17_000);
    assert_eq!(BYTES.load(Ordering::Relaxed), before);
    assert!(counts.allowed() > 90_000 && counts.refused() == 18_000);
    assert_eq!((membrane.live_calls(), other.live_calls()), (0, 0));
    assert_eq!(
        (membrane.live_references(), other.live_references()),
        (1, 1)
    );
}
