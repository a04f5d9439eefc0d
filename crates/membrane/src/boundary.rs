//! The state of one membrane: what it holds, what is under way, and whether it has been revoked.
//!
//! Everything that keeps something of the other side alive is known here by a weak reference, so
//! that revocation can take it out of its owner's hands. No borrow of the state is held while
//! somebody else's code runs: hooks, policies, wakers and destructors may all come back here.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::rc::{Rc, Weak};
use std::task::Waker;

use capnp::Error;
use capnp::private::capability::ClientHook;

use crate::broken;
use crate::policy::{Call, Decision, Direction, Policy};
use crate::reference::{Reference, ReferenceHook};
use crate::release::release;

/// How many resolved promises in a row are looked through when a capability crosses. A longer run
/// is wrapped where it was left, which is right if less direct; a cycle of promises ends here.
const MAX_RESOLVED_HOPS: usize = 64;

/// One boundary. Its address is the brand of the references that cross it.
pub(crate) struct Boundary {
    policy: Rc<dyn Policy>,
    state: RefCell<State>,
}

enum State {
    Open(Registry),
    Revoked(Error),
}

#[derive(Default)]
struct Registry {
    /// What is under way, in the order in which it began.
    calls: BTreeMap<u64, Weak<dyn Sever>>,
    next_call: u64,
    /// The reference that stands for a target, so that one target is one reference.
    by_target: HashMap<Target, Weak<Reference>>,
    /// The reference with a given `get_ptr`, so that it can be unwrapped.
    by_address: HashMap<usize, Weak<Reference>>,
}

/// What a policy gave to a call that it let through.
#[derive(Default)]
pub(crate) struct Passage {
    /// To be dropped when the call has ended.
    pub(crate) guard: Option<Box<dyn Any>>,
    /// What is called in the place of the target.
    pub(crate) instead: Option<Box<dyn ClientHook>>,
}

/// A capability's identity as the hooks define it, and the way in which calls reach it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) direction: Direction,
    brand: usize,
    address: usize,
}

/// Something that keeps an object of the other side alive, until it is severed.
pub(crate) trait Sever {
    /// Gives up what it holds. Runs nobody else's code.
    fn sever(&self, severed: &mut Severed);
}

/// What revocation took away: to be woken, then dropped.
#[derive(Default)]
pub(crate) struct Severed {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) remains: Vec<Box<dyn Any>>,
}

impl Boundary {
    pub(crate) fn new(policy: Rc<dyn Policy>) -> Rc<Self> {
        Rc::new(Self {
            policy,
            state: RefCell::new(State::Open(Registry::default())),
        })
    }

    pub(crate) fn brand(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Why the boundary was revoked, if it was.
    pub(crate) fn reason(&self) -> Option<Error> {
        match &*self.state.borrow() {
            State::Open(_) => None,
            State::Revoked(reason) => Some(reason.clone()),
        }
    }

    /// Fails with the reason once revoked.
    pub(crate) fn open(&self) -> Result<(), Error> {
        self.reason().map_or(Ok(()), Err)
    }

    /// Asks the policy about a call, and fails unless it may be made now.
    pub(crate) fn admit(&self, call: Call) -> Result<Passage, Error> {
        self.open()?;
        let passage = match self.policy.check(call) {
            Decision::Refuse(error) => return Err(error),
            Decision::Allow => Passage::default(),
            Decision::AllowWith(guard) => Passage {
                guard: Some(guard),
                instead: None,
            },
            Decision::Replace(instead) => Passage {
                guard: None,
                instead: Some(self.unwrapped(instead, call.direction)),
            },
            Decision::ReplaceWith(instead, guard) => Passage {
                guard: Some(guard),
                instead: Some(self.unwrapped(instead, call.direction)),
            },
        };
        // The policy may have revoked.
        self.open()?;
        Ok(passage)
    }

    /// What is called in the place of a target: a reference of the caller's side is looked behind, so
    /// that nothing crosses twice.
    fn unwrapped(&self, hook: Box<dyn ClientHook>, direction: Direction) -> Box<dyn ClientHook> {
        if hook.get_brand() != self.brand() {
            return hook;
        }
        let address = hook.get_ptr();
        match self.find(|open| open.by_address.get(&address).cloned()) {
            Some(reference) if reference.direction() == direction => match reference.target() {
                Ok(target) => target.add_ref(),
                Err(reason) => broken::client(reason),
            },
            _ => hook,
        }
    }

    /// Takes a capability across: what was a reference to it on one side becomes one on the other.
    pub(crate) fn carry(
        self: &Rc<Self>,
        hook: Box<dyn ClientHook>,
        travel: Direction,
    ) -> Box<dyn ClientHook> {
        self.carry_unresolved(nearest(hook), travel)
    }

    /// [`Boundary::carry`] for a capability that is not to be looked through. Whoever is asked for
    /// one step of a resolution takes one step.
    pub(crate) fn carry_unresolved(
        self: &Rc<Self>,
        hook: Box<dyn ClientHook>,
        travel: Direction,
    ) -> Box<dyn ClientHook> {
        let (brand, address) = (hook.get_brand(), hook.get_ptr());
        if brand == self.brand()
            && let Some(reference) = self.find(|open| open.by_address.get(&address).cloned())
        {
            // Comes home, or is already what the other side may hold.
            if reference.direction() != travel {
                return Box::new(ReferenceHook(reference));
            }
            return match reference.target() {
                Ok(target) => target.add_ref(),
                Err(reason) => broken::client(reason),
            };
        }
        let target = Target {
            direction: travel.reverse(),
            brand,
            address,
        };
        if let Some(reference) = self.find(|open| open.by_target.get(&target).cloned()) {
            return Box::new(ReferenceHook(reference));
        }
        let reference = Rc::new(Reference::new(Rc::clone(self), target, Rc::from(hook)));
        let revoked = match &mut *self.state.borrow_mut() {
            State::Open(open) => {
                let weak = Rc::downgrade(&reference);
                open.by_address.insert(reference.address(), weak.clone());
                open.by_target.insert(target, weak);
                None
            }
            State::Revoked(reason) => Some(reason.clone()),
        };
        match revoked {
            None => Box::new(ReferenceHook(reference)),
            Some(reason) => broken::client(reason),
        }
    }

    fn find(
        &self,
        look: impl FnOnce(&Registry) -> Option<Weak<Reference>>,
    ) -> Option<Rc<Reference>> {
        match &*self.state.borrow() {
            State::Open(open) => look(open)?.upgrade(),
            State::Revoked(_) => None,
        }
    }

    /// Forgets a reference that is being dropped.
    pub(crate) fn forget_reference(&self, target: &Target, reference: &Reference) {
        if let State::Open(open) = &mut *self.state.borrow_mut() {
            open.by_address.remove(&reference.address());
            let is_this = |held: &Weak<Reference>| std::ptr::eq(held.as_ptr(), reference);
            if open.by_target.get(target).is_some_and(is_this) {
                open.by_target.remove(target);
            }
        }
    }

    /// Notes something under way. Returns its number, for [`Boundary::forget_call`].
    pub(crate) fn note_call(&self, call: Weak<dyn Sever>) -> Result<u64, Error> {
        match &mut *self.state.borrow_mut() {
            State::Open(open) => {
                let number = open.next_call;
                open.next_call = number.wrapping_add(1);
                open.calls.insert(number, call);
                Ok(number)
            }
            State::Revoked(reason) => Err(reason.clone()),
        }
    }

    pub(crate) fn forget_call(&self, number: u64) {
        if let State::Open(open) = &mut *self.state.borrow_mut() {
            open.calls.remove(&number);
        }
    }

    pub(crate) fn revoke(&self, reason: Error) {
        let registry = match &mut *self.state.borrow_mut() {
            State::Revoked(_) => return,
            state @ State::Open(_) => match mem::replace(state, State::Revoked(reason)) {
                State::Open(registry) => registry,
                State::Revoked(_) => return,
            },
        };
        let mut severed = Severed::default();
        // Newest first: when a call that others wait behind is dropped, its server starts the next
        // in line, unless that one has been dropped before.
        for call in registry.calls.into_values().rev() {
            if let Some(call) = call.upgrade() {
                call.sever(&mut severed);
            }
        }
        for reference in registry.by_address.into_values() {
            if let Some(reference) = reference.upgrade() {
                reference.sever(&mut severed);
            }
        }
        severed.wakers.into_iter().for_each(Waker::wake);
        severed.remains.into_iter().for_each(release);
    }

    pub(crate) fn live_references(&self) -> usize {
        match &*self.state.borrow() {
            State::Open(open) => open.by_address.len(),
            State::Revoked(_) => 0,
        }
    }

    pub(crate) fn live_calls(&self) -> usize {
        match &*self.state.borrow() {
            State::Open(open) => open.calls.len(),
            State::Revoked(_) => 0,
        }
    }
}

/// Looks through promises that have resolved.
fn nearest(mut hook: Box<dyn ClientHook>) -> Box<dyn ClientHook> {
    for _ in 0..MAX_RESOLVED_HOPS {
        match hook.get_resolved() {
            Some(resolved) => hook = resolved,
            None => break,
        }
    }
    hook
}
