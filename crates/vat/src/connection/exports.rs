//! Exports: what the peer holds of ours.
//!
//! An export is an object or a promise, counted by how often it was sent. The same capability sent twice
//! is the same export. A promise is followed by one `Resolve`; from then on what is addressed to it goes
//! to what the peer was told, and nowhere else, even if that resolves further (the rule against
//! Tribble's four-way race).

use std::collections::HashMap;
use std::rc::Rc;

use capnp::Error;
use capnp::capability::Promise;
use capnp::private::capability::ClientHook;
use slab::Slab;

use super::Shared;
use crate::error::{self, Violation};
use crate::limits::Limits;
use crate::reference::{self, innermost};
use crate::rpc_capnp::release;
use crate::vat::{self, TaskId};

/// How a hook is known again: its brand and its address. The table holds the hook, so that the address
/// stays its own.
type Identity = (usize, usize);

#[derive(Default)]
pub(super) struct Exports {
    entries: Slab<Export>,
    by_identity: HashMap<Identity, u32>,
    next_serial: u64,
}

struct Export {
    hook: Rc<dyn ClientHook>,
    identity: Identity,
    references: u32,
    serial: u64,
    /// Whether a `Resolve` is to follow.
    is_promise: bool,
    /// The task that waits for that.
    watch: Option<TaskId>,
}

/// A promise that the peer has just been given.
pub(super) struct Fresh {
    id: u32,
    serial: u64,
    resolution: Promise<Box<dyn ClientHook>, Error>,
}

impl Exports {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What an export is.
    pub(super) fn get(&self, id: u32) -> Option<Rc<dyn ClientHook>> {
        Some(Rc::clone(
            &self.entries.get(usize::try_from(id).ok()?)?.hook,
        ))
    }

    /// Counts one more reference of the peer's. `resolution` is there if the capability is a promise.
    /// Returns the id, whether it is a promise, and the promise if the peer did not know it.
    pub(super) fn add(
        &mut self,
        hook: &dyn ClientHook,
        resolution: Option<Promise<Box<dyn ClientHook>, Error>>,
        limits: &Limits,
    ) -> Result<(u32, bool, Option<Fresh>), Error> {
        let identity = (hook.get_brand(), hook.get_ptr());
        if let Some(id) = self.by_identity.get(&identity)
            && let Some(export) = self
                .entries
                .get_mut(usize::try_from(*id).unwrap_or(usize::MAX))
            && let Some(references) = export.references.checked_add(1)
        {
            export.references = references;
            return Ok((*id, export.is_promise, None));
        }
        if self.entries.len() >= limits.exports {
            return Err(Error::overloaded(format!(
                "{} capabilities are held by the other side, and it may not hold more",
                limits.exports
            )));
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let key = self.entries.insert(Export {
            hook: Rc::from(hook.add_ref()),
            identity,
            references: 1,
            serial,
            is_promise: resolution.is_some(),
            watch: None,
        });
        let id = u32::try_from(key).unwrap_or(u32::MAX);
        self.by_identity.insert(identity, id);
        let is_promise = resolution.is_some();
        let fresh = resolution.map(|resolution| Fresh {
            id,
            serial,
            resolution,
        });
        Ok((id, is_promise, fresh))
    }

    /// Takes references away. Returns what is to be let go of.
    pub(super) fn release(&mut self, id: u32, count: u32) -> Result<Option<Released>, Violation> {
        let key = usize::try_from(id).unwrap_or(usize::MAX);
        let export = self
            .entries
            .get_mut(key)
            .ok_or(Violation::NoSuchExport(id))?;
        let Some(left) = export.references.checked_sub(count) else {
            return Err(Violation::ReleasedTooOften {
                id,
                count,
                held: export.references,
            });
        };
        export.references = left;
        if left > 0 {
            return Ok(None);
        }
        let export = self.entries.remove(key);
        if self.by_identity.get(&export.identity) == Some(&id) {
            self.by_identity.remove(&export.identity);
        }
        Ok(Some(Released {
            _hook: export.hook,
            watch: export.watch,
        }))
    }

    /// Takes back references that were counted for a message that was not sent.
    pub(super) fn take_back(&mut self, ids: &[u32]) -> Vec<Released> {
        ids.iter()
            .filter_map(|id| self.release(*id, 1).ok().flatten())
            .collect()
    }

    fn watched(&mut self, id: u32, serial: u64) -> Option<&mut Export> {
        let export = self.entries.get_mut(usize::try_from(id).ok()?)?;
        (export.serial == serial).then_some(export)
    }

    /// Replaces a promise by what the peer is told that it is.
    fn resolve(
        &mut self,
        id: u32,
        serial: u64,
        hook: Rc<dyn ClientHook>,
    ) -> Option<Rc<dyn ClientHook>> {
        let export = self.watched(id, serial)?;
        export.is_promise = false;
        export.watch = None;
        let before = std::mem::replace(&mut export.hook, hook);
        let identity = export.identity;
        // The peer is not sent this id again: it is the promise's.
        if self.by_identity.get(&identity) == Some(&id) {
            self.by_identity.remove(&identity);
        }
        Some(before)
    }

    /// Ends the tasks that wait for promises.
    pub(super) fn unwatch(&self) {
        for (_, export) in &self.entries {
            if let Some(watch) = export.watch {
                vat::cancel(watch);
            }
        }
    }
}

/// An export that the peer has let go of. To be dropped when nothing is borrowed.
pub(super) struct Released {
    _hook: Rc<dyn ClientHook>,
    watch: Option<TaskId>,
}

impl Drop for Released {
    fn drop(&mut self) {
        if let Some(watch) = self.watch {
            vat::cancel(watch);
        }
    }
}

impl Shared {
    pub(super) fn on_release(&self, release: release::Reader<'_>) -> Result<(), Violation> {
        let (id, count) = (release.get_id(), release.get_reference_count());
        let released = self.tables.borrow_mut().exports.release(id, count)?;
        vat::discard(released);
        Ok(())
    }

    /// Waits for promises that the peer has just been given.
    pub(super) fn watch(self: &Rc<Self>, fresh: Vec<Fresh>) {
        for Fresh {
            id,
            serial,
            resolution,
        } in fresh
        {
            let connection = Rc::downgrade(self);
            let task = vat::spawn(async move {
                let resolved = resolution.await;
                if let Some(connection) = connection.upgrade() {
                    connection.resolve_export(id, serial, resolved);
                }
            });
            let mut tables = self.tables.borrow_mut();
            if let Some(export) = tables.exports.watched(id, serial) {
                export.watch = task;
            }
        }
    }

    fn resolve_export(
        self: &Rc<Self>,
        id: u32,
        serial: u64,
        resolved: Result<Box<dyn ClientHook>, Error>,
    ) {
        let resolved = match resolved {
            Ok(hook) => Ok(innermost(hook)),
            Err(error) => Err(error),
        };
        let resolved = match resolved {
            Ok(hook) if !self.is_ours(&*hook) => match hook.when_more_resolved() {
                // A promise for a promise is one promise, as far as the peer is concerned.
                Some(resolution) => {
                    return self.watch(vec![Fresh {
                        id,
                        serial,
                        resolution,
                    }]);
                }
                None => Ok(hook),
            },
            resolved => resolved,
        };
        match resolved {
            Ok(hook) if reference::is_broken(&*hook) => self.break_later(id, serial, hook),
            Ok(hook) => self.send_resolve(id, serial, hook),
            Err(error) => self.break_export(id, serial, error),
        }
    }

    /// A broken capability says why when it is asked.
    fn break_later(self: &Rc<Self>, id: u32, serial: u64, hook: Box<dyn ClientHook>) {
        let connection = Rc::downgrade(self);
        vat::spawn(async move {
            let reason = hook.when_resolved().await;
            if let (Some(connection), Err(error)) = (connection.upgrade(), reason) {
                connection.break_export(id, serial, error);
            }
        });
    }

    fn send_resolve(self: &Rc<Self>, id: u32, serial: u64, hook: Box<dyn ClientHook>) {
        let mut described = vec![self.describe(Some(&*hook))];
        let registered = {
            let mut tables = self.tables.borrow_mut();
            if tables.exports.watched(id, serial).is_none() {
                return;
            }
            tables.register(&mut described, &self.limits)
        };
        let registered = match registered {
            Ok(registered) => registered,
            Err(unregistered) => {
                return self.break_export(id, serial, unregistered.into_error());
            }
        };
        let Some(described) = described.pop() else {
            return;
        };
        self.tell(|message| {
            let mut resolve = message.init_resolve();
            resolve.set_promise_id(id);
            described.write(resolve.init_cap());
        });
        if let Some(pinned) = described.into_pinned() {
            let before = self
                .tables
                .borrow_mut()
                .exports
                .resolve(id, serial, Rc::from(pinned));
            vat::discard(before);
        }
        self.watch(registered.fresh);
    }

    fn break_export(self: &Rc<Self>, id: u32, serial: u64, error: Error) {
        let broken = Rc::from(reference::broken(error.clone()));
        let before = self.tables.borrow_mut().exports.resolve(id, serial, broken);
        if before.is_some() {
            self.tell(|message| {
                let mut resolve = message.init_resolve();
                resolve.set_promise_id(id);
                error::write(&error, resolve.init_exception());
            });
        }
        vat::discard(before);
    }
}
