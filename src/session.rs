//! A session: what one cell holds for one epoch, and the one stroke that takes it back.
//!
//! Each grant is a capability behind a membrane of its own. Whatever a cell does with them (programs that it
//! runs, capabilities that it hands on) belongs to the session, and ends when the session does: at
//! the end of its epoch, or of the cell.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use capnp::Error;
use capnp::capability::Client;
use membrane::Membrane;

use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Tally};
use crate::bounds::Bounded;
use crate::cells::Cells;
use crate::epoch::Term;
use crate::grants::{Allowed, Grant, GrantPolicy, GrantedBy, Grants, Who};
use crate::ipfs::{Added, Ipfs, Scope as ContentScope};
use crate::programs::Programs;
use crate::rpc;
use crate::rpc::executor::{Executor, Principal};
use crate::rpc::host::Host;
use crate::rpc::ipfs::Holder;
use crate::tenure::Shared;
use crate::vats::{Scope, Spawner};

/// What a cell has, on the way to its vat.
pub struct Possessions {
    /// The cell.
    pub who: Who,
    /// What it may use.
    pub bounded: Bounded,
    /// What it was granted.
    pub grants: Grants,
    /// Below which directory the cells that it spawns may have their `/tmp`.
    pub scratch: Option<Arc<Path>>,
}

/// What a cell was granted, as it has arrived on its vat: what each of its sessions is made from.
pub struct Endowment {
    who: Who,
    bounded: Bounded,
    scratch: Option<Arc<Path>>,
    held: Vec<Held>,
    by: GrantedBy,
    programs: Option<Programs>,
    cells: Cells,
    audit: Option<(Audit, Rc<Tally>)>,
}

struct Held {
    name: Arc<str>,
    source: Source,
    only: Option<Rc<Allowed>>,
}

enum Source {
    /// Each session has its own face of the node and of what runs programs, because what is done with them
    /// ends with the session.
    Host(swarm::Handle),
    Executor,
    Ipfs {
        node: Arc<Ipfs>,
        scope: ContentScope,
        /// What was added, in all of the cell's sessions: it stays where it is.
        added: Arc<Added>,
    },
    Cap(Client),
}

impl Endowment {
    /// Takes grants in on the cell's vat. `scope` is the cell's.
    pub fn new(possessions: Possessions, cells: Cells, scope: &Spawner) -> Self {
        let Possessions {
            who,
            bounded,
            grants,
            scratch,
        } = possessions;
        let (named, by, programs) = grants.into_parts();
        let audit = cells.audit().cloned().map(|audit| {
            let tally = Rc::new(Tally::new(audit.clone(), who.clone()));
            (audit, tally)
        });
        let held = named.into_iter().map(|named| Held {
            name: named.name,
            source: match named.grant {
                Grant::Host(swarm) => Source::Host(swarm),
                Grant::Executor => Source::Executor,
                Grant::Ipfs(node, scope) => Source::Ipfs {
                    node,
                    scope,
                    added: Arc::new(Added::new(&bounded.budget)),
                },
                Grant::Cap(export) => Source::Cap(export.import(scope)),
            },
            only: named.only.map(Rc::new),
        });
        let endowment = Self {
            held: held.collect(),
            who,
            bounded,
            scratch,
            by,
            programs,
            cells,
            audit,
        };
        endowment.tell_grants();
        endowment
    }

    fn tell_grants(&self) {
        if let Some((audit, _)) = &self.audit {
            for held in &self.held {
                let only = held.only.as_deref().map(Allowed::named);
                audit.granted(&self.who, &held.name, only);
            }
        }
    }

    /// The cell.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// What counts the cell's uses, if anything does.
    pub fn tally(&self) -> Option<Rc<Tally>> {
        self.audit.as_ref().map(|(_, tally)| tally.clone())
    }

    /// Tells the audit, if there is one, that it has been taken back.
    pub fn tell_revoked(&self, reason: &str) {
        if let Some((audit, tally)) = &self.audit {
            tally.tell();
            audit.revoked(&self.who, reason);
        }
    }

    /// The session for an epoch.
    pub fn session(&self, term: Term) -> Session {
        let scope = Scope::default();
        let children = Shared::default();
        let executor = Executor::client(Principal {
            cells: self.cells.clone(),
            bounded: self.bounded.clone(),
            spawner: scope.spawner(),
            programs: self.programs.clone(),
            scratch: self.scratch.clone(),
            children: children.clone(),
        });
        let granted = self.held.iter().map(|held| {
            let cap = match &held.source {
                Source::Host(swarm) => Host::client(swarm.clone(), executor.clone()).client,
                Source::Executor => executor.clone().client,
                Source::Ipfs {
                    node,
                    scope: held,
                    added,
                } => {
                    let holder = Holder {
                        budget: self.bounded.budget.clone(),
                        added: added.clone(),
                        spawner: scope.spawner(),
                    };
                    rpc::ipfs::client(node.clone(), held.clone(), holder).client
                }
                Source::Cap(cap) => cap.clone(),
            };
            let membrane = Membrane::new(Rc::new(GrantPolicy {
                who: self.who.clone(),
                name: held.name.clone(),
                only: held.only.clone(),
                by: self.by,
                tally: self.audit.as_ref().map(|(_, tally)| tally.clone()),
            }));
            Granted {
                name: held.name.clone(),
                cap: Client::new(membrane.wrap_hook(cap.hook)),
                membrane,
            }
        });
        let granted = granted.collect();
        Session {
            epoch: term.epoch.clone(),
            granted,
            belongings: RefCell::new(Some(Belongings {
                scope,
                children,
                term,
            })),
            gone: CancellationToken::new(),
        }
    }
}

/// What one cell holds for one epoch.
pub struct Session {
    epoch: Arc<atom::Epoch>,
    granted: Vec<Granted>,
    /// `None` once it has ended.
    belongings: RefCell<Option<Belongings>>,
    /// Whether nothing of it is left.
    gone: CancellationToken,
}

struct Granted {
    name: Arc<str>,
    cap: Client,
    membrane: Membrane,
}

/// What ends with a session.
struct Belongings {
    scope: Scope,
    children: Shared,
    term: Term,
}

impl Session {
    /// The epoch that it is for.
    pub fn epoch(&self) -> &atom::Epoch {
        &self.epoch
    }

    /// What it holds, by name.
    pub fn grants(&self) -> impl Iterator<Item = (&str, &Client)> {
        self.granted
            .iter()
            .map(|granted| (&*granted.name, &granted.cap))
    }

    /// Whether its epoch is in force, and it has not been ended.
    pub fn is_good(&self) -> bool {
        match &*self.belongings.borrow() {
            Some(belongings) => !belongings.term.tenant.is_over(),
            None => false,
        }
    }

    /// Waits until its epoch is over. Returns why, or `None` if it has been ended otherwise.
    pub async fn over(&self) -> Option<String> {
        let tenant = match &*self.belongings.borrow() {
            Some(belongings) => belongings.term.tenant.clone(),
            None => return None,
        };
        Some(tenant.over().await.to_owned())
    }

    /// Takes everything back at once: when this returns no call that was made through it is under way, and
    /// none will start. The rest of what belongs to it goes in [`Session::end`].
    pub fn revoke(&self, reason: &str) {
        for granted in &self.granted {
            granted
                .membrane
                .revoke(Error::disconnected(reason.to_owned()));
        }
        if let Some(belongings) = &*self.belongings.borrow() {
            belongings.children.end(reason);
        }
    }

    /// Takes everything back, and returns once nothing of it is left: neither tasks nor cells. The first reason
    /// stands; whoever comes second waits for the first.
    pub async fn end(&self, reason: &str) {
        self.revoke(reason);
        let belongings = self.belongings.borrow_mut().take();
        let Some(belongings) = belongings else {
            return self.gone.cancelled().await;
        };
        belongings.scope.shutdown().await;
        belongings.children.vacant().await;
        drop(belongings.term);
        self.gone.cancel();
    }
}
