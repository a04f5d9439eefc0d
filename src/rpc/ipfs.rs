//! `ipfs`: the node's content, its pins, names and topics, one file an API.
//!
//! Every face of one session shares a desk: what the holder may name, where its calls may block, and whose budget
//! pays for what it adds. The faces ask it before they do anything.

mod adder;
mod block;
mod dag;
mod key;
mod name;
mod node;
mod object;
mod pin;
mod pubsub;
mod routing;
mod stream;
mod swarm;
mod unixfs;

use std::cell::OnceCell;
use std::sync::Arc;

use capnp::capability::Rc;
use cell::{Budget, Resource};
use content::{Cid, ContentError, Repo};
use schema::ipfs_capnp::client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::behalf::Known;
use super::byte_stream::{ByteStream, Carrier};
use crate::ipfs::{Added, CallError, Ipfs, Metered, Places, Scope, ScopeError};
use crate::vats::Spawner;

/// The most bytes of content that one message carries, 1 MiB, as with streams.
const MAX_INLINE_BYTES: u64 = super::byte_stream::MAX_READ_BYTES as u64;

/// Topics that one holder may be subscribed to at a time.
const MAX_SUBSCRIPTIONS: usize = 16;

/// CARs that one holder may have on their way at a time. Each remembers which blocks have passed.
const MAX_CARS: usize = 4;

/// Trees that one holder may be adding at a time. Each keeps its paths until it is finished.
const MAX_ADDERS: usize = 8;

/// Values of one holder that may be taken apart at a time: each takes up to 100 MB while that lasts.
const MAX_VALUES: usize = 2;

/// The longest refusal, in bytes: some quote a path or a name that the caller has sent.
const MAX_REFUSAL_BYTES: usize = 1024;

/// One holder's access to content.
pub struct Desk {
    ipfs: Arc<Ipfs>,
    repo: Repo,
    scope: Scope,
    places: Places,
    subscriptions: Arc<Semaphore>,
    cars: Arc<Semaphore>,
    adders: Arc<Semaphore>,
    values: Arc<Semaphore>,
    budget: Budget,
    spawner: Spawner,
}

/// What a holder brings along.
#[derive(Clone)]
pub struct Holder {
    /// What its streams count in.
    pub budget: Budget,
    /// What it adds counts here.
    pub added: Arc<Added>,
    /// Whose tasks its subscriptions are.
    pub spawner: Spawner,
}

impl Holder {
    /// One that has not added anything yet.
    pub fn new(budget: &Budget, spawner: &Spawner) -> Self {
        Self {
            budget: budget.clone(),
            added: Arc::new(Added::new(budget)),
            spawner: spawner.clone(),
        }
    }

    /// The node's repository, where what is added is charged to this holder.
    fn repo(&self, ipfs: &Ipfs) -> Repo {
        let repo = ipfs.repo().for_holder();
        repo.with_local(|local| Arc::new(Metered::new(local, self.added.clone())))
    }
}

/// The content of a node, as this holder may use it.
pub fn client(ipfs: Arc<Ipfs>, scope: Scope, holder: Holder) -> client::Client {
    let desk = Rc::new(Desk {
        repo: holder.repo(&ipfs),
        places: ipfs.places(),
        ipfs,
        scope,
        subscriptions: Arc::new(Semaphore::new(MAX_SUBSCRIPTIONS)),
        cars: Arc::new(Semaphore::new(MAX_CARS)),
        adders: Arc::new(Semaphore::new(MAX_ADDERS)),
        values: Arc::new(Semaphore::new(MAX_VALUES)),
        budget: holder.budget,
        spawner: holder.spawner,
    });
    Client::over(desk)
}

impl Desk {
    /// Another desk of the same holder.
    fn share(&self) -> Self {
        Self {
            ipfs: self.ipfs.clone(),
            repo: self.repo.clone(),
            scope: self.scope.clone(),
            places: self.places.clone(),
            subscriptions: self.subscriptions.clone(),
            cars: self.cars.clone(),
            adders: self.adders.clone(),
            values: self.values.clone(),
            budget: self.budget.clone(),
            spawner: self.spawner.clone(),
        }
    }

    /// Reads at a path.
    async fn read<T: Send + 'static>(
        &self,
        call: &str,
        path: capnp::text::Reader<'_>,
        work: impl FnOnce(&Repo, &str) -> Result<T, ContentError> + Send + 'static,
    ) -> capnp::Result<T> {
        let path = whole(path.to_str()?);
        self.scope.reads(&path).map_err(out_of_scope(call))?;
        self.run(call, move |repo| work(repo, &path)).await
    }

    /// Changes something.
    async fn change<T: Send + 'static>(
        &self,
        call: &str,
        work: impl FnOnce(&Repo) -> Result<T, ContentError> + Send + 'static,
    ) -> capnp::Result<T> {
        self.may_change(call)?;
        self.run(call, work).await
    }

    /// Does what the scope has been asked about.
    async fn run<T: Send + 'static>(
        &self,
        call: &str,
        work: impl FnOnce(&Repo) -> Result<T, ContentError> + Send + 'static,
    ) -> capnp::Result<T> {
        let repo = self.repo.clone();
        let done = self.places.run(move || work(&repo)).await;
        done.map_err(|error| failed(call, error))
    }

    fn may_change(&self, call: &str) -> capnp::Result<()> {
        self.scope.changes().map_err(out_of_scope(call))
    }

    /// Checks that more than what is below paths may be seen.
    fn may_reach_beyond(&self, call: &str) -> capnp::Result<()> {
        self.scope.reaches_beyond().map_err(out_of_scope(call))
    }

    /// A place for a CAR.
    fn car(&self, call: &str) -> capnp::Result<OwnedSemaphorePermit> {
        let place = self.cars.clone().try_acquire_owned();
        place.map_err(|_| {
            capnp::Error::overloaded(format!(
                "{call}: limit: {MAX_CARS} CARs are on their way; wait for one to end"
            ))
        })
    }

    /// A place for a tree that is being added.
    fn adder(&self, call: &str) -> capnp::Result<OwnedSemaphorePermit> {
        let place = self.adders.clone().try_acquire_owned();
        place.map_err(|_| {
            capnp::Error::overloaded(format!(
                "{call}: limit: {MAX_ADDERS} trees are being added; finish or drop one"
            ))
        })
    }

    /// A place for a value that is taken apart, once there is one. To be given back by the work itself, which goes on
    /// when its caller has gone.
    async fn value(&self, call: &str) -> capnp::Result<OwnedSemaphorePermit> {
        let place = self.values.clone().acquire_owned().await;
        place.map_err(|_| failed(call, CallError::Interrupted))
    }

    /// A stream that counts in the holder's budget.
    fn stream<C: Carrier>(
        &self,
        call: &str,
        carrier: C,
    ) -> capnp::Result<schema::system_capnp::byte_stream::Client> {
        let counted = self.budget.charge(Resource::Streams, 1);
        let counted = counted.map_err(|error| failed(call, error))?;
        Ok(super::client(Rc::new(ByteStream::new(carrier, counted))))
    }
}

/// A path as it is written in full: a bare CID is one, too. None is none.
fn whole(path: &str) -> String {
    match path.is_empty() || path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/ipfs/{path}"),
    }
}

fn out_of_scope(call: &str) -> impl FnOnce(ScopeError) -> capnp::Error {
    let call = call.to_owned();
    move |error| failed(&call, error)
}

/// An error that names the call. What makes it too long is in its middle: it ends in what to do.
fn failed(call: &str, error: impl std::fmt::Display) -> capnp::Error {
    let mut text = format!("{call}: {error}");
    if text.len() > MAX_REFUSAL_BYTES {
        let half = MAX_REFUSAL_BYTES / 2 - '…'.len_utf8();
        let from = text.floor_char_boundary(half);
        let to = text.ceil_char_boundary(text.len() - half);
        text.replace_range(from..to, "…");
    }
    capnp::Error::failed(text)
}

/// A CID that a caller gives in its binary form.
fn cid(call: &str, bytes: &[u8]) -> capnp::Result<Cid> {
    content::cid_from_bytes(bytes).map_err(|error| failed(call, error))
}

/// The face that gives the others.
pub struct Client {
    desk: Rc<Desk>,
    known: OnceCell<Known>,
}

impl Client {
    fn over(desk: Rc<Desk>) -> client::Client {
        let known = OnceCell::new();
        let face = Rc::new(Self { desk, known });
        let client: client::Client = super::client(face.clone());
        // It is new, so this is the first and only time.
        let _ = face.known.set(Known::ipfs(&client, &face));
        client
    }

    /// The same content for somebody else, who may do as much with it, and pays for what is added. The places are those
    /// of whoever hands it on, so that there are no more of them by that.
    pub fn held_by(&self, holder: Holder) -> client::Client {
        Self::over(Rc::new(Desk {
            repo: holder.repo(&self.desk.ipfs),
            budget: holder.budget,
            spawner: holder.spawner,
            ..self.desk.share()
        }))
    }
}

macro_rules! apis {
    ($($method:ident $params:ident $results:ident $api:path;)*) => {$(
        async fn $method(
            self: Rc<Self>,
            _params: client::$params,
            mut results: client::$results,
        ) -> capnp::Result<()> {
            let face = $api(self.desk.clone());
            results.get().set_api(super::client(Rc::new(face)));
            Ok(())
        }
    )*};
}

impl client::Server for Client {
    apis! {
        unixfs UnixfsParams UnixfsResults unixfs::UnixFs;
        block BlockParams BlockResults block::Block;
        dag DagParams DagResults dag::Dag;
        name NameParams NameResults name::Name;
        key KeyParams KeyResults key::Key;
        pin PinParams PinResults pin::Pin;
        object ObjectParams ObjectResults object::Object;
        swarm SwarmParams SwarmResults swarm::Swarm;
        pub_sub PubSubParams PubSubResults pubsub::PubSub::new;
        routing RoutingParams RoutingResults routing::Routing;
    }

    async fn resolve_path(
        self: Rc<Self>,
        params: client::ResolvePathParams,
        mut results: client::ResolvePathResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let resolve = |repo: &Repo, path: &str| repo.resolve_path(path);
        let resolved = self.desk.read("resolvePath", path, resolve).await?;
        results.get().set_path(resolved.to_string());
        Ok(())
    }

    async fn resolve_node(
        self: Rc<Self>,
        params: client::ResolveNodeParams,
        mut results: client::ResolveNodeResults,
    ) -> capnp::Result<()> {
        let path = params.get()?.get_path()?;
        let resolve = |repo: &Repo, path: &str| repo.resolve(path);
        let cid = self.desk.read("resolveNode", path, resolve).await?;
        results.get().set_cid(&cid.to_bytes());
        Ok(())
    }

    async fn attenuate(
        self: Rc<Self>,
        params: client::AttenuateParams,
        mut results: client::AttenuateResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let desk = &*self.desk;
        let scope = desk.scope.attenuate(
            params.get_read_only(),
            &whole(params.get_subtree()?.to_str()?),
            params.get_pins()?.to_str()?,
        );
        let desk = Desk {
            scope: scope.map_err(out_of_scope("attenuate"))?,
            ..desk.share()
        };
        results.get().set_ipfs(Client::over(Rc::new(desk)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_quotes_much_keeps_its_beginning_and_its_end() {
        let name = "é".repeat(100_000);
        for shift in ["", "x"] {
            let told = failed("child", format_args!("{shift}{name} is too long; cut it")).extra;
            assert!(told.len() <= MAX_REFUSAL_BYTES, "{}", told.len());
            assert!(told.starts_with("child: "), "{told}");
            assert!(told.ends_with("é is too long; cut it"), "{told}");
        }
        assert_eq!(failed("cat", "no").extra, "cat: no");
    }
}
