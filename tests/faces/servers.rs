//! Objects of a hostile client's own: they answer, with whatever the schema allows or with less; late; with an
//! error; not at all. Some call back first, and keep what they were given.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::time::Duration;

use capnp::any_pointer;
use capnp::capability::{
    Client, DispatchCallResult, FromClientHook, FromServer, Params, Promise, Results, Server,
};
use capnp::private::capability::ClientHook;
use schema::interfaces::MethodId;

use crate::choices::Choices;
use crate::client::{Held, Hostile};
use crate::raw::{In, Out};
use crate::values::{Maker, capabilities, deep};

/// What its errors are made of.
pub const ERROR: &str = "own\u{0}";

/// An object that does what it has a mind to, call by call, and then the same again.
pub struct Wild {
    client: Weak<Hostile>,
    mind: Vec<u8>,
    at: RefCell<usize>,
}

/// A capability for an object with this mind.
pub fn object(client: Weak<Hostile>, mind: Vec<u8>) -> Client {
    let wild: Any = vat::new_client(Wild {
        client,
        mind,
        at: RefCell::new(0),
    });
    wild.0
}

/// A capability of no interface.
struct Any(Client);

impl FromClientHook for Any {
    fn new(hook: Box<dyn ClientHook>) -> Self {
        Self(Client::new(hook))
    }

    fn into_client_hook(self) -> Box<dyn ClientHook> {
        self.0.hook
    }

    fn as_client_hook(&self) -> &dyn ClientHook {
        &*self.0.hook
    }
}

impl FromServer<Wild> for Any {
    type Dispatch = Dispatch;

    fn from_server(wild: Rc<Wild>) -> Dispatch {
        Dispatch(wild)
    }
}

#[derive(Clone)]
struct Dispatch(Rc<Wild>);

impl Deref for Dispatch {
    type Target = Wild;

    fn deref(&self) -> &Wild {
        &self.0
    }
}

impl Server for Dispatch {
    fn dispatch_call(
        self,
        interface: u64,
        ordinal: u16,
        params: Params<any_pointer::Owned>,
        results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        let mind = self.0.next();
        let is_streaming = mind.first().is_some_and(|first| first % 8 == 0);
        let id = MethodId { interface, ordinal };
        let answer = answer(self.0, id, mind, params, results);
        DispatchCallResult::new(Promise::from_future(answer), is_streaming)
    }

    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }
}

impl Wild {
    /// What it makes of this call.
    fn next(&self) -> Vec<u8> {
        let mut at = self.at.borrow_mut();
        *at = (*at + 17) % self.mind.len().max(1);
        let (before, after) = self.mind.split_at(*at);
        [after, before].concat()
    }
}

async fn answer(
    wild: Rc<Wild>,
    id: MethodId,
    mind: Vec<u8>,
    params: Params<any_pointer::Owned>,
    mut results: Results<any_pointer::Owned>,
) -> capnp::Result<()> {
    let mut choices = Choices::new(&mind);
    let Some(client) = wild.client.upgrade() else {
        return Err(capnp::Error::disconnected("its owner has gone".into()));
    };
    let world = client.world.clone();
    let method = world.methods.iter().find(|method| method.id == id);
    if choices.once_in(2)
        && let Some(method) = method
        && let Ok(In(from)) = params.get().and_then(|params| params.get_as())
    {
        capabilities(from, method.params, deep(), &mut |hook, interface| {
            let held = Held {
                cap: Client::new(hook),
                interface,
                hosts: false,
                is_firm: false,
            };
            client.keep(held, choices.byte().into());
        });
    }
    if choices.once_in(4) {
        client.call(&mut choices);
    }
    match choices.below(8) {
        0 => {
            drop(client);
            std::future::pending::<()>().await;
            return Ok(());
        }
        1 => {
            drop(client);
            let millis = [0, 1, 20, 200];
            let millis = *choices.pick(&millis).unwrap_or(&0);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            return Ok(());
        }
        2 => {
            let text = ERROR.repeat(1 + 40 * choices.below(200));
            return Err(match choices.below(4) {
                0 => capnp::Error::failed(text),
                1 => capnp::Error::overloaded(text),
                2 => capnp::Error::disconnected(text),
                _ => capnp::Error::unimplemented(text),
            });
        }
        _ => {}
    }
    if let Some(ty) = method.and_then(|method| method.results) {
        let mut maker = Maker::new(&mut choices, &world, &client);
        if let Ok(to) = results.hook.get() {
            let Out(to) = to.init_as::<Out<'_>>();
            maker.structure(to, ty, deep());
        }
    }
    Ok(())
}
