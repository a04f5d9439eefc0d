//! Nodes, the objects of the tests, and what the tests know of them.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use capnp::Error;
use capnp::capability::{FromClientHook, Promise};
use futures::channel::oneshot;
use membrane::{AllowAll, Membrane};

use crate::node_capnp::{admin, both, node};

/// What is known of a set of nodes.
#[derive(Default)]
pub struct World {
    /// How many method bodies started.
    pub started: Cell<u32>,
    /// How many method bodies were dropped before they had ended.
    pub dropped: Cell<u32>,
    /// How many nodes there are.
    pub live: Cell<u32>,
    /// Whether `push` hangs.
    pub push_hangs: Cell<bool>,
    /// Where the bytes lay that `sum` read last.
    pub bytes_at: Cell<usize>,
    /// What was handed to its methods, if that is noted.
    pub handed: RefCell<Option<Vec<node::Client>>>,
    addresses: RefCell<HashSet<usize>>,
    gates: RefCell<Vec<oneshot::Sender<()>>>,
}

impl World {
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    pub fn node(self: &Rc<Self>, name: &str) -> node::Client {
        self.both(name).cast_to()
    }

    pub fn both(self: &Rc<Self>, name: &str) -> both::Client {
        capnp_rpc::new_client_from_rc(self.server(name))
    }

    pub fn server(self: &Rc<Self>, name: &str) -> Rc<Node> {
        self.live.set(self.live.get() + 1);
        let node = Rc::new(Node {
            world: Rc::clone(self),
            name: name.to_string(),
            kept: RefCell::new(None),
        });
        self.addresses.borrow_mut().insert(Rc::as_ptr(&node).addr());
        node
    }

    /// Whether this, looked through, is one of its nodes, bare.
    pub fn owns(&self, node: &node::Client) -> bool {
        let mut hook = node.as_client_hook().add_ref();
        while let Some(resolved) = hook.get_resolved() {
            hook = resolved;
        }
        hook.get_brand() == 0 && self.addresses.borrow().contains(&hook.get_ptr())
    }

    fn note(&self, given: &node::Client) {
        if let Some(handed) = &mut *self.handed.borrow_mut() {
            handed.push(given.clone());
        }
    }

    /// Lets everything go on that hangs.
    pub fn open_gates(&self) {
        for gate in self.gates.take() {
            let _ = gate.send(());
        }
    }

    fn gate(&self) -> oneshot::Receiver<()> {
        let (open, gate) = oneshot::channel();
        self.gates.borrow_mut().push(open);
        gate
    }

    fn start(self: &Rc<Self>) -> Body {
        self.started.set(self.started.get() + 1);
        Body {
            world: Rc::clone(self),
            ended: false,
        }
    }
}

/// A method body that has started.
struct Body {
    world: Rc<World>,
    ended: bool,
}

impl Body {
    fn end(mut self) -> Result<(), Error> {
        self.ended = true;
        Ok(())
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.ended {
            self.world.dropped.set(self.world.dropped.get() + 1);
        }
    }
}

pub struct Node {
    world: Rc<World>,
    name: String,
    kept: RefCell<Option<node::Client>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let address = std::ptr::from_ref(self).addr();
        self.world.addresses.borrow_mut().remove(&address);
        self.world.live.set(self.world.live.get() - 1);
    }
}

impl node::Server for Node {
    async fn name(
        self: Rc<Self>,
        _: node::NameParams,
        mut results: node::NameResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        results.get().set_name(&self.name);
        body.end()
    }

    async fn make(
        self: Rc<Self>,
        params: node::MakeParams,
        mut results: node::MakeResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let name = params.get()?.get_name()?.to_str()?;
        results.get().set_node(self.world.node(name));
        body.end()
    }

    async fn echo(
        self: Rc<Self>,
        params: node::EchoParams,
        mut results: node::EchoResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let given = params.get()?.get_node()?;
        self.world.note(&given);
        results.get().set_node(given);
        body.end()
    }

    async fn keep(
        self: Rc<Self>,
        params: node::KeepParams,
        _: node::KeepResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let kept = params.get()?.get_node()?;
        self.world.note(&kept);
        let old = self.kept.replace(Some(kept));
        drop(old);
        body.end()
    }

    async fn kept(
        self: Rc<Self>,
        _: node::KeptParams,
        mut results: node::KeptResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        if let Some(kept) = self.kept.borrow().clone() {
            results.get().set_node(kept);
        }
        body.end()
    }

    async fn ask(
        self: Rc<Self>,
        params: node::AskParams,
        mut results: node::AskResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let given = params.get()?.get_node()?;
        self.world.note(&given);
        let name = name(&given).await?;
        results.get().set_name(&name);
        body.end()
    }

    async fn same(
        self: Rc<Self>,
        params: node::SameParams,
        mut results: node::SameResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let given = params.get()?.get_node()?;
        let kept = self.kept.borrow().clone();
        let same = kept.is_some_and(|kept| ptr(&kept) == ptr(&given));
        results.get().set_same(same);
        body.end()
    }

    async fn later(
        self: Rc<Self>,
        _: node::LaterParams,
        mut results: node::LaterResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let (gate, node) = (self.world.gate(), self.world.node("later"));
        results
            .get()
            .set_node(capnp_rpc::new_future_client(async move {
                gate.await
                    .map_err(|_| Error::failed("closed".into()))
                    .map(|()| node)
            }));
        body.end()
    }

    async fn hang(
        self: Rc<Self>,
        _: node::HangParams,
        mut results: node::HangResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let _ = self.world.gate().await;
        results.get().set_node(self.world.node("hung"));
        body.end()
    }

    async fn early(
        self: Rc<Self>,
        _: node::EarlyParams,
        mut results: node::EarlyResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        results.get().set_node(self.world.node("early"));
        results.set_pipeline()?;
        let _ = self.world.gate().await;
        results.get().set_node(self.world.node("late"));
        body.end()
    }

    async fn tail(
        self: Rc<Self>,
        params: node::TailParams,
        results: node::TailResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let mut request = params.get()?.get_node()?.make_request();
        request.get().set_name("tail");
        results.hook.tail_call(request.hook).await?;
        body.end()
    }

    async fn push(self: Rc<Self>, _: node::PushParams) -> Result<(), Error> {
        let body = self.world.start();
        if self.world.push_hangs.get() {
            let _ = self.world.gate().await;
        }
        body.end()
    }

    async fn swap(
        self: Rc<Self>,
        params: node::SwapParams,
        mut results: node::SwapResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let params = params.get()?;
        let entries = params.get_entries()?;
        let mut swapped = results.get().init_entries(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            swapped.set_with_caveats(entries.len() - 1 - index as u32, entry)?;
        }
        let loose = params.get_loose()?;
        let mut swapped = results.get().init_loose(loose.len());
        for (index, node) in loose.iter().enumerate() {
            let back = loose.len() - 1 - index as u32;
            if let Ok(node) = node {
                swapped.reborrow().set(back, node.client.hook);
            }
        }
        body.end()
    }

    async fn sum(
        self: Rc<Self>,
        params: node::SumParams,
        mut results: node::SumResults,
    ) -> Result<(), Error> {
        let body = self.world.start();
        let bytes = params.get()?.get_bytes()?;
        self.world.bytes_at.set(bytes.as_ptr().addr());
        results
            .get()
            .set_sum(bytes.iter().map(|byte| u64::from(*byte)).sum());
        body.end()
    }
}

impl admin::Server for Node {
    async fn erase(
        self: Rc<Self>,
        _: admin::EraseParams,
        _: admin::EraseResults,
    ) -> Result<(), Error> {
        self.world.start().end()
    }
}

impl both::Server for Node {}

pub fn open_membrane() -> Membrane {
    Membrane::new(Rc::new(AllowAll))
}

pub fn reason() -> Error {
    Error::disconnected("staleEpoch: the test is over".into())
}

pub fn is_reason<T>(result: Result<T, Error>) -> bool {
    result.is_err_and(|error| error.extra.contains("staleEpoch: the test is over"))
}

pub fn ptr(node: &node::Client) -> usize {
    node.as_client_hook().get_ptr()
}

pub fn brand(node: &node::Client) -> usize {
    node.as_client_hook().get_brand()
}

pub async fn name(node: &node::Client) -> Result<String, Error> {
    let response = node.name_request().send().promise.await?;
    Ok(response.get()?.get_name()?.to_string()?)
}

pub async fn make(node: &node::Client, name: &str) -> Result<node::Client, Error> {
    let mut request = node.make_request();
    request.get().set_name(name);
    request.send().promise.await?.get()?.get_node()
}

pub async fn echo(node: &node::Client, given: &node::Client) -> Result<node::Client, Error> {
    let mut request = node.echo_request();
    request.get().set_node(given.clone());
    request.send().promise.await?.get()?.get_node()
}

pub async fn keep(node: &node::Client, given: &node::Client) -> Result<(), Error> {
    let mut request = node.keep_request();
    request.get().set_node(given.clone());
    request.send().promise.await.map(|_| ())
}

pub async fn kept(node: &node::Client) -> Result<node::Client, Error> {
    node.kept_request().send().promise.await?.get()?.get_node()
}

pub async fn ask(node: &node::Client, given: &node::Client) -> Result<String, Error> {
    let mut request = node.ask_request();
    request.get().set_node(given.clone());
    let response = request.send().promise.await?;
    Ok(response.get()?.get_name()?.to_string()?)
}

pub async fn same(node: &node::Client, given: &node::Client) -> Result<bool, Error> {
    let mut request = node.same_request();
    request.get().set_node(given.clone());
    Ok(request.send().promise.await?.get()?.get_same())
}

/// Begins a call, and polls it until it waits.
pub fn begin<T: 'static>(promise: Promise<T, Error>) -> Promise<T, Error> {
    let mut promise = promise;
    let polled = futures::FutureExt::now_or_never(&mut promise);
    assert!(polled.is_none(), "the call did not wait");
    promise
}
