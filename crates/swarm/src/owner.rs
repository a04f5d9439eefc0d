//! The swarm's owner: who holds it keeps the network up, and who drops it ends it.
//!
//! The swarm has a runtime of its own with two threads. Agreeing on Noise costs some 0.3 ms of processor time for
//! each connection, and strangers decide when: on the threads that carry Cap'n Proto calls, a burst of them would
//! delay every cell. libp2p runs each handshake as a task beside the driver, so that with a second thread the driver
//! goes on while a burst is worked off; more threads would take processor time from the cells. How long a burst can
//! be is bounded by [`Limits`](crate::Limits).

use std::time::Duration;

use tokio::{
    runtime::{self, Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::{Handle, Options, SwarmError, driver::Driver, handle, listen, network};

const THREADS: usize = 2;

/// How long [`Swarm::start`] waits for the first address to be announced. It listens already; on a machine whose
/// interfaces are all down there is nothing to announce.
const FIRST_ADDRESS: Duration = Duration::from_secs(1);

/// A running swarm. Dropping it closes the port and every connection, without waiting for that to be done;
/// [`Swarm::shutdown`] waits.
#[derive(Debug)]
pub struct Swarm {
    /// The driver runs until this is used or dropped.
    stop: oneshot::Sender<()>,
    driver: JoinHandle<()>,
    /// Last, so that it outlives what runs on it.
    threads: Threads,
}

impl Swarm {
    /// Starts a swarm. When this returns, it listens and its addresses are known. To be called inside a Tokio
    /// runtime with time enabled; the swarm itself runs on threads of its own. Cancelling it leaves nothing behind.
    ///
    /// # Errors
    /// [`SwarmError::PortInUse`] and [`SwarmError::Listen`] for the port; [`SwarmError::NowhereToListen`];
    /// [`SwarmError::Interfaces`], [`SwarmError::Threads`] and [`SwarmError::Setup`] for what the system refuses.
    pub async fn start(options: Options) -> Result<(Swarm, Handle), SwarmError> {
        let sockets = listen::bind(&options.listen, options.port)?;
        let threads = Threads::start()?;
        let network = threads.inside(|| network::build(&options, sockets))?;
        let (handle, driver_side) =
            handle::new(options.identity.peer_id(), options.connect_timeout);
        let (stop, stopped) = oneshot::channel();
        let driver = Driver::new(network, driver_side, options.handshake_timeout);
        let driver = threads.handle.spawn(driver.run(stopped));
        let swarm = Swarm {
            stop,
            driver,
            threads,
        };
        if timeout(FIRST_ADDRESS, handle.listening()).await.is_err() {
            tracing::warn!("no network interface is up: nobody can reach this node yet");
        }
        Ok((swarm, handle))
    }

    /// Ends the swarm. When this returns, the port is free and every [`Handle`] says so.
    pub async fn shutdown(self) {
        let Swarm {
            stop,
            driver,
            threads,
        } = self;
        drop(stop);
        if let Err(error) = driver.await {
            tracing::error!(%error, "the network's driver had failed");
        }
        drop(threads);
    }
}

/// A runtime that can be dropped inside another one.
#[derive(Debug)]
struct Threads {
    handle: runtime::Handle,
    /// There until dropped.
    runtime: Option<Runtime>,
}

impl Threads {
    fn start() -> Result<Self, SwarmError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("ww-swarm")
            .enable_all()
            .build()
            .map_err(SwarmError::Threads)?;
        Ok(Threads {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Runs this, which makes sockets and timers, as if on one of the threads.
    fn inside<T>(&self, make: impl FnOnce() -> T) -> T {
        let _inside = self.handle.enter();
        make()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Tokio's own drop waits for the threads, and panics where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}
