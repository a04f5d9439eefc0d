//! References that are not to an object of this vat: to a peer's, to one that is promised, to none.
//!
//! A [`Node`] is what a reference stands for, and is shared by all hooks for it. Hooks of other crates
//! (a membrane's, say) may stand in between; a node that comes back through one is known again by its
//! address. Promises are followed here and nowhere else, in a loop, with an end: a promise that is
//! found to resolve to itself is broken, and says so.

mod promise;

use std::cell::Cell;
use std::rc::{Rc, Weak};

use capnp::capability::{Promise, Request};
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::{Error, MessageSize, any_pointer};

use crate::connection::{Notice, Shared};
use crate::flow::Flow;
use crate::limits::MAX_HOPS;
use crate::outcome::{Handle, Path};
use crate::slot::{Call, Entry};
use crate::vat::{self, Turn};
use promise::Promised;
pub(crate) use promise::{held_up, resolve};

/// The brand of every reference of this crate to a node.
static NODES: u8 = 0;
/// The brand of broken references.
static BROKEN: u8 = 1;

fn brand_of(brand: &'static u8) -> usize {
    std::ptr::from_ref(brand).addr()
}

/// What a reference stands for.
pub(crate) enum Node {
    /// What a peer exports.
    Import(Import),
    /// A capability in the results of a question, wherever it is: the peer knows.
    Pipelined(Pipelined),
    /// A capability that is not known yet.
    Promise(Promised),
}

/// A reference to what a peer exports. The peer is told when it goes.
pub(crate) struct Import {
    connection: Weak<Shared>,
    id: u32,
    flow: Flow,
}

/// A capability in the results of a question.
pub(crate) struct Pipelined {
    connection: Weak<Shared>,
    /// Keeps the question from being finished, while the connection lasts.
    question: Cell<Option<Handle>>,
    id: u32,
    path: Path,
    flow: Flow,
}

/// What a message to a peer is addressed to.
pub(crate) enum WireTarget<'a> {
    Import(u32),
    Answer(u32, &'a [u16]),
}

impl Node {
    pub(crate) fn import(connection: Weak<Shared>, id: u32) -> Rc<Self> {
        Self::register(Self::Import(Import {
            connection,
            id,
            flow: Flow::default(),
        }))
    }

    pub(crate) fn pipelined(
        connection: Weak<Shared>,
        id: u32,
        question: Handle,
        path: Path,
    ) -> Rc<Self> {
        Self::register(Self::Pipelined(Pipelined {
            connection,
            question: Cell::new(Some(question)),
            id,
            path,
            flow: Flow::default(),
        }))
    }

    /// A promise for what a peer will say that one of its references is. Until then calls take that road.
    pub(crate) fn promise_of(road: Rc<Node>) -> Rc<Self> {
        Self::promise_of_travelled(road, Rc::default())
    }

    /// As [`promise_of`](Self::promise_of). `travelled` says, and is told, whether calls have taken the road.
    pub(crate) fn promise_of_travelled(road: Rc<Node>, travelled: Rc<Cell<bool>>) -> Rc<Self> {
        Self::register(Self::Promise(Promised::new(Some(road), None, travelled)))
    }

    /// A promise for a capability in the results of a call of this vat.
    pub(crate) fn promise_from(call: Handle) -> Rc<Self> {
        Self::register(Self::Promise(Promised::new(
            None,
            Some(call),
            Rc::default(),
        )))
    }

    /// A promise that somebody will resolve.
    pub(crate) fn promise() -> Rc<Self> {
        Self::register(Self::Promise(Promised::new(None, None, Rc::default())))
    }

    /// What a peer calls ours, although it leads to that peer: calls on the way there come back first.
    pub(crate) fn reflected(hook: Box<dyn ClientHook>) -> Rc<Self> {
        Self::register(Self::Promise(Promised::reflected(hook)))
    }

    fn register(node: Self) -> Rc<Self> {
        let node = Rc::new(node);
        vat::register(&node);
        node
    }

    /// The node behind a hook, if there is one.
    pub(crate) fn of(hook: &dyn ClientHook) -> Option<Rc<Self>> {
        if hook.get_brand() != brand_of(&NODES) {
            return None;
        }
        vat::registered(hook.get_ptr())
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The connection to which messages go that are addressed to this node, unless it is a promise.
    pub(crate) fn connection(&self) -> Option<&Weak<Shared>> {
        match self {
            Self::Import(import) => Some(&import.connection),
            Self::Pipelined(pipelined) => Some(&pipelined.connection),
            Self::Promise(_) => None,
        }
    }

    /// How the peer knows this node, unless it is a promise.
    pub(crate) fn wire_target(&self) -> Option<WireTarget<'_>> {
        match self {
            Self::Import(import) => Some(WireTarget::Import(import.id)),
            Self::Pipelined(pipelined) => Some(WireTarget::Answer(pipelined.id, &pipelined.path)),
            Self::Promise(_) => None,
        }
    }

    /// The account of what is streamed to this node.
    pub(crate) fn flow(&self) -> Option<&Flow> {
        match self {
            Self::Import(import) => Some(&import.flow),
            Self::Pipelined(pipelined) => Some(&pipelined.flow),
            Self::Promise(_) => None,
        }
    }

    pub(crate) fn as_promise(&self) -> Option<&Promised> {
        match self {
            Self::Promise(promise) => Some(promise),
            _ => None,
        }
    }

    /// The node that calls to this one go to as long as it is unresolved; itself, unless it is a promise.
    pub(crate) fn road(self: &Rc<Self>) -> Option<Rc<Self>> {
        match &**self {
            Self::Promise(promise) => promise.road(),
            _ => Some(Rc::clone(self)),
        }
    }
}

/// Lets all roads of a connection that has ended go of their questions. Results that nobody has read yet
/// stay as they are, and may lead to such a road: together they would keep each other for ever.
pub(crate) fn close_roads(connection: &Shared) {
    for node in vat::nodes() {
        if let Node::Pipelined(pipelined) = &*node
            && std::ptr::eq(pipelined.connection.as_ptr(), connection)
        {
            vat::discard(pipelined.question.take());
        }
        vat::discard(node);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        vat::unregister(self.address());
        if let Self::Import(import) = self {
            vat::push(Turn::Notify(
                import.connection.clone(),
                Notice::Release(import.id),
            ));
        }
    }
}

/// Follows a capability to where it is known to be, and shortens the way for whoever comes next. A run of
/// promises that does not end is broken.
pub(crate) fn innermost(mut hook: Box<dyn ClientHook>) -> Box<dyn ClientHook> {
    let mut passed = Vec::new();
    for _ in 0..MAX_HOPS {
        let Some(next) = resolution(&*hook) else {
            // The last one leads there already.
            passed.pop();
            for promise in passed
                .iter()
                .filter_map(|node: &Rc<Node>| node.as_promise())
            {
                promise.shorten(&*hook);
            }
            return hook;
        };
        passed.extend(Node::of(&*hook));
        vat::discard(std::mem::replace(&mut hook, next));
    }
    broken(Error::failed(format!(
        "more than {MAX_HOPS} promises in a row that resolve to each other"
    )))
}

fn resolution(hook: &dyn ClientHook) -> Option<Box<dyn ClientHook>> {
    match Node::of(hook) {
        Some(node) => node.as_promise()?.resolution(),
        None => hook.get_resolved(),
    }
}

/// Lets a parked call wait on, if its target is another promise. Otherwise gives it back.
pub(crate) fn adopt(target: &dyn ClientHook, entry: Entry) -> Option<Entry> {
    match Node::of(target) {
        Some(node) if node.as_promise().is_some() => promise::adopt(&node, entry),
        _ => Some(entry),
    }
}

/// A hook for a node.
pub(crate) struct Reference(pub(crate) Rc<Node>);

impl Reference {
    /// Where calls go now.
    fn now(&self) -> Now {
        let hook = match self.0.as_promise() {
            None => return Now::Wire(Rc::clone(&self.0)),
            Some(promise) => match promise.resolution() {
                Some(resolution) => innermost(resolution),
                None => self.add_ref(),
            },
        };
        let Some(node) = Node::of(&*hook) else {
            return Now::Hook(hook);
        };
        match node.as_promise().map(Promised::take_road) {
            None => Now::Wire(node),
            Some(Some(road)) => Now::Wire(road),
            Some(None) => Now::Waiting(node),
        }
    }
}

/// Where calls on a reference go.
enum Now {
    /// To a peer.
    Wire(Rc<Node>),
    /// To something that is not a node.
    Hook(Box<dyn ClientHook>),
    /// To a promise that has no road.
    Waiting(Rc<Node>),
}

impl ClientHook for Reference {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    fn new_call(
        &self,
        interface_id: u64,
        method_id: u16,
        size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        match self.now() {
            Now::Hook(hook) => hook.new_call(interface_id, method_id, size_hint),
            Now::Wire(node) | Now::Waiting(node) => {
                // A promise is kept: it may resolve before the request is sent.
                let node = match &*self.0 {
                    Node::Promise(_) => Rc::clone(&self.0),
                    _ => node,
                };
                crate::request::new(Box::new(Self(node)), interface_id, method_id, size_hint)
            }
        }
    }

    fn call(
        &self,
        interface_id: u64,
        method_id: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        match self.now() {
            Now::Hook(hook) => hook.call(interface_id, method_id, params, results),
            Now::Wire(node) => {
                crate::request::forward(&node, interface_id, method_id, params, results)
            }
            Now::Waiting(node) => promise::park(
                &node,
                Call {
                    interface_id,
                    method_id,
                    params,
                    results,
                },
            ),
        }
    }

    fn get_brand(&self) -> usize {
        brand_of(&NODES)
    }

    fn get_ptr(&self) -> usize {
        self.0.address()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        Some(innermost(self.0.as_promise()?.resolution()?))
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        self.0.as_promise()?;
        Some(Promise::from_future(promise::Resolution::new(&self.0)))
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        crate::client::when_resolved(self.add_ref())
    }
}

/// Where a request on a hook of this crate goes.
pub(crate) fn wire(hook: &dyn ClientHook) -> Option<Rc<Node>> {
    match Reference(Node::of(hook)?).now() {
        Now::Wire(node) => Some(node),
        Now::Hook(_) | Now::Waiting(_) => None,
    }
}

/// A reference to nothing, that says why.
pub(crate) fn broken(error: Error) -> Box<dyn ClientHook> {
    Box::new(Broken(Rc::new(crate::error::bounded(error))))
}

/// Whether a hook is known to be a reference to nothing.
pub(crate) fn is_broken(hook: &dyn ClientHook) -> bool {
    hook.get_brand() == brand_of(&BROKEN)
}

struct Broken(Rc<Error>);

impl ClientHook for Broken {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    fn new_call(
        &self,
        interface_id: u64,
        method_id: u16,
        size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        crate::request::new(self.add_ref(), interface_id, method_id, size_hint)
    }

    fn call(
        &self,
        _interface_id: u64,
        _method_id: u16,
        _params: Box<dyn ParamsHook>,
        _results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        Promise::err((*self.0).clone())
    }

    fn get_brand(&self) -> usize {
        brand_of(&BROKEN)
    }

    fn get_ptr(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        None
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        None
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        Promise::err((*self.0).clone())
    }
}
