//! Vats: the threads that carry Cap'n Proto.
//!
//! A vat is a set of objects that share one thread, and talk to the rest of the world by messages
//! (the word is E's, by way of Cap'n Proto). Here it is a thread with a single-threaded runtime.
//! Capabilities are `!Send`: they live and die on one vat. Cells run there too, beside the host's side
//! of their conversation, so that a call from guest to host crosses no thread; a guest that spins gives
//! way at each tick of the engine's clock.
//!
//! A capability that must be used on another vat travels as an [`Export`]: a connection in memory,
//! whose other end is served where the capability lives.
//!
//! What an RPC system is made of is known in [`Peer`] and in the [`network`] module, nowhere else.

pub mod network;
pub mod transport;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread::JoinHandle;

use capnp::capability::{Client, FromClientHook};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Disconnector, RpcSystem};
use futures::FutureExt;
use network::Network;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use transport::{PairEnd, Transport};

/// Jobs that may wait for one vat. A vat takes them in microseconds; a queue this long means that it is
/// stuck, and whoever spawns has to wait.
const QUEUED_JOBS: usize = 1024;

/// Turns of the vat's task queue between looks at its timers and at what other threads have sent.
const TURNS_BETWEEN_EVENTS: u32 = 31;

/// Threads beside a vat for what blocks: files of an image, hashing. More would take the processor from the
/// vats themselves.
const BLOCKING_THREADS: usize = 4;

type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// All vats of a node. Dropping it ends them, and what runs on them, and waits for that.
pub struct Vats {
    vats: Vec<Vat>,
    threads: Vec<JoinHandle<()>>,
}

/// One vat, for those who give it work. `Send` and `Sync`.
#[derive(Clone)]
pub struct Vat {
    jobs: mpsc::Sender<Job>,
    load: Arc<AtomicUsize>,
}

/// Why work could not be given to a vat.
#[derive(Debug, thiserror::Error)]
pub enum VatError {
    /// A thread could not be started.
    #[error("cannot start a vat thread: {0}")]
    Start(#[from] std::io::Error),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Stopped,
}

impl From<VatError> for capnp::Error {
    fn from(error: VatError) -> Self {
        capnp::Error::disconnected(error.to_string())
    }
}

impl Vats {
    /// Starts `count` vats, one thread each.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be had.
    pub fn start(count: std::num::NonZeroUsize) -> Result<Self, VatError> {
        let mut all = Self {
            vats: Vec::new(),
            threads: Vec::new(),
        };
        for index in 0..count.get() {
            let (jobs, queue) = mpsc::channel(QUEUED_JOBS);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS)
                .event_interval(TURNS_BETWEEN_EVENTS)
                .build()?;
            let thread = std::thread::Builder::new()
                .name(format!("vat-{index}"))
                .spawn(move || LocalSet::new().block_on(&runtime, work(queue)))?;
            all.vats.push(Vat {
                jobs,
                load: Arc::default(),
            });
            all.threads.push(thread);
        }
        Ok(all)
    }

    /// The vat with the fewest cells on it.
    ///
    /// # Errors
    /// [`VatError::Stopped`] when there is none.
    pub fn least_loaded(&self) -> Result<Vat, VatError> {
        self.vats
            .iter()
            .min_by_key(|vat| vat.load.load(Ordering::Relaxed))
            .cloned()
            .ok_or(VatError::Stopped)
    }
}

impl Drop for Vats {
    fn drop(&mut self) {
        self.vats.clear();
        for thread in self.threads.drain(..) {
            // A vat that panicked has said so already, on standard error.
            let _ = thread.join();
        }
    }
}

async fn work(mut queue: mpsc::Receiver<Job>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            job = queue.recv() => match job {
                Some(job) => { tasks.spawn_local(job()); }
                None => break,
            },
            Some(_ended) = tasks.join_next() => {}
        }
    }
    tasks.shutdown().await;
}

impl Vat {
    /// Runs a task on this vat, until it ends or the node does. `job` makes it, there.
    ///
    /// # Errors
    /// [`VatError::Stopped`] when the vat has ended.
    pub async fn spawn<F>(&self, job: impl FnOnce() -> F + Send + 'static) -> Result<(), VatError>
    where
        F: Future<Output = ()> + 'static,
    {
        self.jobs
            .send(Box::new(move || Box::pin(job())))
            .await
            .map_err(|_| VatError::Stopped)
    }

    /// Counts one more cell on this vat, for as long as the guard lives.
    pub fn occupy(&self) -> Occupied {
        self.load.fetch_add(1, Ordering::Relaxed);
        Occupied(self.load.clone())
    }
}

/// One cell's place on a vat.
pub struct Occupied(Arc<AtomicUsize>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The tasks that belong to one cell on its vat. They end with it.
#[derive(Default)]
pub struct Scope(Rc<RefCell<JoinSet<()>>>);

/// Starts tasks in a [`Scope`]. Once the scope has ended, what is started is dropped at once.
#[derive(Clone)]
pub struct Spawner(Weak<RefCell<JoinSet<()>>>);

impl Scope {
    /// What starts tasks in this scope.
    pub fn spawner(&self) -> Spawner {
        Spawner(Rc::downgrade(&self.0))
    }

    /// Ends every task of the scope, and returns once they have gone.
    pub async fn shutdown(self) {
        // Taken out first: a task that is dropped may reach back for its scope.
        let mut tasks = self.0.take();
        drop(self);
        tasks.shutdown().await;
    }
}

impl Spawner {
    /// Runs a task on this vat until it ends or the scope does.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if let Some(tasks) = self.0.upgrade() {
            let mut tasks = tasks.borrow_mut();
            while tasks.try_join_next().is_some() {}
            tasks.spawn_local(task);
        }
    }
}

/// A connection of this vat to another.
pub struct Peer {
    system: Rc<RefCell<RpcSystem<Side>>>,
    side: Side,
}

impl Peer {
    /// Joins this vat to the one at the other end of a transport, for as long as the scope lives.
    /// `bootstrap` is what the other vat gets when it asks.
    pub fn connect<T: Transport>(
        scope: &Spawner,
        transport: T,
        side: Side,
        bootstrap: Option<Client>,
    ) -> Self {
        let network = Box::new(Network::new(transport, side));
        let closer = network.closer();
        let system = RpcSystem::new(network, bootstrap);
        let hangup = Hangup(system.get_disconnector());
        let system = Rc::new(RefCell::new(system));
        let driven = system.clone();
        scope.spawn(async move {
            let _closer = closer;
            let _hangup = hangup;
            let ended = poll_fn(|context| driven.borrow_mut().poll_unpin(context)).await;
            // A connection ends with an error when its peer breaks the protocol. The callers on both
            // sides have been told by then.
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Self {
            system,
            side: other(side),
        }
    }

    /// What the other vat bootstraps. Not for methods that this same connection is calling: those
    /// run inside it.
    ///
    /// # Errors
    /// When it is called from within the connection, as said.
    pub fn bootstrap<C: FromClientHook>(&self) -> capnp::Result<C> {
        let mut system = self.system.try_borrow_mut().map_err(|_| {
            capnp::Error::failed("a connection was asked for its bootstrap from within".into())
        })?;
        Ok(system.bootstrap(self.side))
    }
}

/// Takes a connection's tables apart when its task ends. Without that, a call that is pending keeps all
/// that the connection exported alive: the call holds the connection, and the connection the call.
struct Hangup(Disconnector<Side>);

impl Drop for Hangup {
    fn drop(&mut self) {
        // The first poll does it; what is left is to wait for the other side, which the transport does.
        let _ = self.0.poll_unpin(&mut Context::from_waker(Waker::noop()));
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// A capability on its way to another vat.
pub struct Export(PairEnd);

impl Export {
    /// Makes a capability of this vat available to one other. It is served until the scope ends.
    pub fn new(scope: &Spawner, cap: Client) -> Self {
        let (here, there) = transport::pair();
        Peer::connect(scope, here, Side::Server, Some(cap));
        Self(there)
    }

    /// The capability, as a reference of this vat, good until this scope or the exporter's ends.
    ///
    /// # Errors
    /// None that a fresh connection can have; see [`Peer::bootstrap`].
    pub fn import<C: FromClientHook>(self, scope: &Spawner) -> capnp::Result<C> {
        Peer::connect(scope, self.0, Side::Client, None).bootstrap()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use schema::system_capnp::byte_stream;

    /// A stream whose reads never end.
    struct Endless;

    impl byte_stream::Server for Endless {
        async fn read(
            self: Rc<Self>,
            _params: byte_stream::ReadParams,
            _results: byte_stream::ReadResults,
        ) -> capnp::Result<()> {
            std::future::pending().await
        }
    }

    fn on_a_vat(test: impl Future<Output = ()> + 'static) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn a_pending_call_keeps_nothing_alive_once_the_exporter_has_ended() {
        on_a_vat(async {
            let (exporter, importer) = (Scope::default(), Scope::default());
            let endless = Rc::new(Endless);
            let alive = Rc::downgrade(&endless);
            let cap: byte_stream::Client = capnp_rpc::new_client_from_rc(endless);
            let export = Export::new(&exporter.spawner(), cap.client);
            let stream: byte_stream::Client = export.import(&importer.spawner()).unwrap();
            let mut request = stream.read_request();
            request.get().set_max_bytes(1);
            let mut read = request.send().promise;
            // The call has arrived once the server holds itself for it.
            while alive.strong_count() < 2 {
                assert!(futures::poll!(&mut read).is_pending());
                tokio::task::yield_now().await;
            }

            exporter.shutdown().await;

            assert!(read.await.is_err());
            assert!(alive.upgrade().is_none());
            importer.shutdown().await;
        });
    }

    #[test]
    fn a_capability_works_from_another_vat() {
        let vats = Vats::start(std::num::NonZeroUsize::new(2).unwrap()).unwrap();
        let (exports, exported) = std::sync::mpsc::channel();
        let (answers, answered) = std::sync::mpsc::channel();
        let [here, there] = [0, 1].map(|index| vats.vats.get(index).unwrap().clone());
        futures::executor::block_on(async move {
            here.spawn(move || async move {
                let scope = Scope::default();
                let (reader, writer) = cell::stdio::pipe(16);
                writer.write(b"across").await.unwrap();
                let end = crate::rpc::byte_stream::End::Reading(reader);
                let stream = crate::rpc::byte_stream::ByteStream::new(end);
                let cap: byte_stream::Client = capnp_rpc::new_client(stream);
                exports
                    .send(Export::new(&scope.spawner(), cap.client))
                    .unwrap();
                std::future::pending().await
            })
            .await
            .unwrap();
            let export = exported.recv().unwrap();
            there
                .spawn(move || async move {
                    let scope = Scope::default();
                    let stream: byte_stream::Client = export.import(&scope.spawner()).unwrap();
                    let mut request = stream.read_request();
                    request.get().set_max_bytes(16);
                    let answer = request.send().promise.await.unwrap();
                    answers
                        .send(answer.get().unwrap().get_data().unwrap().to_vec())
                        .unwrap();
                })
                .await
                .unwrap();
        });
        assert_eq!(answered.recv().unwrap(), b"across");
    }
}
