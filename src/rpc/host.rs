//! `Host`: this node in the network, and the way to run programs on it.
//!
//! Addresses and peers are read from the swarm's snapshot, so that no call waits for a busy network.

use std::cell::OnceCell;

use capnp::capability::Rc;
use schema::system_capnp::{executor, host};
use swarm::{Handle, Target};

use super::behalf::Known;
use super::bounded;

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
        let peers = self.swarm.peers();
        let mut list = results
            .get()
            .init_peers(u32::try_from(peers.len()).unwrap_or(u32::MAX));
        for (index, peer) in (0..).zip(&peers) {
            let mut entry = list.reborrow().get(index);
            entry.set_peer_id(&peer.peer_id.to_bytes());
            let mut addrs = entry.init_addrs(u32::try_from(peer.addrs.len()).unwrap_or(u32::MAX));
            for (index, addr) in (0..).zip(&peer.addrs) {
                addrs.set(index, addr.as_ref());
            }
        }
        Ok(())
    }

    async fn connect(
        self: Rc<Self>,
        params: host::ConnectParams,
        _results: host::ConnectResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let addrs = params.get_addrs()?;
        bounded("connect: addrs", addrs.len())?;
        let addrs = addrs.iter().collect::<capnp::Result<Vec<_>>>()?;
        let target = Target::parse(params.get_peer_id()?, addrs)
            .map_err(|error| capnp::Error::failed(format!("connect: {error}")))?;
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
