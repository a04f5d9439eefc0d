//! Who calls whom: this engine and `capnp-rpc`, in the same arrangements.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use futures::AsyncReadExt as _;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use vat::{Closed, Connection, Inbox, Limits, Outbox};

use crate::lab::{CapnpRpc, Lab, Vat};
use crate::lab_capnp::lab;
use crate::measure::allocated_bytes;
use crate::rpc_capnp::message;

const BULK_BYTES: usize = 64 << 10;

/// A row: how to make so many calls.
pub struct Party {
    pub name: &'static str,
    /// The row that it is compared with.
    pub peer: Option<&'static str>,
    /// What a call carries, there and back.
    pub bytes: usize,
    calls: Box<dyn FnMut(usize)>,
}

impl Party {
    pub fn run(&mut self, calls: usize) {
        (self.calls)(calls);
    }
}

pub fn parties() -> Vec<Party> {
    vec![
        raw("raw peer, empty call", 0, Method::Echo),
        raw("raw peer, call that suspends", 0, Method::Later),
        raw("raw peer, 64 KiB echo", BULK_BYTES, Method::Echo),
        local("local, empty call"),
        pair(
            "two vats in memory, empty call",
            0,
            Some("capnp-rpc in memory, empty call"),
        ),
        capnp_rpc("capnp-rpc in memory, empty call", 0),
        pair(
            "two vats in memory, 64 KiB echo",
            BULK_BYTES,
            Some("capnp-rpc in memory, 64 KiB echo"),
        ),
        capnp_rpc("capnp-rpc in memory, 64 KiB echo", BULK_BYTES),
        streaming("two vats in memory, 64 KiB pushed"),
    ]
}

#[derive(Clone, Copy)]
enum Method {
    Echo = 1,
    Later = 3,
}

type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// Messages for a peer on the same thread.
struct Here {
    queue: Queue,
    bytes: Rc<Cell<usize>>,
}

impl Outbox for Here {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        self.bytes.set(self.bytes.get() + message.len());
        self.queue.borrow_mut().push_back(message);
        Ok(())
    }

    fn backlog(&self) -> usize {
        self.bytes.get()
    }
}

fn here() -> (Here, Queue, Rc<Cell<usize>>) {
    let queue = Queue::default();
    let bytes = Rc::new(Cell::new(0));
    let here = Here {
        queue: queue.clone(),
        bytes: bytes.clone(),
    };
    (here, queue, bytes)
}

fn runtime() -> Rc<(Runtime, LocalSet)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    Rc::new((runtime, LocalSet::new()))
}

/// A peer that writes its messages itself, as a guest without any RPC library would.
fn raw(name: &'static str, bytes: usize, method: Method) -> Party {
    let (outbox, queue, backlog) = here();
    let lab = Lab::<Vat>::client(&Rc::default());
    let connection = Connection::new(outbox, Limits::default(), Some(lab.client));
    let inbox = connection.inbox();
    let mut bootstrap = capnp::message::Builder::new_default();
    bootstrap
        .init_root::<message::Builder<'_>>()
        .init_bootstrap();
    inbox
        .receive(&capnp::serialize::write_message_to_words(&bootstrap))
        .unwrap();
    queue.borrow_mut().clear();
    backlog.set(0);
    let mut call = capnp::message::Builder::new_default();
    let mut root = call.init_root::<message::Builder<'_>>().init_call();
    root.set_question_id(1);
    root.set_interface_id(<lab::Client as capnp::traits::HasTypeId>::TYPE_ID);
    root.set_method_id(method as u16);
    root.reborrow().init_target().set_imported_cap(0);
    let content = root.init_params().get_content();
    let mut params: lab::echo_params::Builder<'_> = content.init_as();
    params.set_data(&vec![7; bytes]);
    let call = capnp::serialize::write_message_to_words(&call);
    let turns = runtime();
    Party {
        name,
        peer: None,
        bytes: bytes * 2,
        calls: Box::new(move |calls| {
            let _keep = &connection;
            let call = &call;
            match method {
                Method::Echo => {
                    for _ in 0..calls {
                        inbox.receive(call).unwrap();
                        let returned = queue.borrow_mut().pop_front().unwrap();
                        backlog.set(0);
                        std::hint::black_box(returned);
                    }
                }
                Method::Later => turns.1.block_on(
                    &turns.0,
                    vat::run_until(async {
                        for _ in 0..calls {
                            inbox.receive(call).unwrap();
                            while queue.borrow().is_empty() {
                                tokio::task::yield_now().await;
                            }
                            queue.borrow_mut().clear();
                            backlog.set(0);
                        }
                    }),
                ),
            }
        }),
    }
}

fn local(name: &'static str) -> Party {
    let lab = Lab::<Vat>::client(&Rc::default());
    let turns = runtime();
    Party {
        name,
        peer: None,
        bytes: 0,
        calls: Box::new(move |calls| {
            turns
                .1
                .block_on(&turns.0, vat::run_until(call(&lab, calls, 0)));
        }),
    }
}

async fn call(lab: &lab::Client, calls: usize, bytes: usize) {
    let data = vec![7; bytes];
    for _ in 0..calls {
        if bytes == 0 {
            lab.nothing_request().send().promise.await.unwrap();
            continue;
        }
        let size = capnp::MessageSize {
            word_count: bytes as u64 / 8 + 4,
            cap_count: 0,
        };
        let mut request = lab
            .client
            .new_call::<lab::echo_params::Owned, lab::echo_results::Owned>(
                <lab::Client as capnp::traits::HasTypeId>::TYPE_ID,
                1,
                Some(size),
            );
        request.get().set_data(&data);
        let response = request.send().promise.await.unwrap();
        assert_eq!(response.get().unwrap().get_data().unwrap().len(), bytes);
    }
}

/// Two connections of this engine, whose messages are carried as soon as they are there.
struct Joined {
    near: Connection,
    _far: Connection,
    carry: Carry,
}

#[derive(Clone)]
struct Carry {
    near: Inbox,
    far: Inbox,
    to_near: (Queue, Rc<Cell<usize>>),
    to_far: (Queue, Rc<Cell<usize>>),
}

impl Carry {
    fn all(&self) {
        loop {
            let ways = [(&self.to_far, &self.far), (&self.to_near, &self.near)];
            let mut carried = false;
            for ((queue, bytes), inbox) in ways {
                let message = queue.borrow_mut().pop_front();
                if let Some(message) = message {
                    bytes.set(bytes.get() - message.len());
                    inbox.receive(&message).unwrap();
                    carried = true;
                }
            }
            if !carried {
                break;
            }
        }
    }
}

fn joined() -> Joined {
    let lab = Lab::<Vat>::client(&Rc::default());
    let (far_outbox, to_near, near_bytes) = here();
    let (near_outbox, to_far, far_bytes) = here();
    let far = Connection::new(far_outbox, Limits::default(), Some(lab.client));
    let near = Connection::new(near_outbox, Limits::default(), None);
    let carry = Carry {
        near: near.inbox(),
        far: far.inbox(),
        to_near: (to_near, near_bytes),
        to_far: (to_far, far_bytes),
    };
    Joined {
        near,
        _far: far,
        carry,
    }
}

async fn carrying(carry: Carry, work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        loop {
            if work.as_mut().poll(context).is_ready() {
                return std::task::Poll::Ready(());
            }
            if carry.to_far.0.borrow().is_empty() && carry.to_near.0.borrow().is_empty() {
                context.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            carry.all();
        }
    })
    .await;
}

fn pair(name: &'static str, bytes: usize, peer: Option<&'static str>) -> Party {
    let joined = joined();
    let lab: lab::Client = joined.near.bootstrap();
    let turns = runtime();
    Party {
        name,
        peer,
        bytes: bytes * 2,
        calls: Box::new(move |calls| {
            let joined = &joined;
            let work = carrying(joined.carry.clone(), call(&lab, calls, bytes));
            turns.1.block_on(&turns.0, vat::run_until(work));
        }),
    }
}

fn streaming(name: &'static str) -> Party {
    let joined = joined();
    let lab: lab::Client = joined.near.bootstrap();
    let turns = runtime();
    Party {
        name,
        peer: None,
        bytes: BULK_BYTES,
        calls: Box::new(move |calls| {
            let (lab, joined) = (lab.clone(), &joined);
            let work = carrying(joined.carry.clone(), async move {
                let data = vec![7; BULK_BYTES];
                for _ in 0..calls {
                    let mut request = lab.push_request();
                    request.get().set_data(&data);
                    request.send().await.unwrap();
                }
                lab.pushed_request().send().promise.await.unwrap();
            });
            turns.1.block_on(&turns.0, vat::run_until(work));
        }),
    }
}

fn capnp_rpc(name: &'static str, bytes: usize) -> Party {
    let turns = runtime();
    let lab: lab::Client = turns.1.block_on(&turns.0, async {
        let (near, far) = tokio::io::duplex(1 << 20);
        let network = |stream: tokio::io::DuplexStream, side| {
            let (reader, writer) = stream.compat().split();
            Box::new(twoparty::VatNetwork::new(
                reader,
                writer,
                side,
                Default::default(),
            ))
        };
        let lab = Lab::<CapnpRpc>::client(&Rc::default());
        let server = RpcSystem::new(network(far, Side::Server), Some(lab.client));
        let mut client = RpcSystem::new(network(near, Side::Client), None);
        let lab = client.bootstrap(Side::Server);
        tokio::task::spawn_local(server);
        tokio::task::spawn_local(client);
        lab
    });
    Party {
        name,
        peer: None,
        bytes: bytes * 2,
        calls: Box::new(move |calls| {
            turns.1.block_on(&turns.0, call(&lab, calls, bytes));
        }),
    }
}

/// What a connection holds when nothing is asked of it.
pub fn idle_bytes() -> usize {
    let connections: usize = 100;
    let before = allocated_bytes();
    let all: Vec<_> = (0..connections).map(|_| joined()).collect();
    let held = allocated_bytes() - before;
    drop(all);
    // Each pair is two connections.
    held / connections / 2
}
