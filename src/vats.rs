//! Vats: the threads that carry Cap'n Proto.
//!
//! A vat is a set of objects that share one thread, and talk to the rest of the world by messages
//! (the word is E's, by way of Cap'n Proto). Here it is a thread with a single-threaded runtime.
//! Capabilities are `!Send`: they live and die on one vat. Cells run there too, beside the host's side
//! of their conversation, so that a call from guest to host crosses no thread; a guest that spins gives
//! way at each tick of the engine's clock.
//!
//! A capability that may be used on another vat travels as an [`Export`]. The protocol itself is the
//! `vat` crate's; here is what it runs on: threads, the conversation with a cell, and the way from one
//! vat of this process to another.

pub mod conversation;
mod export;
mod pair;
mod scope;

use std::cell::OnceCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

pub use export::Export;
pub use scope::{Scope, Spawner};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

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

thread_local! {
    /// The vat whose thread this is, without keeping it going.
    static HERE: OnceCell<(mpsc::WeakSender<Job>, Arc<AtomicUsize>)> = const { OnceCell::new() };
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
            let load = Arc::<AtomicUsize>::default();
            let here = (jobs.downgrade(), load.clone());
            let thread = std::thread::Builder::new()
                .name(format!("vat-{index}"))
                .spawn(move || {
                    // A new thread, so that nothing is there yet.
                    let _ = HERE.with(|place| place.set(here));
                    LocalSet::new().block_on(&runtime, work(queue));
                })?;
            all.vats.push(Vat { jobs, load });
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

impl Vat {
    /// The vat whose thread this is.
    pub fn here() -> Option<Self> {
        HERE.with(|place| {
            let (jobs, load) = place.get()?;
            Some(Self {
                jobs: jobs.upgrade()?,
                load: load.clone(),
            })
        })
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
    tasks.spawn_local(async {
        vat::drive().await;
    });
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::rc::Rc;

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
        LocalSet::new().block_on(&runtime, vat::run_until(test));
    }

    #[test]
    fn a_pending_call_keeps_nothing_alive_once_the_exporter_has_ended() {
        on_a_vat(async {
            let (exporter, importer) = (Scope::default(), Scope::default());
            let endless = Rc::new(Endless);
            let alive = Rc::downgrade(&endless);
            let cap: byte_stream::Client = vat::new_client_from_rc(endless);
            let export = Export::new(&exporter.spawner(), cap.client);
            let stream: byte_stream::Client = export.import(&importer.spawner());
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
                let stream = crate::rpc::byte_stream::ByteStream::new(
                    end,
                    cell::Budget::default().open(cell::Resource::Streams),
                );
                let cap: byte_stream::Client = vat::new_client(stream);
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
                    let stream: byte_stream::Client = export.import(&scope.spawner());
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
