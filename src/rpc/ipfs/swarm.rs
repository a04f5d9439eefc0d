//! `Swarm`: the peers that content is exchanged with.

use capnp::capability::Rc;
use schema::ipfs_capnp::swarm as face;

use super::{Desk, failed};
use crate::rpc::peers;

pub struct Swarm(pub Rc<Desk>);

impl face::Server for Swarm {
    async fn connect(
        self: Rc<Self>,
        params: face::ConnectParams,
        _results: face::ConnectResults,
    ) -> capnp::Result<()> {
        self.0.may_change("connect")?;
        let peer = params.get()?.get_peer()?;
        let target = peers::target("connect", peer.get_peer_id()?, peer.get_addrs()?)?;
        let connected = self.0.ipfs.swarm().connect(target).await;
        connected.map_err(|error| failed("connect", error))
    }

    async fn peers(
        self: Rc<Self>,
        _params: face::PeersParams,
        mut results: face::PeersResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("peers")?;
        let connected = self.0.ipfs.swarm().peers();
        let count = u32::try_from(connected.len()).unwrap_or(u32::MAX);
        peers::encode(&connected, results.get().init_peers(count));
        Ok(())
    }

    async fn local_addrs(
        self: Rc<Self>,
        _params: face::LocalAddrsParams,
        mut results: face::LocalAddrsResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("localAddrs")?;
        let addrs = self.0.ipfs.swarm().addrs();
        let count = u32::try_from(addrs.len()).unwrap_or(u32::MAX);
        let mut list = results.get().init_addrs(count);
        for (index, addr) in (0..).zip(&addrs) {
            list.set(index, addr.as_ref());
        }
        Ok(())
    }
}
