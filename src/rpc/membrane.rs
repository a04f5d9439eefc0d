//! `Membrane`: how a cell comes by its session, learns that its time is over, and narrows what it hands on.
//!
//! Every cell bootstraps one, the first one and the last. Grants named `host`, `executor` and `ipfs` fill the
//! session's fields of these names; the others are listed by name; what was not granted is null.
//! There is nothing else to look up, so there is nothing else to be had.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use capnp::Error;
use capnp::capability::{FromClientHook, Rc};
use membrane::Membrane;
use schema::interfaces::MethodId;
use schema::stem_capnp::{epoch, membrane as face, revoker};
use tokio::sync::Semaphore;

use super::bounded;
use crate::audit;
use crate::epoch::{Epochs, STALE};
use crate::grants::attenuation;
use crate::session::{Endowment, Session};
use crate::vats::Spawner;

/// Capabilities that one cell may hold narrowed at a time. Each is a membrane; one that is narrowed again and again
/// keeps all that it came from.
const MAX_ATTENUATIONS: usize = 1024;

/// Membranes that may be around a capability that is narrowed once more. Each copies what passes it.
const MAX_LAYERS: usize = 32;

/// The longest reason that a cell may give for a revocation, in bytes. It is copied for each call that fails of it.
const MAX_REASON_BYTES: usize = 1024;

/// A cell's bootstrap.
pub struct Bootstrap {
    endowment: Endowment,
    epochs: Epochs,
    scope: Spawner,
    state: RefCell<State>,
    attenuations: Arc<Semaphore>,
}

enum State {
    /// No session has been asked for.
    Idle,
    Grafted(Rc<Session>),
    /// Nothing is to be had any more, and why.
    Ended(String),
}

impl Bootstrap {
    /// The bootstrap of a cell with this endowment. `scope` is the cell's.
    pub fn new(endowment: Endowment, epochs: Epochs, scope: Spawner) -> Rc<Self> {
        if let Some(tally) = endowment.tally() {
            scope.spawn(async move {
                loop {
                    tokio::time::sleep(audit::INTERVAL).await;
                    tally.tell();
                }
            });
        }
        Rc::new(Self {
            endowment,
            epochs,
            scope,
            state: RefCell::new(State::Idle),
            attenuations: Arc::new(Semaphore::new(MAX_ATTENUATIONS)),
        })
    }

    /// Takes everything back, for good, and returns once nothing of it is left. What can be called is cut off
    /// before this first waits.
    pub async fn end(&self, reason: &str) {
        let before = self.state.replace(State::Ended(reason.to_owned()));
        self.endowment.tell_revoked(reason);
        if let State::Grafted(session) = before {
            session.end(reason).await;
        }
    }

    /// The session of the epoch in force.
    fn session(self: &Rc<Self>) -> capnp::Result<Rc<Session>> {
        match &*self.state.borrow() {
            State::Grafted(session) if session.is_good() => return Ok(session.clone()),
            State::Ended(reason) => return Err(Error::disconnected(reason.clone())),
            State::Grafted(_) | State::Idle => {}
        }
        let term = self.epochs.term().ok_or_else(|| {
            Error::failed(format!(
                "{STALE}: no epoch is in force; wait on Membrane.watch and graft again"
            ))
        })?;
        let session = Rc::new(self.endowment.session(term));
        let before = self.state.replace(State::Grafted(session.clone()));
        if let State::Grafted(stale) = before {
            stale.revoke("its epoch has ended");
        }
        self.scope.spawn(expire(session.clone()));
        Ok(session)
    }
}

/// Ends a session with its epoch.
async fn expire(session: Rc<Session>) {
    if let Some(reason) = session.over().await {
        session.end(&reason).await;
    }
}

impl face::Server for Bootstrap {
    async fn graft(
        self: Rc<Self>,
        _params: face::GraftParams,
        mut results: face::GraftResults,
    ) -> capnp::Result<()> {
        let held = self.session()?;
        let mut session = results.get().init_session();
        let mut others = Vec::new();
        for (name, cap) in held.grants() {
            let hook = cap.hook.add_ref();
            match name {
                "host" => session.set_host(FromClientHook::new(hook)),
                "executor" => session.set_executor(FromClientHook::new(hook)),
                "ipfs" => session.set_ipfs(FromClientHook::new(hook)),
                _ => others.push((name, hook)),
            }
        }
        let count = u32::try_from(others.len()).unwrap_or(u32::MAX);
        let mut list = session.reborrow().init_grants(count);
        for (index, (name, hook)) in (0..).zip(others) {
            let mut grant = list.reborrow().get(index);
            grant.set_name(name);
            grant.init_cap().set_as_capability(hook);
        }
        encode(held.epoch(), session.init_epoch());
        Ok(())
    }

    async fn watch(
        self: Rc<Self>,
        params: face::WatchParams,
        mut results: face::WatchResults,
    ) -> capnp::Result<()> {
        let after = params.get()?.get_after_seq();
        let epoch = self.epochs.after(after).await;
        encode(&epoch, results.get().init_epoch());
        Ok(())
    }

    async fn attenuate(
        self: Rc<Self>,
        params: face::AttenuateParams,
        mut results: face::AttenuateResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let methods = params.get_only()?;
        bounded("attenuate: only", methods.len())?;
        let only: BTreeSet<MethodId> = methods
            .iter()
            .map(|method| MethodId {
                interface: method.get_interface(),
                ordinal: method.get_ordinal(),
            })
            .collect();
        let cap = super::given("attenuate: cap", params.get_cap())?;
        let (_, layers) = membrane::peel(cap.hook.add_ref());
        if layers.len() > MAX_LAYERS {
            return Err(Error::overloaded(format!(
                "limit: attenuations: this capability has been narrowed or handed on more than {MAX_LAYERS} times"
            )));
        }
        let place = self.attenuations.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            Error::overloaded(format!(
                "limit: attenuations: {MAX_ATTENUATIONS} capabilities are held narrowed; release one first"
            ))
        })?;
        if let Some(tally) = self.endowment.tally() {
            tally.count_attenuation(&only);
        }
        let policy = attenuation(
            self.endowment.who().clone(),
            only,
            place,
            self.endowment.tally(),
        );
        let membrane = Membrane::new(policy);
        let mut results = results.get();
        results
            .reborrow()
            .init_cap()
            .set_as_capability(membrane.wrap_hook(cap.hook));
        results.set_revoker(super::client(Rc::new(Revoker {
            membrane,
            bootstrap: self.clone(),
        })));
        Ok(())
    }
}

fn encode(epoch: &atom::Epoch, mut into: epoch::Builder<'_>) {
    into.set_seq(epoch.sequence);
    into.set_head(&epoch.head);
    into.set_adopted_block(epoch.adopted_block);
}

/// Takes one narrowed capability back.
struct Revoker {
    membrane: Membrane,
    /// Of the cell that narrowed it.
    bootstrap: Rc<Bootstrap>,
}

impl revoker::Server for Revoker {
    async fn revoke(
        self: Rc<Self>,
        params: revoker::RevokeParams,
        _results: revoker::RevokeResults,
    ) -> capnp::Result<()> {
        let reason = params.get()?.get_reason()?.to_str()?;
        if reason.len() > MAX_REASON_BYTES {
            return Err(Error::failed(format!(
                "revoke: a reason of {} bytes; at most {MAX_REASON_BYTES} are accepted",
                reason.len()
            )));
        }
        if !self.membrane.is_revoked() {
            let reason = format!("revoked: {reason}");
            if let Some(tally) = self.bootstrap.endowment.tally() {
                tally.count_revocation(&reason);
            }
            self.membrane.revoke(Error::disconnected(reason));
        }
        Ok(())
    }
}
