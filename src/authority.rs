//! All that a cell can reach, and all that can reach it, in one place: so that it can be taken back. A client of the
//! node's socket has the same.

use std::rc::Rc;

use capnp::Error;
use capnp::capability::Client;
use membrane::{AllowAll, Membrane};
use schema::stem_capnp::membrane as face;
use vat::Connection;

use crate::cells::Cells;
use crate::rpc::membrane::Bootstrap;
use crate::session::{Endowment, Possessions};
use crate::vats::{Export, Scope};

/// What joins a cell, or a client, to the rest of the world.
pub struct Authority {
    bootstrap: Rc<Bootstrap>,
    /// Around what the cell exports.
    outward: Membrane,
    holder: Connection,
    scope: Scope,
}

impl Authority {
    /// Hands over what was granted. `join` opens the connection to whoever gets it, with this bootstrap; what it
    /// returns beside the connection is what carries the messages.
    pub fn hand_over<T>(
        possessions: Possessions,
        cells: Cells,
        join: impl FnOnce(Client) -> (Connection, T),
    ) -> (Self, T) {
        let scope = Scope::default();
        let spawner = scope.spawner();
        let epochs = cells.epochs().clone();
        let endowment = Endowment::new(possessions, cells, &spawner);
        let bootstrap = Bootstrap::new(endowment, epochs, spawner);
        let client: face::Client = vat::new_client_from_rc(bootstrap.clone());
        let (holder, carrying) = join(client.client);
        let authority = Self {
            bootstrap,
            outward: Membrane::new(Rc::new(AllowAll)),
            holder,
            scope,
        };
        (authority, carrying)
    }

    /// What the cell exports, for one other vat.
    pub fn export(&self) -> Export {
        let bootstrap: Client = self.holder.bootstrap();
        Export::new(&self.scope.spawner(), self.outward.wrap(bootstrap))
    }

    /// Takes it all back, and returns once nothing of it is left. Calls are cut off before this first waits.
    pub async fn take_back(self, reason: &str) {
        let Self {
            bootstrap,
            outward,
            holder,
            scope,
        } = self;
        outward.revoke(Error::disconnected(reason.to_owned()));
        bootstrap.end(reason).await;
        holder.disconnect(Error::disconnected(reason.to_owned()));
        drop(holder);
        scope.shutdown().await;
    }
}
