//! Capabilities for objects of this vat, for what is promised, and for what is not to be had.

use std::future::Future;
use std::rc::Rc;

use capnp::Error;
use capnp::capability::{FromClientHook, FromServer, Promise};
use capnp::private::capability::ClientHook;

use crate::limits::MAX_HOPS;
use crate::panics::Caught;
use crate::reference::{self, Node, Reference};
use crate::{local, vat};

/// A capability for an object of the calling thread's vat.
///
/// Its methods are called in the order in which calls on it are made. They begin when the vat next runs
/// (see [`drive`](crate::drive)), not within the call that sends.
pub fn new_client<C, S>(server: S) -> C
where
    C: FromServer<S>,
{
    new_client_from_rc(Rc::new(server))
}

/// As [`new_client`], for an object that is held elsewhere too.
pub fn new_client_from_rc<C, S>(server: Rc<S>) -> C
where
    C: FromServer<S>,
{
    C::new(local::hook(C::from_server(server)))
}

/// A capability that will be known when a future ends. Calls on it wait until then, in order. The vat
/// runs the future; it is dropped when nobody holds the capability any more.
///
/// If the future fails, calls fail with its error.
pub fn new_future_client<C: FromClientHook + 'static>(
    future: impl Future<Output = Result<C, Error>> + 'static,
) -> C {
    let promise = Node::promise();
    let resolved = Rc::downgrade(&promise);
    let task = vat::spawn(async move {
        let hook = match Caught(Box::pin(future)).await {
            Ok(client) => client.into_client_hook(),
            Err(error) => reference::broken(error),
        };
        match resolved.upgrade() {
            Some(promise) => reference::resolve(&promise, hook),
            None => vat::discard(hook),
        }
    });
    if let (Some(task), Some(promise)) = (task, promise.as_promise()) {
        promise.resolved_by(task);
    }
    C::new(Box::new(Reference(promise)))
}

/// A capability on which every call fails with an error.
pub fn new_broken_client<C: FromClientHook>(error: Error) -> C {
    C::new(reference::broken(error))
}

/// Waits until a capability has resolved to its end.
pub(crate) fn when_resolved(mut hook: Box<dyn ClientHook>) -> Promise<(), Error> {
    Promise::from_future(async move {
        for _ in 0..MAX_HOPS {
            match hook.when_more_resolved() {
                Some(promise) => hook = promise.await?,
                None => {
                    return match reference::is_broken(&*hook) {
                        true => hook.when_resolved().await,
                        false => Ok(()),
                    };
                }
            }
        }
        Err(Error::failed(format!(
            "a capability that has resolved {MAX_HOPS} times without end"
        )))
    })
}
