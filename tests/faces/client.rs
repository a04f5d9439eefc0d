//! A client that is out to hurt: it holds whatever it can get, and calls all of it with anything.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use capnp::any_pointer;
use capnp::capability::{Client, FromClientHook as _};
use capnp::introspect::TypeVariant;
use schema::interfaces::MethodId;
use schema::ipfs_capnp::client as ipfs;
use schema::stem_capnp::membrane as face;
use tokio::task::{AbortHandle, JoinSet};

use crate::choices::{Choices, of_seed};
use crate::contract::{self, CALLED, Method, interface};
use crate::raw::{In, Out, Shape};
use crate::report::Report;
use crate::servers;
use crate::values::{Maker, Supply, capabilities, deep};
use crate::world::World;

/// Capabilities of one interface that a client keeps at a time.
const ALIKE: usize = 12;

/// Calls that a client keeps under way; the oldest is given up for one more.
const UNDER_WAY: usize = 64;

/// Bytes of choices for what one of its own objects does.
const MIND: usize = 60;

/// A capability in its hands.
#[derive(Clone)]
pub struct Held {
    pub cap: Client,
    /// What it should be.
    pub interface: Option<u64>,
    /// Whether a host serves it, as far as is known.
    pub hosts: bool,
    /// Whether it came straight from the host, and is kept until the end.
    pub is_firm: bool,
}

/// The client.
pub struct Hostile {
    pub world: Rc<World>,
    pub report: Rc<Report>,
    held: RefCell<Vec<Held>>,
    calls: RefCell<JoinSet<()>>,
    under_way: RefCell<Vec<AbortHandle>>,
    /// How many of its own objects it has made: each has a mind of its own.
    objects: Cell<u64>,
    seed: u64,
}

impl Hostile {
    pub fn new(world: Rc<World>, report: Rc<Report>, seed: u64, bootstrap: Client) -> Rc<Self> {
        let bootstrap = Held {
            cap: bootstrap,
            interface: Some(interface("Membrane")),
            hosts: true,
            is_firm: true,
        };
        Rc::new(Self {
            world,
            report,
            held: RefCell::new(vec![bootstrap]),
            calls: RefCell::default(),
            under_way: RefCell::default(),
            objects: Cell::new(0),
            seed,
        })
    }

    /// Keeps a capability, in place of another one if there are many of its interface. The first one, from which all
    /// others come, stays.
    pub fn keep(&self, held: Held, at: usize) {
        let mut all = self.held.borrow_mut();
        let alike: Vec<usize> = (1..all.len())
            .filter(|at| all[*at].interface == held.interface && !all[*at].is_firm)
            .collect();
        let dropped = match alike.len() < ALIKE {
            true => {
                all.push(held);
                None
            }
            false => Some(std::mem::replace(&mut all[alike[at % ALIKE]], held)),
        };
        drop(all);
        drop(dropped);
    }

    /// Lets one go.
    pub fn let_go(&self, choices: &mut Choices<'_>) {
        let mut all = self.held.borrow_mut();
        let at = choices.below(all.len());
        let dropped = (at > 0).then(|| all.swap_remove(at));
        drop(all);
        drop(dropped);
    }

    /// Gives up a call.
    pub fn give_up(&self, choices: &mut Choices<'_>) {
        let mut under_way = self.under_way.borrow_mut();
        if !under_way.is_empty() {
            let at = choices.below(under_way.len());
            under_way.swap_remove(at).abort();
        }
    }

    /// Lets everything go, and returns when its calls are gone.
    pub async fn leave(&self) {
        self.under_way.take();
        let mut calls = self.calls.take();
        calls.shutdown().await;
        let held = self.held.take();
        drop(held);
    }

    /// Asks for its session, as everybody does.
    pub fn graft(self: &Rc<Self>, choices: &mut Choices<'_>) {
        let first = self.held.borrow().first().cloned();
        let method = self.method(interface("Membrane"), 0);
        if let (Some(held), Some(method)) = (first, method) {
            self.call_method(&held, method, choices);
        }
    }

    /// Begins as an honest cell would: with a program that runs, and its streams. Goes as far as it is let.
    pub async fn settle_in(&self, path: &str) -> capnp::Result<()> {
        let Some(first) = self.held.borrow().first().map(|held| held.cap.clone()) else {
            return Ok(());
        };
        let keep = |name: &str, cap: Client| {
            let held = Held {
                cap,
                interface: Some(interface(name)),
                hosts: true,
                is_firm: true,
            };
            self.keep(held, 0);
        };
        let membrane = face::Client::new(first.hook);
        let session = membrane.graft_request().send().promise.await?;
        let session = session.get()?.get_session()?;
        if let Ok(host) = session.get_host() {
            keep("Host", host.client);
        }
        if let Ok(ipfs) = session.get_ipfs() {
            self.look_around(ipfs);
        }
        let executor = session.get_executor()?;
        keep("Executor", executor.clone().client);
        let mut request = executor.load_request();
        request.get().init_source().set_path(path);
        let program = request.send().promise.await?.get()?.get_program()?;
        keep("Program", program.clone().client);
        let mut request = program.spawn_request();
        request.get().init_args(1).set(0, path);
        let process = request.send().promise.await?.get()?.get_process()?;
        keep("Process", process.clone().client);
        keep(
            "ByteStream",
            process.stdin_request().send().pipeline.get_stream().client,
        );
        keep(
            "ByteStream",
            process.stdout_request().send().pipeline.get_stream().client,
        );
        keep(
            "ByteStream",
            process.stderr_request().send().pipeline.get_stream().client,
        );
        Ok(())
    }

    /// Has all that there is of content, before it knows whether it may.
    fn look_around(&self, ipfs: ipfs::Client) {
        let keep = |name: &str, cap: Client| {
            let held = Held {
                cap,
                interface: Some(interface(name)),
                hosts: true,
                is_firm: true,
            };
            self.keep(held, 0);
        };
        macro_rules! apis {
            ($($name:literal $request:ident)*) => {
                $(keep($name, ipfs.$request().send().pipeline.get_api().client);)*
            };
        }
        apis! {
            "UnixFS" unixfs_request "Block" block_request "Dag" dag_request "Name" name_request
            "Key" key_request "Pin" pin_request "Object" object_request "Swarm" swarm_request
            "PubSub" pub_sub_request "Routing" routing_request
        }
        let unixfs = ipfs.unixfs_request().send().pipeline.get_api();
        for path in &self.world.content.nodes {
            let mut request = unixfs.get_request();
            request.get().set_path(path);
            keep("Node", request.send().pipeline.get_node().client);
        }
        let adding = unixfs.add_request().send().pipeline;
        keep("Adder", adding.get_adder().client);
        let mut request = adding.get_adder().file_request();
        request.get().set_path("first");
        keep("ByteStream", request.send().pipeline.get_stream().client);
        keep("Client", ipfs.client);
    }

    fn method(&self, interface: u64, ordinal: u16) -> Option<usize> {
        let id = MethodId { interface, ordinal };
        self.world.methods.iter().position(|method| method.id == id)
    }

    /// Calls anything.
    pub fn call(self: &Rc<Self>, choices: &mut Choices<'_>) {
        let held = match choices.below(2) {
            0 => choices.pick(&self.held.borrow()).cloned(),
            // One that is of an interface that few are of.
            _ => {
                let interface = choices
                    .pick(&self.world.methods)
                    .map(|method| method.id.interface);
                let all = self.held.borrow();
                let mut those: Vec<&Held> = all
                    .iter()
                    .filter(|held| held.interface == interface && held.hosts)
                    .collect();
                // What others have narrowed or taken back gets nobody far.
                if choices.once_in(2) && those.iter().any(|held| held.is_firm) {
                    those.retain(|held| held.is_firm);
                }
                choices.pick(&those).map(|held| (*held).clone())
            }
        };
        let Some(held) = held else {
            return;
        };
        let methods = &self.world.methods;
        let those: Vec<usize> = (0..methods.len())
            .filter(|at| Some(methods[*at].id.interface) == held.interface)
            .collect();
        let method = match choices.once_in(30) || those.is_empty() {
            true => choices.below(methods.len()),
            false => *choices.pick(&those).unwrap(),
        };
        self.call_method(&held, method, choices);
    }

    fn call_method(self: &Rc<Self>, held: &Held, at: usize, choices: &mut Choices<'_>) {
        let method = &self.world.methods[at];
        let MethodId {
            interface,
            mut ordinal,
        } = method.id;
        let mut counted = held.hosts && held.interface == Some(interface);
        if choices.once_in(100) {
            ordinal = u16::from(choices.byte()) << 8 | 77;
            counted = false;
        }
        let mut request = held
            .cap
            .new_call::<any_pointer::Owned, any_pointer::Owned>(interface, ordinal, None);
        let mut maker = Maker::new(choices, &self.world, self);
        maker.of_content = contract::is_of_content(interface);
        let Out(to) = request.get().init_as::<Out<'_>>();
        maker.structure(to, method.params, deep());
        let given = maker.last.take();
        let sent = request.send();
        self.report.called();

        let wide = Given {
            client: self.clone(),
            method: at,
            hosts: held.hosts && method.id.to_string() != "Process.bootstrap",
            attenuated: (method.id.to_string() == "Membrane.attenuate")
                .then_some(given)
                .flatten(),
            guest: (method.id.to_string() == "Process.bootstrap") && held.hosts,
        };
        // What is promised can be had before it is there.
        if choices.once_in(6) {
            wide.promised(method, &sent.pipeline, choices);
        }
        let place = usize::from(choices.byte());
        let promise = sent.promise;
        let task = async move {
            match promise.await {
                Ok(response) => {
                    wide.client.report.answered(wide.method, counted);
                    if let Ok(results) = response.get() {
                        wide.results(results, place);
                    }
                }
                Err(error) => wide.client.report.refused(wide.method, counted, &error),
            }
        };
        let mut calls = self.calls.borrow_mut();
        while calls.try_join_next().is_some() {}
        let task = calls.spawn_local(task);
        let mut under_way = self.under_way.borrow_mut();
        under_way.retain(|call| !call.is_finished());
        if under_way.len() >= UNDER_WAY {
            under_way.remove(0).abort();
        }
        under_way.push(task);
    }

    /// A stream of blocks, which may end early.
    fn car(&self, choices: &mut Choices<'_>) -> Held {
        let mut car = self.world.content.car.clone();
        if choices.once_in(4) {
            car.truncate(car.len() * choices.below(256) / 256);
        }
        Held {
            cap: crate::content::stream(car),
            interface: Some(interface("ByteStream")),
            hosts: false,
            is_firm: false,
        }
    }

    /// One of its own objects.
    fn own(self: &Rc<Self>, interface: Option<u64>) -> Held {
        let number = self.objects.get();
        self.objects.set(number + 1);
        let mind = of_seed(self.seed.wrapping_add(number.wrapping_mul(7919)), MIND);
        Held {
            cap: servers::object(Rc::downgrade(self), mind),
            interface,
            hosts: false,
            is_firm: false,
        }
    }
}

/// What a call may give.
struct Given {
    client: Rc<Hostile>,
    method: usize,
    hosts: bool,
    /// What was narrowed, if that is what the call was for.
    attenuated: Option<Held>,
    guest: bool,
}

impl Given {
    fn capability(&self, cap: Client, interface: Option<u64>) -> Held {
        match (&self.attenuated, interface) {
            (Some(held), None) => Held {
                cap,
                is_firm: false,
                ..held.clone()
            },
            _ => Held {
                cap,
                // Most guests that export anything export an executor.
                interface: interface.or(self.guest.then(|| crate::contract::interface("Executor"))),
                hosts: self.hosts,
                is_firm: false,
            },
        }
    }

    fn results(&self, results: any_pointer::Reader<'_>, place: usize) {
        let (Ok(In(from)), Some(ty)) = (
            results.get_as::<In<'_>>(),
            self.client.world.methods[self.method].results,
        ) else {
            return;
        };
        let mut place = place;
        capabilities(from, ty, deep(), &mut |hook, interface| {
            let held = self.capability(Client::new(hook), interface);
            self.client.keep(held, place);
            place += 31;
        });
    }

    fn promised(
        &self,
        method: &Method,
        pipeline: &any_pointer::Pipeline,
        choices: &mut Choices<'_>,
    ) {
        let Some(ty) = method.results else {
            return;
        };
        for slot in Shape::of(ty).fields {
            let pointer = pipeline.get_pointer_field(slot.offset as u16);
            match slot.ty.which() {
                TypeVariant::Capability | TypeVariant::AnyPointer => {
                    let held = self.capability(Client::new(pointer.as_cap()), slot.interface);
                    self.client.keep(held, choices.byte().into());
                }
                TypeVariant::Struct(_) => {
                    for inner in Shape::of(slot.ty).fields {
                        if inner.interface.is_some() {
                            let cap = pointer.get_pointer_field(inner.offset as u16).as_cap();
                            let held = self.capability(Client::new(cap), inner.interface);
                            self.client.keep(held, choices.byte().into());
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

impl Supply for Rc<Hostile> {
    fn capability(
        &self,
        wanted: Option<u64>,
        is_needed: bool,
        choices: &mut Choices<'_>,
    ) -> Option<Held> {
        if wanted == Some(interface("ByteStream")) && choices.once_in(2) {
            return Some(self.car(choices));
        }
        let any = |choices: &mut Choices<'_>| choices.pick(&self.held.borrow()).cloned();
        let wanted = wanted.or_else(|| {
            let interface = choices.pick(&self.world.methods)?.id.interface;
            Some(interface)
        });
        match choices.below(12) {
            0 if !is_needed => None,
            1 | 2 => any(choices),
            3 => Some(self.own(wanted)),
            // One that is known later, or never.
            4 => {
                let held = any(choices)?;
                let millis = [0, 1, 5, 50, u64::MAX];
                let after = *choices.pick(&millis)?;
                let breaks = choices.once_in(4);
                let cap = held.cap.clone();
                let cap = vat::new_future_client(async move {
                    if after == u64::MAX {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    match breaks {
                        true => Err(capnp::Error::failed("it will not be known".into())),
                        false => Ok(cap),
                    }
                });
                Some(Held {
                    cap,
                    is_firm: false,
                    ..held
                })
            }
            _ => {
                let all = self.held.borrow();
                let those: Vec<&Held> =
                    all.iter().filter(|held| held.interface == wanted).collect();
                let found = choices.pick(&those).map(|held| (*held).clone());
                drop(all);
                found.or_else(|| {
                    let called = CALLED.iter().any(|name| Some(interface(name)) == wanted);
                    (called || is_needed || choices.once_in(2)).then(|| self.own(wanted))
                })
            }
        }
    }
}
