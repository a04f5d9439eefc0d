//! `Host`: this node in the network, and the way to run programs on it.
//!
//! Addresses and peers are read from the swarm's snapshot, so that no call waits for a busy network.

use std::cell::OnceCell;

use capnp::capability::Rc;
use schema::system_capnp::{executor, host};
use swarm::Handle;

use super::behalf::Known;
use super::peers;

/// The face of a node's swarm.
pub struct Host {
    swarm: Handle,
    executor: executor::Client,
    known: OnceCell<Known>,
}

impl Host {
    /// A face that hands out this executor.
    pub fn new(swarm: Handle, executor: executor::Client) -> Rc<Self> {
        Rc::new(Self {
            swarm,
            executor,
            known: OnceCell::new(),
        })
    }

    /// A capability that hands out this executor.
    pub fn client(swarm: Handle, executor: executor::Client) -> host::Client {
        let host = Self::new(swarm, executor);
        let client: host::Client = super::client(host.clone());
        // It is new, so this is the first and only time.
        let _ = host.known.set(Known::host(&client, &host));
        client
    }

    /// The same node for somebody on whose behalf this executor runs programs.
    pub fn with_executor(&self, executor: executor::Client) -> host::Client {
        Self::client(self.swarm.clone(), executor)
    }
}

impl host::Server for Host {
    async fn id(
        self: Rc<Self>,
        _params: host::IdParams,
        mut results: host::IdResults,
    ) -> capnp::Result<()> {
        results.get().set_peer_id(&self.swarm.peer_id().to_bytes());
        Ok(())
    }

    async fn addrs(
        self: Rc<Self>,
        _params: host::AddrsParams,
        mut results: host::AddrsResults,
    ) -> capnp::Result<()> {
        let addrs = self.swarm.addrs();
        let mut list = results
            .get()
            .init_addrs(u32::try_from(addrs.len()).unwrap_or(u32::MAX));
        for (index, addr) in (0..).zip(&addrs) {
            list.set(index, addr.as_ref());
        }
        Ok(())
    }

    async fn peers(
        self: Rc<Self>,
        _params: host::PeersParams,
        mut results: host::PeersResults,
    ) -> capnp::Result<()> {
        let connected = self.swarm.peers();
        let count = u32::try_from(connected.len()).unwrap_or(u32::MAX);
        peers::encode(&connected, results.get().init_peers(count));
        Ok(())
    }

    async fn connect(
        self: Rc<Self>,
        params: host::ConnectParams,
        _results: host::ConnectResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let target = peers::target("connect", params.get_peer_id()?, params.get_addrs()?)?;
        self.swarm
            .connect(target)
            .await
            .map_err(|error| capnp::Error::failed(format!("connect: {error}")))
    }

    async fn executor(
        self: Rc<Self>,
        _params: host::ExecutorParams,
        mut results: host::ExecutorResults,
    ) -> capnp::Result<()> {
        results.get().set_executor(self.executor.clone());
        Ok(())
    }
}
