//! `Routing`: where peers and content are, as far as this node knows it: from those that it is connected to, and
//! from what it has itself.

use capnp::capability::Rc;
use content::{ContentError, Repo};
use schema::ipfs_capnp::routing as face;

use super::{Desk, cid, failed};
use crate::rpc::peers;

pub struct Routing(pub Rc<Desk>);

impl Routing {
    /// This node, as others see it.
    fn this_node(&self) -> swarm::Peer {
        let swarm = self.0.ipfs.swarm();
        swarm::Peer {
            peer_id: swarm.peer_id(),
            addrs: swarm.addrs(),
        }
    }
}

impl face::Server for Routing {
    async fn find_peer(
        self: Rc<Self>,
        params: face::FindPeerParams,
        mut results: face::FindPeerResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("findPeer")?;
        let wanted = params.get()?.get_peer()?;
        let mut known = self.0.ipfs.swarm().peers();
        known.push(self.this_node());
        match known.iter().find(|peer| peer.peer_id.to_bytes() == wanted) {
            Some(peer) => peers::encode_one(peer, results.get().init_peer()),
            None => {
                return Err(failed(
                    "findPeer",
                    "this node is not connected to such a peer; connect to it first",
                ));
            }
        }
        Ok(())
    }

    async fn find_providers(
        self: Rc<Self>,
        params: face::FindProvidersParams,
        mut results: face::FindProvidersResults,
    ) -> capnp::Result<()> {
        self.0.may_reach_beyond("findProviders")?;
        let params = params.get()?;
        let cid = cid("findProviders", params.get_cid()?)?;
        let here = self
            .0
            .run("findProviders", move |repo| repo.has_local(&cid));
        let found = match here.await? {
            true => vec![self.this_node()],
            false => Vec::new(),
        };
        let limit = usize::try_from(params.get_limit()).unwrap_or(usize::MAX);
        let told = found.get(..limit.clamp(1, found.len().max(1)).min(found.len()));
        let told = told.unwrap_or_default();
        let count = u32::try_from(told.len()).unwrap_or(u32::MAX);
        peers::encode(told, results.get().init_peers(count));
        Ok(())
    }

    async fn provide(
        self: Rc<Self>,
        params: face::ProvideParams,
        _results: face::ProvideResults,
    ) -> capnp::Result<()> {
        self.0.may_change("provide")?;
        let path = params.get()?.get_path()?;
        let provided = self.0.read("provide", path, |repo: &Repo, path| {
            let cid = repo.resolve(path)?;
            match repo.has_local(&cid)? {
                true => Ok(()),
                false => Err(ContentError::BlockMissing { cid }),
            }
        });
        provided.await
    }
}
