//! The state of one membrane: what it holds, what is under way, and whether it has been revoked.
//!
//! Everything that keeps something of the other side alive is known here by a weak reference, so
//! that revocation can take it out of its owner's hands. No borrow of the state is held while
//! somebody else's code runs: hooks, policies, wakers and destructors may all come back here.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::{Rc, Weak};
use std::task::Waker;

use capnp::Error;
use capnp::private::capability::{ClientHook, PipelineHook, ResponseHook};

use crate::broken;
use crate::calls::Calls;
use crate::flight::Guard;
use crate::policy::{Call, Decision, Direction, Policy};
use crate::reference::{Origin, Reference, ReferenceHook};
use crate::references::References;
use crate::release::release;
use crate::tail::TailCalls;

/// How many resolved promises in a row are looked through when a capability crosses. A longer run
/// is wrapped where it was left, which is right if less direct; a cycle of promises ends here.
const MAX_RESOLVED_HOPS: usize = 64;

/// One boundary. Its address is the brand of the references that cross it.
pub(crate) struct Boundary {
    policy: Rc<dyn Policy>,
    pub(crate) tail_calls: TailCalls,
    state: RefCell<State>,
    /// Whether `state` is open: asked far more often than that is used.
    open: Cell<bool>,
    /// Where a reference introduces itself, while one is asked to: see [`Boundary::reference_behind`].
    introduction: Cell<Introduction>,
}

#[derive(Default)]
enum Introduction {
    #[default]
    NotAsked,
    Asked,
    Made(ReferenceHook),
}

enum State {
    Open(Registry),
    Revoked(Error),
}

#[derive(Default)]
struct Registry {
    calls: Calls,
    references: References,
}

/// What a policy gave to a call that it let through.
#[derive(Default)]
pub(crate) struct Passage {
    /// To be dropped when the call has ended.
    pub(crate) guard: Option<Box<dyn Any>>,
    /// What is called in the place of the target.
    pub(crate) instead: Option<Box<dyn ClientHook>>,
}

/// A capability that has crossed.
pub(crate) enum Carried {
    Wrapped(ReferenceHook),
    /// Bare, because it came home, or broken.
    Other(Box<dyn ClientHook>),
}

impl Carried {
    #[inline]
    pub(crate) fn boxed(self) -> Box<dyn ClientHook> {
        match self {
            Self::Wrapped(reference) => Box::new(reference),
            Self::Other(hook) => hook,
        }
    }
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
    pub(crate) remains: Vec<Remains>,
}

/// One thing that revocation took away.
pub(crate) enum Remains {
    Target(Box<dyn ClientHook>),
    Pipeline(Box<dyn PipelineHook>),
    Response(Box<dyn ResponseHook>),
    Other(Box<dyn Any>),
}

impl Boundary {
    pub(crate) fn new(policy: Rc<dyn Policy>, tail_calls: TailCalls) -> Rc<Self> {
        Rc::new(Self {
            policy,
            tail_calls,
            state: RefCell::new(State::Open(Registry::default())),
            open: Cell::new(true),
            introduction: Cell::default(),
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

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Fails with the reason once revoked.
    #[inline]
    pub(crate) fn open(&self) -> Result<(), Error> {
        if self.is_open() {
            return Ok(());
        }
        Err(self.gone())
    }

    /// Why what was held is not there any more.
    #[cold]
    pub(crate) fn gone(&self) -> Error {
        let reason = self.reason();
        reason.unwrap_or_else(|| Error::disconnected("this was revoked".into()))
    }

    /// Asks the policy about a call, and fails unless it may be made now.
    #[inline]
    pub(crate) fn admit(&self, call: Call) -> Result<Passage, Error> {
        self.open()?;
        let passage = match self.policy.check(call) {
            Decision::Allow => Passage::default(),
            decision => self.passage(decision, call.direction)?,
        };
        // The policy may have revoked.
        self.open()?;
        Ok(passage)
    }

    fn passage(&self, decision: Decision, direction: Direction) -> Result<Passage, Error> {
        Ok(match decision {
            Decision::Refuse(error) => return Err(error),
            Decision::Allow => Passage::default(),
            Decision::AllowWith(guard) => Passage {
                guard: Some(guard),
                instead: None,
            },
            Decision::Replace(instead) => Passage {
                guard: None,
                instead: Some(self.unwrapped(instead, direction)),
            },
            Decision::ReplaceWith(instead, guard) => Passage {
                guard: Some(guard),
                instead: Some(self.unwrapped(instead, direction)),
            },
        })
    }

    /// What is called in the place of a target: a reference of the caller's side is looked behind, so
    /// that nothing crosses twice.
    fn unwrapped(&self, hook: Box<dyn ClientHook>, direction: Direction) -> Box<dyn ClientHook> {
        match self.reference_behind(&*hook, hook.get_brand()) {
            Some(reference) if reference.direction() == direction => reference.bare(),
            _ => hook,
        }
    }

    /// The reference of this boundary that a hook is for, if it is one.
    ///
    /// A hook is only known by what it answers, and its type is not. So one that bears this boundary's
    /// brand is asked what it has resolved to, and [`ReferenceHook`] knows that something else is meant.
    #[inline]
    fn reference_behind(&self, hook: &dyn ClientHook, brand: usize) -> Option<ReferenceHook> {
        if brand != self.brand() {
            return None;
        }
        self.introduction.set(Introduction::Asked);
        let resolved = hook.get_resolved();
        let introduction = self.introduction.take();
        release(resolved);
        match introduction {
            Introduction::Made(reference) => Some(reference),
            Introduction::NotAsked | Introduction::Asked => None,
        }
    }

    /// Whether `reference` was asked to introduce itself, which it then has done.
    pub(crate) fn introduce(&self, reference: &ReferenceHook) -> bool {
        match self.introduction.take() {
            Introduction::Asked => {
                let made = Introduction::Made(reference.clone());
                self.introduction.set(made);
                true
            }
            other => {
                self.introduction.set(other);
                false
            }
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

    /// [`Boundary::carry`], without a box for what may not need one.
    #[inline]
    pub(crate) fn carry_unboxed(
        self: &Rc<Self>,
        hook: Box<dyn ClientHook>,
        travel: Direction,
    ) -> Carried {
        self.carry_with(nearest(hook), travel, Origin::Given)
    }

    /// [`Boundary::carry`] for a capability in the results of a call that may not have ended.
    pub(crate) fn carry_promised(
        self: &Rc<Self>,
        hook: Box<dyn ClientHook>,
        travel: Direction,
        guard: Option<Guard>,
    ) -> Box<dyn ClientHook> {
        self.carry_with(nearest(hook), travel, Origin::Promised(guard))
            .boxed()
    }

    /// [`Boundary::carry`] for a capability that is not to be looked through. Whoever is asked for
    /// one step of a resolution takes one step.
    pub(crate) fn carry_unresolved(
        self: &Rc<Self>,
        hook: Box<dyn ClientHook>,
        travel: Direction,
    ) -> Box<dyn ClientHook> {
        self.carry_with(hook, travel, Origin::Given).boxed()
    }

    #[inline]
    fn carry_with(
        self: &Rc<Self>,
        hook: Box<dyn ClientHook>,
        travel: Direction,
        origin: Origin,
    ) -> Carried {
        let brand = hook.get_brand();
        if let Some(reference) = self.reference_behind(&*hook, brand) {
            // Comes home, or is already what the other side may hold.
            if reference.direction() != travel {
                return Carried::Wrapped(reference);
            }
            // Who holds what a call promises keeps the call going. So that revocation can end it, what is
            // promised by a call that crossed comes home when it is known what it is, and not before.
            if !reference.is_promise() {
                return Carried::Other(reference.bare());
            }
        }
        let target = Target {
            direction: travel.reverse(),
            brand,
            address: hook.get_ptr(),
        };
        match self.reference_to(target, hook, origin) {
            Ok(reference) => Carried::Wrapped(reference),
            Err(reason) => Carried::Other(broken::client(reason)),
        }
    }

    /// The reference that stands for a target. What is not needed for it is dropped when the borrow is over.
    #[inline]
    fn reference_to(
        self: &Rc<Self>,
        target: Target,
        hook: Box<dyn ClientHook>,
        origin: Origin,
    ) -> Result<ReferenceHook, Error> {
        let mut state = self.state.borrow_mut();
        let references = match &mut *state {
            State::Open(open) => &mut open.references,
            State::Revoked(reason) => {
                let reason = reason.clone();
                drop(state);
                release((hook, origin));
                return Err(reason);
            }
        };
        if let Some(reference) = references.get(&target) {
            return Ok(ReferenceHook::of(self, reference));
        }
        let reference = ReferenceHook::new(self, target, hook, origin);
        references.add(target, reference.downgrade());
        Ok(reference)
    }

    /// Forgets a reference that is being dropped.
    #[inline]
    pub(crate) fn forget_reference(&self, target: &Target, reference: &Reference) {
        if let State::Open(open) = &mut *self.state.borrow_mut() {
            open.references.forget(target, reference);
        }
    }

    /// Notes something under way. Returns its place, for [`Boundary::forget_call`].
    // Always, as `forget_call`: they are short, on the path of each call, and not inlined otherwise.
    #[inline(always)]
    pub(crate) fn note_call(&self, call: Weak<dyn Sever>) -> Result<usize, Error> {
        match &mut *self.state.borrow_mut() {
            State::Open(open) => Ok(open.calls.note(call)),
            State::Revoked(reason) => Err(reason.clone()),
        }
    }

    #[inline(always)]
    pub(crate) fn forget_call(&self, place: usize) {
        if let State::Open(open) = &mut *self.state.borrow_mut() {
            open.calls.forget(place);
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
        self.open.set(false);
        let mut severed = Severed::default();
        // Newest first: when a call that others wait behind is dropped, its server starts the next
        // in line, unless that one has been dropped before.
        for call in registry.calls.newest_first() {
            if let Some(call) = call.upgrade() {
                call.sever(&mut severed);
            }
        }
        for reference in registry.references.all() {
            if let Some(reference) = reference.upgrade() {
                reference.sever(&mut severed);
            }
        }
        severed.wakers.into_iter().for_each(Waker::wake);
        for remains in severed.remains {
            match remains {
                Remains::Target(target) => release(target),
                Remains::Pipeline(pipeline) => release(pipeline),
                Remains::Response(response) => release(response),
                Remains::Other(other) => release(other),
            }
        }
    }

    pub(crate) fn live_references(&self) -> usize {
        match &*self.state.borrow() {
            State::Open(open) => open.references.len(),
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
#[inline]
fn nearest(mut hook: Box<dyn ClientHook>) -> Box<dyn ClientHook> {
    for _ in 0..MAX_RESOLVED_HOPS {
        match hook.get_resolved() {
            Some(resolved) => hook = resolved,
            None => break,
        }
    }
    hook
}
