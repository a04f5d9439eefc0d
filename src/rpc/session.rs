//! `Membrane` and `Session`: how a cell comes by exactly what its parent granted.
//!
//! Every cell bootstraps a `Membrane`, the first one and the last. Grants named `host`, `executor` and
//! `ipfs` fill the session's fields of these names; the others are listed by name; what was not granted is
//! null. There is nothing else to look up, so there is nothing else to be had.

use std::sync::Arc;

use capnp::capability::{Client, FromClientHook, Rc};
use image::Image;
use schema::stem_capnp::{epoch, membrane};
use schema::{ipfs_capnp, system_capnp};

use super::executor::Executor;
use super::host::Host;
use crate::cells::Cells;
use crate::vats::{Export, Spawner};

/// What a parent hands a cell, in a form that can travel to the cell's vat.
#[derive(Default)]
pub struct Grants {
    named: Vec<(String, Grant)>,
    /// The cell's own image, for programs that it names by path.
    image: Option<Arc<Image>>,
}

/// One grant.
pub enum Grant {
    /// This node in the network.
    Host(swarm::Handle, Cells),
    /// The ability to run programs on this node.
    Executor(Cells),
    /// A capability that lives on another vat.
    Cap(Export),
}

impl Grants {
    /// Adds a grant. Of two by one name the later one counts.
    pub fn with(mut self, name: &str, grant: Grant) -> Self {
        self.named.retain(|(other, _)| other != name);
        self.named.push((name.to_owned(), grant));
        self
    }

    /// Says which image the cell runs in.
    pub fn image(mut self, image: Arc<Image>) -> Self {
        self.image = Some(image);
        self
    }
}

/// A cell's bootstrap, made on its own vat.
pub fn bootstrap(grants: Grants, spawner: &Spawner) -> membrane::Client {
    let mut session = Session {
        host: None,
        executor: None,
        ipfs: None,
        others: Vec::new(),
    };
    let executor = |cells: Cells| Executor::new(cells, spawner.clone(), grants.image.clone());
    for (name, grant) in grants.named {
        let cap = match grant {
            Grant::Host(swarm, cells) => {
                let host: system_capnp::host::Client =
                    super::client(Host::new(swarm, executor(cells)));
                host.client
            }
            Grant::Executor(cells) => {
                let executor: system_capnp::executor::Client = super::client(executor(cells));
                executor.client
            }
            Grant::Cap(export) => export.import(spawner),
        };
        match name.as_str() {
            "host" => session.host = Some(cap.cast_to()),
            "executor" => session.executor = Some(cap.cast_to()),
            "ipfs" => session.ipfs = Some(cap.cast_to()),
            _ => session.others.push((name, cap)),
        }
    }
    super::client(Rc::new(session))
}

/// The grants of one cell, as references of its vat.
struct Session {
    host: Option<system_capnp::host::Client>,
    executor: Option<system_capnp::executor::Client>,
    ipfs: Option<ipfs_capnp::client::Client>,
    others: Vec<(String, Client)>,
}

impl membrane::Server for Session {
    async fn graft(
        self: Rc<Self>,
        _params: membrane::GraftParams,
        mut results: membrane::GraftResults,
    ) -> capnp::Result<()> {
        let mut session = results.get().init_session();
        if let Some(host) = &self.host {
            session.set_host(host.clone());
        }
        if let Some(executor) = &self.executor {
            session.set_executor(executor.clone());
        }
        if let Some(ipfs) = &self.ipfs {
            session.set_ipfs(ipfs.clone());
        }
        let others = u32::try_from(self.others.len()).unwrap_or(u32::MAX);
        let mut list = session.reborrow().init_grants(others);
        for (index, (name, cap)) in (0..).zip(&self.others) {
            let mut grant = list.reborrow().get(index);
            grant.set_name(name.as_str());
            grant.init_cap().set_as_capability(cap.hook.add_ref());
        }
        encode(&atom::Epoch::default(), session.init_epoch());
        Ok(())
    }

    async fn watch(
        self: Rc<Self>,
        _params: membrane::WatchParams,
        _results: membrane::WatchResults,
    ) -> capnp::Result<()> {
        // The node follows no chain, so epoch 0 is in force for as long as the node is.
        std::future::pending().await
    }
}

fn encode(epoch: &atom::Epoch, mut into: epoch::Builder<'_>) {
    into.set_seq(epoch.sequence);
    into.set_head(&epoch.head);
    into.set_adopted_block(epoch.adopted_block);
}
