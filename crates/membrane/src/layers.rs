//! The membranes around a capability, taken off and put on again.
//!
//! Whoever owns an object may find it again behind the membranes that it was handed on through, and put
//! another one in its place: everything that guards the one then guards the other. This is for the owner's
//! side only; nothing that crosses a membrane can do it.

use std::cell::Cell;
use std::rc::Rc;

use capnp::private::capability::ClientHook;

use crate::boundary::Boundary;
use crate::nesting::MAX_NESTING;
use crate::policy::Direction;
use crate::reference::ReferenceHook;
use crate::release::release;

/// The membranes that were around a capability, outermost first.
pub struct Layers(Vec<(Rc<Boundary>, Direction)>);

thread_local! {
    /// Where a reference introduces itself, while whatever is there is asked to.
    static INTRODUCTION: Cell<Introduction> = const { Cell::new(Introduction::NotAsked) };
}

#[derive(Default)]
enum Introduction {
    #[default]
    NotAsked,
    Asked,
    Made(ReferenceHook),
}

/// Whether `reference` was asked to introduce itself, which it then has done.
pub(crate) fn introduce(reference: &ReferenceHook) -> bool {
    INTRODUCTION.with(|introduction| match introduction.take() {
        Introduction::Asked => {
            introduction.set(Introduction::Made(reference.clone()));
            true
        }
        other => {
            introduction.set(other);
            false
        }
    })
}

/// What is behind the membranes around a capability, and the membranes. Promises that have resolved are
/// looked through. At most [`MAX_NESTING`] layers are taken off; what is left is then still wrapped.
///
/// Calls on the bare capability pass no policy, and no revocation ends them.
pub fn peel(mut hook: Box<dyn ClientHook>) -> (Box<dyn ClientHook>, Layers) {
    let mut layers = Vec::new();
    for _ in 0..MAX_NESTING {
        INTRODUCTION.set(Introduction::Asked);
        let resolved = hook.get_resolved();
        match (INTRODUCTION.take(), resolved) {
            (Introduction::Made(reference), resolved) => {
                release(resolved);
                layers.push((Rc::clone(reference.boundary()), reference.direction()));
                hook = reference.bare();
            }
            (_, Some(resolved)) => hook = resolved,
            (_, None) => break,
        }
    }
    (hook, Layers(layers))
}

impl Layers {
    /// A capability behind the same membranes.
    pub fn restore(&self, inside: Box<dyn ClientHook>) -> Box<dyn ClientHook> {
        let layers = self.0.iter().rev();
        layers.fold(inside, |hook, (boundary, direction)| {
            boundary.carry_unresolved(hook, direction.reverse())
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the capability was bare.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use capnp::Error;

    use super::peel;
    use crate::{AllowAll, Membrane, broken};

    fn thing() -> Box<dyn capnp::private::capability::ClientHook> {
        broken::client(Error::failed("a thing".into()))
    }

    #[test]
    fn what_is_peeled_and_restored_is_what_it_was() {
        let (inner, outer) = (
            Membrane::new(Rc::new(AllowAll)),
            Membrane::new(Rc::new(AllowAll)),
        );
        let bare = thing();
        let wrapped = outer.wrap_hook(inner.wrap_hook(bare.add_ref()));
        let (peeled, layers) = peel(wrapped.add_ref());
        assert_eq!(layers.len(), 2);
        assert_eq!(peeled.get_ptr(), bare.get_ptr());
        assert_eq!(layers.restore(peeled).get_ptr(), wrapped.get_ptr());
    }

    #[test]
    fn another_in_its_place_is_guarded_by_the_same_membranes() {
        let membrane = Membrane::new(Rc::new(AllowAll));
        let (_, layers) = peel(membrane.wrap_hook(thing()));
        let other = thing();
        let restored = layers.restore(other.add_ref());
        assert_ne!(restored.get_ptr(), other.get_ptr());
        assert_eq!(membrane.live_references(), 1);
        membrane.revoke(Error::disconnected("over".into()));
        let called = restored.new_call(0, 0, None).send().promise;
        let failed = futures::executor::block_on(called).err();
        assert!(failed.is_some_and(|error| error.extra.contains("over")));
    }

    #[test]
    fn a_bare_capability_has_no_layers() {
        let bare = thing();
        let (peeled, layers) = peel(bare.add_ref());
        assert!(layers.is_empty());
        assert_eq!(peeled.get_ptr(), bare.get_ptr());
    }
}
