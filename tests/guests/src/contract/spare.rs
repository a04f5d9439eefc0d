//! A capability of a guest's own that has every method there is.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use runtime::capnp::any_pointer;
use runtime::capnp::capability::{
    Client, DispatchCallResult, FromClientHook, FromServer, Params, Promise, Results, Server,
};
use runtime::capnp::private::capability::ClientHook;

/// Answers every call, of whatever interface, with nothing, and counts them.
#[derive(Clone, Default)]
pub struct Spare {
    calls: Rc<Cell<u32>>,
}

impl Spare {
    /// A capability that is answered by this.
    pub fn client(&self) -> Client {
        let untyped: Untyped = runtime::capnp_rpc::new_client(self.clone());
        untyped.0
    }

    /// How many calls there have been.
    pub fn calls(&self) -> u32 {
        self.calls.get()
    }
}

struct Untyped(Client);

impl FromClientHook for Untyped {
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

impl FromServer<Spare> for Untyped {
    type Dispatch = Dispatch;

    fn from_server(spare: Rc<Spare>) -> Dispatch {
        Dispatch(spare)
    }
}

#[derive(Clone)]
struct Dispatch(Rc<Spare>);

impl Deref for Dispatch {
    type Target = Spare;

    fn deref(&self) -> &Spare {
        &self.0
    }
}

impl Server for Dispatch {
    fn dispatch_call(
        self,
        _interface_id: u64,
        _method_id: u16,
        _params: Params<any_pointer::Owned>,
        _results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        self.calls.set(self.calls.get() + 1);
        DispatchCallResult::new(Promise::ok(()), false)
    }

    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }
}
