//! Who calls whom: objects of `vat` and of `capnp-rpc`, bare and through a membrane.

use std::rc::Rc;
use std::time::{Duration, Instant};

use capnp::Error;
use capnp::capability::{FromClientHook, Promise};
use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::{ParamsHook, PipelineHook, RequestHook, ResultsHook};
use capnp::private::layout::CapTable;
use capnp::traits::{HasTypeId, Imbue, ImbueMut};
use capnp::{any_pointer, message};
use futures::FutureExt;
use membrane::policies::AllowList;
use membrane::{AllowAll, Membrane, Policy};

use crate::node_capnp::node;

/// A row: how to make so many calls.
pub struct Party {
    pub name: &'static str,
    /// The row that it is compared with.
    pub bare: Option<&'static str>,
    calls: Box<dyn FnMut(usize)>,
}

impl Party {
    pub fn run(&mut self, calls: usize) {
        (self.calls)(calls);
    }
}

/// Where objects live.
#[derive(Clone, Copy, PartialEq)]
enum Engine {
    Vat,
    CapnpRpc,
}

#[derive(Clone, Copy)]
enum Method {
    /// Carries nothing.
    Empty,
    /// Returns an object that it makes.
    Make,
    /// Returns the same object each time.
    Same,
    /// Is passed an object.
    Pass,
}

pub fn parties() -> Vec<Party> {
    use Engine::{CapnpRpc, Vat};
    use Method::{Empty, Make, Pass, Same};
    let row = |engine, method, name, through| direct(engine, method, name, None, through);
    let all = || Some(Rc::new(AllowAll) as Rc<dyn Policy>);
    let mut parties = vec![
        row(Vat, Empty, "vat, empty call", None),
        direct(
            Vat,
            Empty,
            "vat, empty call, membrane",
            Some("vat, empty call"),
            all(),
        ),
        direct(
            Vat,
            Empty,
            "vat, empty call, membrane with a list of 16",
            Some("vat, empty call"),
            Some(list()),
        ),
    ];
    let pairs = [
        (
            Vat,
            Make,
            "vat, returns a new object",
            "vat, returns a new object, membrane",
        ),
        (
            Vat,
            Same,
            "vat, returns the same object",
            "vat, returns the same object, membrane",
        ),
        (
            Vat,
            Pass,
            "vat, is passed an object",
            "vat, is passed an object, membrane",
        ),
        (
            CapnpRpc,
            Empty,
            "capnp-rpc, empty call",
            "capnp-rpc, empty call, membrane",
        ),
        (
            CapnpRpc,
            Make,
            "capnp-rpc, returns a new object",
            "capnp-rpc, returns a new object, membrane",
        ),
        (
            CapnpRpc,
            Same,
            "capnp-rpc, returns the same object",
            "capnp-rpc, returns the same object, membrane",
        ),
        (
            CapnpRpc,
            Pass,
            "capnp-rpc, is passed an object",
            "capnp-rpc, is passed an object, membrane",
        ),
    ];
    for (engine, method, bare, wrapped) in pairs {
        parties.push(row(engine, method, bare, None));
        parties.push(direct(engine, method, wrapped, Some(bare), all()));
    }
    let pairs = [
        (
            Empty,
            "arriving, empty call",
            "arriving, empty call, membrane",
        ),
        (
            Make,
            "arriving, returns a new object",
            "arriving, returns a new object, membrane",
        ),
        (
            Pass,
            "arriving, is passed an object",
            "arriving, is passed an object, membrane",
        ),
    ];
    for (method, bare, wrapped) in pairs {
        parties.push(arriving(method, bare, None, None));
        parties.push(arriving(method, wrapped, Some(bare), all()));
    }
    parties
}

fn list() -> Rc<dyn Policy> {
    let id = node::Client::TYPE_ID;
    Rc::new(AllowList::new((0..16).map(|method| (id, method))))
}

struct Echo {
    engine: Engine,
    kept: Option<node::Client>,
}

impl Engine {
    fn client(self, kept: Option<node::Client>) -> node::Client {
        let echo = Echo { engine: self, kept };
        match self {
            Engine::Vat => vat::new_client(echo),
            Engine::CapnpRpc => capnp_rpc::new_client(echo),
        }
    }

    /// A node that keeps another.
    fn node(self) -> node::Client {
        let kept = self.client(None);
        self.client(Some(kept))
    }
}

impl node::Server for Echo {
    async fn name(self: Rc<Self>, _: node::NameParams, _: node::NameResults) -> Result<(), Error> {
        Ok(())
    }

    async fn make(
        self: Rc<Self>,
        _: node::MakeParams,
        mut results: node::MakeResults,
    ) -> Result<(), Error> {
        results.get().set_node(self.engine.client(None));
        Ok(())
    }

    async fn kept(
        self: Rc<Self>,
        _: node::KeptParams,
        mut results: node::KeptResults,
    ) -> Result<(), Error> {
        if let Some(kept) = &self.kept {
            results.get().set_node(kept.clone());
        }
        Ok(())
    }

    async fn keep(
        self: Rc<Self>,
        params: node::KeepParams,
        _: node::KeepResults,
    ) -> Result<(), Error> {
        std::hint::black_box(params.get()?.get_node()?);
        Ok(())
    }

    async fn hang(self: Rc<Self>, _: node::HangParams, _: node::HangResults) -> Result<(), Error> {
        std::future::pending().await
    }
}

/// Calls as a program makes them on the same thread.
fn direct(
    engine: Engine,
    method: Method,
    name: &'static str,
    bare: Option<&'static str>,
    policy: Option<Rc<dyn Policy>>,
) -> Party {
    let node = engine.node();
    let mine = engine.node();
    let membrane = policy.map(Membrane::new);
    let wrapped = membrane.map_or(node.clone(), |membrane| membrane.wrap(node));
    // What it returns is used before and after, so that it is always wrapped already.
    let kept = wrapped.kept_request().send();
    let kept = futures::executor::block_on(vat::run_until(kept.promise)).unwrap();
    Party {
        name,
        bare,
        calls: Box::new(move |calls| {
            let _kept = &kept;
            let calls = call(&wrapped, &mine, method, calls);
            match engine {
                Engine::Vat => futures::executor::block_on(vat::run_until(calls)),
                Engine::CapnpRpc => futures::executor::block_on(calls),
            }
        }),
    }
}

async fn call(node: &node::Client, mine: &node::Client, method: Method, calls: usize) {
    for _ in 0..calls {
        match method {
            Method::Empty => drop(node.name_request().send().promise.await.unwrap()),
            Method::Make => {
                let response = node.make_request().send().promise.await.unwrap();
                std::hint::black_box(response.get().unwrap().get_node().unwrap());
            }
            Method::Same => {
                let response = node.kept_request().send().promise.await.unwrap();
                std::hint::black_box(response.get().unwrap().get_node().unwrap());
            }
            Method::Pass => {
                let mut request = node.keep_request();
                request.get().set_node(mine.clone());
                drop(request.send().promise.await.unwrap());
            }
        }
    }
}

/// Calls as a connection makes them for a peer, without the connection.
fn arriving(
    method: Method,
    name: &'static str,
    bare: Option<&'static str>,
    policy: Option<Rc<dyn Policy>>,
) -> Party {
    let node = Engine::Vat.node();
    let mine = Engine::Vat.node();
    let membrane = policy.map(Membrane::new);
    let wrapped = membrane.map_or(node.clone(), |membrane| membrane.wrap(node));
    let hook = wrapped.into_client_hook();
    let ordinal = match method {
        Method::Empty => 0,
        Method::Make => 1,
        Method::Same => 4,
        Method::Pass => 3,
    };
    Party {
        name,
        bare,
        calls: Box::new(move |calls| {
            for _ in 0..calls {
                let mut params = Content::new();
                if matches!(method, Method::Pass) {
                    let mut params = params.root().init_as::<node::keep_params::Builder<'_>>();
                    params.set_node(mine.clone());
                }
                let results = Content::new();
                let called = hook.call(
                    node::Client::TYPE_ID,
                    ordinal,
                    Box::new(params),
                    Box::new(results),
                );
                called.now_or_never().unwrap().unwrap();
            }
        }),
    }
}

/// Parameters or results in the hands of a connection.
struct Content {
    message: Builder<HeapAllocator>,
    caps: CapTable,
}

impl Content {
    fn new() -> Self {
        let allocator = HeapAllocator::new().first_segment_words(32);
        Self {
            message: message::Builder::new(allocator),
            caps: CapTable::new(),
        }
    }

    fn root(&mut self) -> any_pointer::Builder<'_> {
        let mut root: any_pointer::Builder<'_> = self.message.get_root().unwrap();
        root.imbue_mut(&mut self.caps);
        root
    }
}

impl ParamsHook for Content {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let mut root: any_pointer::Reader<'_> = self.message.get_root_as_reader()?;
        root.imbue(&self.caps);
        Ok(root)
    }
}

impl ResultsHook for Content {
    fn get(&mut self) -> Result<any_pointer::Builder<'_>, Error> {
        Ok(self.root())
    }

    fn set_pipeline(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn allow_cancellation(&self) {}

    fn tail_call(self: Box<Self>, request: Box<dyn RequestHook>) -> Promise<(), Error> {
        self.direct_tail_call(request).0
    }

    fn direct_tail_call(
        self: Box<Self>,
        request: Box<dyn RequestHook>,
    ) -> (Promise<(), Error>, Box<dyn PipelineHook>) {
        let sent = request.send();
        let ended = Promise::from_future(sent.promise.map(|result| result.map(drop)));
        (ended, sent.pipeline.hook)
    }
}

const SESSIONS: usize = 10_000;
const REFERENCES: usize = 5;

/// How long it takes to revoke many membranes, each with a few references and a call under way: the median
/// of several times.
pub fn revoke_sessions() -> (usize, usize, Duration) {
    let mut times: Vec<_> = (0..11).map(|_| revoke_once()).collect();
    times.sort();
    (SESSIONS, REFERENCES, times[times.len() / 2])
}

fn revoke_once() -> Duration {
    let nodes: Vec<_> = (0..REFERENCES).map(|_| Engine::Vat.node()).collect();
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let membrane = Membrane::new(Rc::new(AllowAll));
            let held: Vec<_> = nodes
                .iter()
                .map(|node| membrane.wrap(node.clone()))
                .collect();
            let mut call = held[0].hang_request().send().promise;
            assert!((&mut call).now_or_never().is_none());
            (membrane, held, call)
        })
        .collect();
    let reason = Error::disconnected("staleEpoch: the epoch has moved on".into());
    let began = Instant::now();
    for (membrane, ..) in &sessions {
        membrane.revoke(reason.clone());
    }
    let took = began.elapsed();
    assert!(sessions.iter().all(|(membrane, ..)| membrane.is_revoked()));
    took
}
