//! Imports: what this vat holds of the peer's.
//!
//! An import is counted by how often the peer sent it, and released all at once when nobody here holds
//! it any more. An import that is a promise is resolved by the peer, once.

use std::rc::{Rc, Weak};

use capnp::Error;
use capnp::private::capability::ClientHook;

use super::Shared;
use super::capabilities::Descriptor;
use super::ids::ByPeer;
use crate::error::{self, Violation};
use crate::reference::{self, Node, Reference, innermost};
use crate::rpc_capnp::{release, resolve};
use crate::vat;

#[derive(Default)]
pub(super) struct Imports(ByPeer<Entry>);

struct Entry {
    /// How often the peer has sent it.
    references: u32,
    node: Weak<Node>,
    /// What stands for it until the peer resolves it, if it is a promise.
    promise: Option<Weak<Node>>,
}

impl Imports {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Breaks all promises, because the connection has ended.
    pub(super) fn fail(self, reason: &Error) {
        for entry in self.0.into_values() {
            if let Some(promise) = entry.promise.and_then(|promise| promise.upgrade()) {
                reference::resolve(&promise, reference::broken(reason.clone()));
            }
        }
    }

    fn add(
        &mut self,
        connection: Weak<Shared>,
        id: u32,
        is_promise: bool,
    ) -> Result<Rc<Node>, Violation> {
        let entry = self.0.get_or_insert_with(id, || Entry {
            references: 0,
            node: Weak::new(),
            promise: None,
        });
        entry.references = entry
            .references
            .checked_add(1)
            .ok_or(Violation::TooManyReferences(id))?;
        let node = entry.node.upgrade().unwrap_or_else(|| {
            let node = Node::import(connection, id);
            entry.node = Rc::downgrade(&node);
            node
        });
        match &entry.promise {
            Some(promise) => {
                if let Some(promise) = promise.upgrade() {
                    return Ok(promise);
                }
            }
            None if !is_promise => return Ok(node),
            None => {}
        }
        let promise = Node::promise_of(node);
        entry.promise = Some(Rc::downgrade(&promise));
        Ok(promise)
    }
}

impl Shared {
    /// Whether so many more imports may be held.
    pub(super) fn has_room_for(&self, descriptors: &[Descriptor]) -> Result<(), Error> {
        let (held, more) = {
            let imports = &self.tables.borrow().imports.0;
            let ids = descriptors.iter().filter_map(Descriptor::import);
            (
                imports.len(),
                ids.filter(|id| imports.get(*id).is_none()).count(),
            )
        };
        if held.saturating_add(more) > self.limits.imports {
            return Err(Error::overloaded(format!(
                "{held} capabilities are held from the other side; at most {} are",
                self.limits.imports
            )));
        }
        Ok(())
    }

    /// The capabilities that descriptors stand for.
    pub(super) fn import_all(
        self: &Rc<Self>,
        descriptors: Vec<Descriptor>,
    ) -> Result<Vec<Option<Box<dyn ClientHook>>>, Violation> {
        descriptors
            .into_iter()
            .map(|descriptor| self.import(descriptor))
            .collect()
    }

    fn import(
        self: &Rc<Self>,
        descriptor: Descriptor,
    ) -> Result<Option<Box<dyn ClientHook>>, Violation> {
        let mut tables = self.tables.borrow_mut();
        let (id, is_promise) = match descriptor {
            Descriptor::None => return Ok(None),
            Descriptor::SenderHosted(id) => (id, false),
            Descriptor::SenderPromise(id) => (id, true),
            Descriptor::ReceiverHosted(id) => {
                let export = tables.exports.get(id).ok_or(Violation::NoSuchExport(id))?;
                drop(tables);
                return Ok(Some(self.reflect(export.add_ref())));
            }
            Descriptor::ReceiverAnswer(answer, path) => {
                drop(tables);
                return Ok(Some(self.reflect(self.promised(answer, path))));
            }
        };
        let node = tables.imports.add(Rc::downgrade(self), id, is_promise)?;
        Ok(Some(Box::new(Reference(node))))
    }

    /// What the peer calls ours, marked if it is the peer's own after all.
    pub(super) fn reflect(&self, hook: Box<dyn ClientHook>) -> Box<dyn ClientHook> {
        let hook = innermost(hook);
        match self.is_ours(&*hook) {
            true => Box::new(Reference(Node::reflected(hook))),
            false => hook,
        }
    }

    /// Nobody holds an import any more, unless the peer has sent it once more meanwhile.
    pub(super) fn release(self: &Rc<Self>, id: u32) {
        let references = {
            let mut tables = self.tables.borrow_mut();
            match tables.imports.0.get(id) {
                Some(entry) if entry.node.strong_count() == 0 => {}
                _ => return,
            }
            tables.imports.0.remove(id).map(|entry| entry.references)
        };
        if let Some(references) = references {
            self.tell_released(id, references);
        }
    }

    /// Gives back references without having used them.
    pub(super) fn decline(self: &Rc<Self>, descriptors: &[Descriptor]) {
        for id in descriptors.iter().filter_map(Descriptor::import) {
            self.tell_released(id, 1);
        }
    }

    fn tell_released(self: &Rc<Self>, id: u32, references: u32) {
        self.tell(|message| {
            let mut release: release::Builder<'_> = message.init_release();
            release.set_id(id);
            release.set_reference_count(references);
        });
    }

    pub(super) fn on_resolve(
        self: &Rc<Self>,
        resolve: resolve::Reader<'_>,
    ) -> Result<(), Violation> {
        let id = resolve.get_promise_id();
        let to = match resolve.which()? {
            resolve::Exception(exception) => reference::broken(error::read(exception?)),
            resolve::Cap(descriptor) => {
                let descriptor = [Descriptor::read(descriptor?, &self.limits)?];
                match self.has_room_for(&descriptor) {
                    Err(error) => {
                        self.decline(&descriptor);
                        reference::broken(error)
                    }
                    Ok(()) => self
                        .import_all(descriptor.into())?
                        .pop()
                        .flatten()
                        .unwrap_or_else(|| reference::broken(nothing())),
                }
            }
        };
        let promise = match self.tables.borrow().imports.0.get(id) {
            // Released before the peer knew; then what it resolved to is released too.
            None => None,
            Some(entry) => match &entry.promise {
                None => return Err(Violation::NotAPromise(id)),
                Some(promise) => promise.upgrade(),
            },
        };
        match promise {
            Some(promise) => reference::resolve(&promise, to),
            None => vat::discard(to),
        }
        Ok(())
    }
}

fn nothing() -> Error {
    Error::failed("a promise that has resolved to no capability".into())
}
