//! `wetware:rpc`: the conversation in whole messages.
//!
//! Asking for a conversation that was taken before is the guest's mistake and never a trap: `connect`
//! says `taken`. The interface is put together by hand, because generated bindings would copy each
//! message out of the guest's memory; here it is checked and delivered where it lies.

use super::State;
use super::conversation::Outgoing;
use crate::framing::{self, FramingError};
use crate::queue::{Drained, ReadEnd};
use crate::recipient::Closed;
use std::future::{self, poll_fn};
use std::task::Poll;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceType, WasmList};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{Pollable, subscribe};

/// The variant `error` of the interface.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "closed")]
    Closed,
    #[component(name = "too-large")]
    TooLarge(u64),
    #[component(name = "malformed")]
    Malformed,
    #[component(name = "taken")]
    Taken,
}

/// The resource `connection`.
struct Connection {
    incoming: ReadEnd,
    outgoing: Outgoing,
}

/// What a function of the interface returns: a tuple of its one result.
type Returned<T> = (Result<T, Error>,);

type Returning<'a> = Box<dyn Future<Output = wasmtime::Result<Returned<()>>> + Send + 'a>;

/// Provides the interface.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut rpc = linker.instance("wetware:rpc/rpc@0.1.0")?;
    rpc.resource(
        "connection",
        ResourceType::host::<Connection>(),
        |mut store, connection| {
            let connection = Resource::<Connection>::new_own(connection);
            store.data_mut().table.delete(connection)?;
            Ok(())
        },
    )?;
    rpc.func_wrap(
        "connect",
        |mut store: StoreContextMut<'_, State>, (): ()| connect(store.data_mut()),
    )?;
    rpc.func_wrap_async(
        "[method]connection.send",
        |store: StoreContextMut<'_, State>, (connection, message)| {
            send(store, connection, &message)
        },
    )?;
    rpc.func_wrap(
        "[method]connection.receive",
        |store: StoreContextMut<'_, State>, (connection,)| receive(store.data(), &connection),
    )?;
    rpc.func_wrap(
        "[method]connection.subscribe",
        |mut store: StoreContextMut<'_, State>, (connection,): (Resource<Connection>,)| {
            Ok((subscribe(&mut store.data_mut().table, connection)?,))
        },
    )
}

fn connect(state: &mut State) -> wasmtime::Result<Returned<Resource<Connection>>> {
    let Some((incoming, outgoing)) = state.conversation.take() else {
        return Ok((Err(Error::Taken),));
    };
    let connection = state.table.push(Connection { incoming, outgoing })?;
    Ok((Ok(connection),))
}

/// What became of a message.
enum Sent {
    /// It is delivered, and the guest goes on.
    AndFree,
    /// It is delivered, and the guest is held back.
    AndHeld,
    Refused(Error),
}

/// Delivers before it returns: what it returns only waits, if it has to. When it has not, nothing is
/// allocated, because that future has no size.
fn send<'a>(
    store: StoreContextMut<'a, State>,
    connection: Resource<Connection>,
    message: &WasmList<u8>,
) -> Returning<'a> {
    match deliver(&store, &connection, message) {
        Ok(Sent::AndFree) => Box::new(poll_fn(|_| Poll::Ready(Ok((Ok(()),))))),
        Ok(Sent::AndHeld) => Box::new(poll_fn(move |cx| {
            let connection = store.data().table.get(&connection)?;
            connection.outgoing.poll_free(cx).map(|()| Ok((Ok(()),)))
        })),
        Ok(Sent::Refused(error)) => Box::new(future::ready(Ok((Err(error),)))),
        Err(error) => Box::new(future::ready(Err(error))),
    }
}

/// Checks and delivers a message where it lies in the guest's memory.
fn deliver(
    store: &StoreContextMut<'_, State>,
    connection: &Resource<Connection>,
    message: &WasmList<u8>,
) -> wasmtime::Result<Sent> {
    let outgoing = &store.data().table.get(connection)?.outgoing;
    let limit = outgoing.message_bytes();
    let too_large = Sent::Refused(Error::TooLarge(limit as u64));
    if message.len() > limit {
        return Ok(too_large);
    }
    let message = message.as_le_slice(store);
    Ok(match framing::check_one_message(message, limit) {
        Ok(()) => match outgoing.deliver(message)? {
            Ok(()) if outgoing.is_free() => Sent::AndFree,
            Ok(()) => Sent::AndHeld,
            Err(Closed) => Sent::Refused(Error::Closed),
        },
        Err(FramingError::TooLarge { .. }) => too_large,
        Err(_) => Sent::Refused(Error::Malformed),
    })
}

fn receive(
    state: &State,
    connection: &Resource<Connection>,
) -> wasmtime::Result<Returned<Vec<u8>>> {
    let received = match state.table.get(connection)?.incoming.drain() {
        Drained::Messages(messages) => Ok(messages),
        Drained::Empty => Ok(Vec::new()),
        Drained::Closed => Err(Error::Closed),
    };
    Ok((received,))
}

#[async_trait]
impl Pollable for Connection {
    async fn ready(&mut self) {
        poll_fn(|cx| self.incoming.poll_readable(cx)).await;
    }
}
