//! What a membrane costs: a call in one process, bare and through a membrane.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/membrane/node_capnp.rs"]
#[allow(
    dead_code,
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
#[rustfmt::skip]
mod node_capnp;

use std::rc::Rc;

use criterion::{Criterion, criterion_group, criterion_main};
use membrane::{AllowAll, Membrane};
use node_capnp::node;

struct Echo;

impl node::Server for Echo {
    async fn name(
        self: Rc<Self>,
        _: node::NameParams,
        mut results: node::NameResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_name("echo");
        Ok(())
    }

    async fn make(
        self: Rc<Self>,
        _: node::MakeParams,
        mut results: node::MakeResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_node(capnp_rpc::new_client(Echo));
        Ok(())
    }
}

async fn name(node: &node::Client) {
    let response = node.name_request().send().promise.await.unwrap();
    std::hint::black_box(response.get().unwrap().get_name().unwrap().len());
}

async fn make(node: &node::Client) {
    let response = node.make_request().send().promise.await.unwrap();
    std::hint::black_box(response.get().unwrap().get_node().unwrap());
}

fn calls(criterion: &mut Criterion) {
    let bare: node::Client = capnp_rpc::new_client(Echo);
    let wrapped = Membrane::new(Rc::new(AllowAll)).wrap(bare.clone());
    let mut group = criterion.benchmark_group("membrane");
    for (label, node) in [("bare", &bare), ("through a membrane", &wrapped)] {
        group.bench_function(format!("call, {label}"), |bencher| {
            bencher.iter(|| futures::executor::block_on(name(node)));
        });
        group.bench_function(
            format!("call that returns a capability, {label}"),
            |bencher| {
                bencher.iter(|| futures::executor::block_on(make(node)));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
