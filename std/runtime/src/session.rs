//! What a cell may do: the capabilities that its parent granted, for one epoch.

use std::fmt;

use capnp::capability::{Client, FromClientHook};
use schema::interfaces::MethodId;
use schema::ipfs_capnp::client as ipfs;
use schema::stem_capnp::{membrane, revoker};
use schema::system_capnp::{executor, host};

use crate::error::{Error, Result};

/// The capabilities that hold for one epoch: exactly what the parent granted.
///
/// When the epoch ends, they fail, with an exception whose text starts with `staleEpoch`;
/// [`next_epoch`](Session::next_epoch) gives the session that takes over.
#[derive(Clone)]
pub struct Session {
    membrane: membrane::Client,
    grants: Vec<(String, Client)>,
    epoch: Epoch,
}

/// The lifetime of authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Grows by one with each epoch. A node that follows no chain stays at 0.
    pub seq: u64,
    /// The binary CID of the image that is in force; empty where there is none.
    pub head: Vec<u8>,
    /// The block at which this head was confirmed.
    pub adopted_block: u64,
}

impl Session {
    /// Takes the session of the epoch in force from a membrane. [`run`](crate::run) has done so for
    /// the cell's own.
    ///
    /// # Errors
    /// Whatever the membrane refuses it with.
    pub async fn graft(membrane: membrane::Client) -> Result<Self> {
        let reply = membrane.graft_request().send().promise.await?;
        let session = reply.get()?.get_session()?;
        let mut grants = Vec::new();
        if session.has_host() {
            grants.push(("host".to_owned(), untyped(session.get_host()?)));
        }
        if session.has_executor() {
            grants.push(("executor".to_owned(), untyped(session.get_executor()?)));
        }
        if session.has_ipfs() {
            grants.push(("ipfs".to_owned(), untyped(session.get_ipfs()?)));
        }
        for grant in session.get_grants()? {
            let name = grant.get_name()?.to_string()?;
            grants.push((name, grant.get_cap().get_as_capability()?));
        }
        let epoch = session.get_epoch()?;
        let epoch = Epoch {
            seq: epoch.get_seq(),
            head: epoch.get_head()?.to_vec(),
            adopted_block: epoch.get_adopted_block(),
        };
        Ok(Self {
            membrane,
            grants,
            epoch,
        })
    }

    /// The node that the cell runs on: the grant `host`.
    ///
    /// # Errors
    /// [`Error::NotGranted`]
    pub fn host(&self) -> Result<host::Client> {
        self.grant("host")
    }

    /// Runs programs: the grant `executor`.
    ///
    /// # Errors
    /// [`Error::NotGranted`]
    pub fn executor(&self) -> Result<executor::Client> {
        self.grant("executor")
    }

    /// Content by its address: the grant `ipfs`.
    ///
    /// # Errors
    /// [`Error::NotGranted`]
    pub fn ipfs(&self) -> Result<ipfs::Client> {
        self.grant("ipfs")
    }

    /// The grant of any other name. What it can do shows when it is called: a capability does not tell
    /// its type.
    ///
    /// # Errors
    /// [`Error::NotGranted`]
    pub fn grant<C: FromClientHook>(&self, name: &str) -> Result<C> {
        let (_, client) = self
            .grants
            .iter()
            .find(|(present, _)| present == name)
            .ok_or_else(|| Error::NotGranted(name.to_owned()))?;
        Ok(C::new(client.hook.add_ref()))
    }

    /// The names of all that was granted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.grants.iter().map(|(name, _)| name.as_str())
    }

    /// The epoch that this session belongs to.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Where sessions come from. It stays good across epochs.
    pub fn membrane(&self) -> &membrane::Client {
        &self.membrane
    }

    /// The same capability with less authority: only these methods may be called, on it and on whatever is
    /// reached through it. [`MethodId::closure`](schema::interfaces::MethodId::closure) adds what is
    /// reached through them. The second part takes it back, from whomever it was handed on to.
    ///
    /// # Errors
    /// The host's: too many capabilities are held narrowed.
    pub async fn attenuate<C: FromClientHook>(
        &self,
        capability: &C,
        methods: impl IntoIterator<Item = MethodId>,
    ) -> Result<(C, revoker::Client)> {
        crate::spawn::attenuate(&self.membrane, capability, methods).await
    }

    /// Waits until a later epoch is in force, and takes its session. It may take for ever.
    ///
    /// # Errors
    /// Whatever the membrane refuses it with.
    pub async fn next_epoch(&self) -> Result<Self> {
        let mut request = self.membrane.watch_request();
        request.get().set_after_seq(self.epoch.seq);
        request.send().promise.await?;
        Self::graft(self.membrane.clone()).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("grants", &self.names().collect::<Vec<_>>())
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

fn untyped(capability: impl FromClientHook) -> Client {
    Client::new(capability.into_client_hook())
}
