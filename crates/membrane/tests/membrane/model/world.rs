//! The objects of the model, and what is noted of what happens to them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use capnp::Error;
use capnp::capability::RemotePromise;
use futures::channel::oneshot;

use crate::probe_capnp::probe;

/// Where objects live.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Engine {
    Vat,
    CapnpRpc,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// Says which object this is.
    Name,
    /// Returns a new object, which has the call's number.
    Make,
    /// Returns what it is given.
    Echo,
    /// Keeps what it is given.
    Keep,
    /// Returns what is kept.
    Kept,
    /// Asks what it is given for its name.
    Ask,
    /// Returns a promise for a new object.
    Later,
    /// Waits, then returns a new object.
    Hang,
}

impl How {
    pub const ALL: [Self; 8] = [
        Self::Name,
        Self::Make,
        Self::Echo,
        Self::Keep,
        Self::Kept,
        Self::Ask,
        Self::Later,
        Self::Hang,
    ];

    fn number(self) -> u16 {
        let place = Self::ALL.iter().position(|how| *how == self);
        place.unwrap() as u16
    }
}

/// The number of the call that [`How::Ask`] makes.
pub const NESTED: u32 = 1 << 31;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    Started(u32),
    /// The body was dropped before it had ended.
    Dropped(u32),
    Ended(u32),
}

pub struct World {
    engine: Engine,
    pub live: RefCell<BTreeSet<u32>>,
    pub created: RefCell<BTreeSet<u32>>,
    pub events: RefCell<Vec<Event>>,
    gates: RefCell<BTreeMap<u32, oneshot::Sender<()>>>,
}

impl World {
    pub fn new(engine: Engine) -> Rc<Self> {
        Rc::new(Self {
            engine,
            live: RefCell::default(),
            created: RefCell::default(),
            events: RefCell::default(),
            gates: RefCell::default(),
        })
    }

    pub fn object(self: &Rc<Self>, id: u32) -> probe::Client {
        self.live.borrow_mut().insert(id);
        self.created.borrow_mut().insert(id);
        let object = Object {
            world: Rc::clone(self),
            id,
            kept: RefCell::default(),
        };
        match self.engine {
            Engine::Vat => vat::new_client(object),
            Engine::CapnpRpc => capnp_rpc::new_client(object),
        }
    }

    /// A promise for `then`, made when the gate of that number is opened.
    pub fn promise(
        self: &Rc<Self>,
        gate: u32,
        then: impl FnOnce() -> probe::Client + 'static,
    ) -> probe::Client {
        let opened = self.gate(gate);
        let future = async move {
            let closed = |_| Error::failed("the gate has gone".into());
            opened.await.map_err(closed)?;
            Ok(then())
        };
        match self.engine {
            Engine::Vat => vat::new_future_client(future),
            Engine::CapnpRpc => capnp_rpc::new_future_client(future),
        }
    }

    fn gate(&self, number: u32) -> oneshot::Receiver<()> {
        let (open, opened) = oneshot::channel();
        self.gates.borrow_mut().insert(number, open);
        opened
    }

    pub fn open(&self, number: u32) {
        let gate = self.gates.borrow_mut().remove(&number);
        if let Some(gate) = gate {
            let _ = gate.send(());
        }
    }

    /// Gates that may be opened.
    pub fn closed(&self) -> Vec<u32> {
        self.gates.borrow().keys().copied().collect()
    }

    fn note(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }
}

struct Object {
    world: Rc<World>,
    id: u32,
    kept: RefCell<Option<probe::Client>>,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.world.live.borrow_mut().remove(&self.id);
    }
}

/// A method body that has started.
struct Body {
    world: Rc<World>,
    call: u32,
    ended: bool,
}

impl Body {
    fn start(world: &Rc<World>, call: u32) -> Self {
        world.note(Event::Started(call));
        Self {
            world: Rc::clone(world),
            call,
            ended: false,
        }
    }

    fn end(mut self) -> Result<(), Error> {
        self.ended = true;
        Ok(())
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let event = if self.ended {
            Event::Ended
        } else {
            Event::Dropped
        };
        self.world.note(event(self.call));
    }
}

impl probe::Server for Object {
    async fn act(
        self: Rc<Self>,
        params: probe::ActParams,
        mut results: probe::ActResults,
    ) -> Result<(), Error> {
        let (call, how) = {
            let params = params.get()?;
            (params.get_call(), usize::from(params.get_how()))
        };
        let body = Body::start(&self.world, call);
        let given = || params.get()?.get_given();
        match How::ALL[how] {
            How::Name => results.get().set_text(self.id),
            How::Make => results.get().set_got(self.world.object(call)),
            How::Echo => results.get().set_got(given()?),
            How::Keep => {
                let before = self.kept.replace(Some(given()?));
                drop(before);
            }
            How::Kept => {
                if let Some(kept) = self.kept.borrow().clone() {
                    results.get().set_got(kept);
                }
            }
            How::Ask => {
                let asked = act(&given()?, call | NESTED, How::Name, None);
                let text = asked.promise.await?.get()?.get_text();
                results.get().set_text(text);
            }
            How::Later => {
                let world = Rc::clone(&self.world);
                let promise = self.world.promise(call, move || world.object(call));
                results.get().set_got(promise);
            }
            How::Hang => {
                let opened = self.world.gate(call);
                let _ = opened.await;
                results.get().set_got(self.world.object(call));
            }
        }
        body.end()
    }

    async fn push(self: Rc<Self>, params: probe::PushParams) -> Result<(), Error> {
        Body::start(&self.world, params.get()?.get_call()).end()
    }
}

/// Makes a call.
pub fn act(
    on: &probe::Client,
    call: u32,
    how: How,
    given: Option<probe::Client>,
) -> RemotePromise<probe::act_results::Owned> {
    let mut request = on.act_request();
    let mut params = request.get();
    params.set_call(call);
    params.set_how(how.number());
    if let Some(given) = given {
        params.set_given(given);
    }
    request.send()
}
