//! All that a cell can reach, and all that can reach it, in one place: so that it can be taken back.

use std::rc::Rc;

use capnp::Error;
use capnp::capability::Client;
use cell::Sender;
use membrane::{AllowAll, Membrane};
use schema::stem_capnp::membrane as face;
use vat::Connection;

use crate::cells::Cells;
use crate::rpc::membrane::Bootstrap;
use crate::session::{Endowment, Possessions};
use crate::vats::conversation::{self, Hearing};
use crate::vats::{Export, Scope};

/// What joins a cell to the rest of the world.
pub struct Authority {
    bootstrap: Rc<Bootstrap>,
    /// Around what the cell exports.
    outward: Membrane,
    guest: Connection,
    scope: Scope,
}

impl Authority {
    /// Hands a cell what it was granted. What is returned beside it takes the cell's messages.
    pub fn hand_over(sender: Sender, possessions: Possessions, cells: Cells) -> (Self, Hearing) {
        let calls = possessions.bounded.calls;
        let scope = Scope::default();
        let spawner = scope.spawner();
        let epochs = cells.epochs().clone();
        let endowment = Endowment::new(possessions, cells, &spawner);
        let bootstrap = Bootstrap::new(endowment, epochs, spawner);
        let client: face::Client = vat::new_client_from_rc(bootstrap.clone());
        let (guest, hearing) = conversation::open(sender, calls, client.client);
        let authority = Self {
            bootstrap,
            outward: Membrane::new(Rc::new(AllowAll)),
            guest,
            scope,
        };
        (authority, hearing)
    }

    /// What the cell exports, for one other vat.
    pub fn export(&self) -> Export {
        let bootstrap: Client = self.guest.bootstrap();
        Export::new(&self.scope.spawner(), self.outward.wrap(bootstrap))
    }

    /// Takes it all back, and returns once nothing of it is left. Calls are cut off before this first waits.
    pub async fn take_back(self, reason: &str) {
        let Self {
            bootstrap,
            outward,
            guest,
            scope,
        } = self;
        outward.revoke(Error::disconnected(reason.to_owned()));
        bootstrap.end(reason).await;
        drop(guest);
        scope.shutdown().await;
    }
}
