//! A capability as the other side of a membrane sees it.
//!
//! A [`Reference`] is one target seen through one boundary; all hooks for it share it, so its
//! address is the wrapped capability's identity. It holds the target until revocation takes it.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use capnp::capability::{Promise, Request};
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::{Error, MessageSize, any_pointer};

use crate::boundary::{Boundary, Passage, Remains, Sever, Severed, Target};
use crate::broken;
use crate::flight::{Guard, Share};
use crate::held::Held;
use crate::layers;
use crate::nesting::{Level, Recursion};
use crate::payload::CarriedParams;
use crate::policy::{Call, Direction};
use crate::release::release;
use crate::request::CarriedRequest;
use crate::results::CarriedResults;
use crate::spare;

/// How many times in a row a capability may resolve to another one that is itself a promise before
/// waiting for the end is given up: a cycle of promises has no end.
const MAX_RESOLUTIONS: usize = 1024;

/// Its memory is used again when nobody holds it any more, and is empty until then.
pub(crate) struct Reference {
    identity: Target,
    /// Empty once severed.
    target: Held<dyn ClientHook>,
    /// Whether a call that crossed promised it.
    promised: bool,
    /// Of that call, until it is known what this is.
    guard: Cell<Option<Guard>>,
}

/// Where a capability that crosses comes from.
pub(crate) enum Origin {
    Given,
    /// From the pipeline of a call that crossed the other way, which may have a guard.
    Promised(Option<Guard>),
}

impl Reference {
    fn empty(identity: Target) -> Self {
        Self {
            identity,
            target: Held::empty(),
            promised: false,
            guard: Cell::new(None),
        }
    }

    /// Makes this, which is empty, the reference for a target.
    #[inline]
    fn set(&mut self, identity: Target, target: Box<dyn ClientHook>, origin: Origin) {
        self.identity = identity;
        self.target.set(target);
        let (promised, guard) = match origin {
            Origin::Given => (false, None),
            Origin::Promised(guard) => (true, guard),
        };
        self.promised = promised;
        self.guard.set(guard);
    }

    /// Once it is known what the target is, the call that promised it is over.
    #[inline]
    fn let_go_of_call(&self, target: &dyn ClientHook) {
        if let Some(guard) = self.guard.take() {
            match target.get_resolved() {
                Some(_) => release(guard),
                None => self.guard.set(Some(guard)),
            }
        }
    }
}

impl Sever for Reference {
    fn sever(&self, severed: &mut Severed) {
        severed
            .remains
            .extend(self.target.take().map(Remains::Target));
        let guard = self.guard.take();
        severed
            .remains
            .extend(guard.map(|guard| Remains::Other(Box::new(guard))));
    }
}

/// The hook for a [`Reference`]. All that holds one for longer than a moment is such a hook: the last lets
/// go of the target.
pub(crate) struct ReferenceHook {
    boundary: Rc<Boundary>,
    reference: Rc<Reference>,
}

impl ReferenceHook {
    /// The first hook for a target. Runs nobody else's code.
    #[inline]
    pub(crate) fn new(
        boundary: &Rc<Boundary>,
        identity: Target,
        target: Box<dyn ClientHook>,
        origin: Origin,
    ) -> Self {
        let spare = spare::with(|spares| spares.reference.take()).flatten();
        let mut reference = spare.unwrap_or_else(|| Rc::new(Reference::empty(identity)));
        // Nobody else knows of it.
        if let Some(reference) = Rc::get_mut(&mut reference) {
            reference.set(identity, target, origin);
        }
        Self::of(boundary, reference)
    }

    /// Another hook.
    #[inline]
    pub(crate) fn of(boundary: &Rc<Boundary>, reference: Rc<Reference>) -> Self {
        Self {
            boundary: Rc::clone(boundary),
            reference,
        }
    }

    /// For the boundary, which finds it when it is to be severed.
    #[inline]
    pub(crate) fn downgrade(&self) -> Weak<Reference> {
        Rc::downgrade(&self.reference)
    }

    /// Whether a call that crossed promised it, and it is not known yet what it is.
    pub(crate) fn is_promise(&self) -> bool {
        let unresolved = |target: &dyn ClientHook| target.when_more_resolved().is_some();
        self.reference.promised
            && self
                .with_target(|target| unresolved(target))
                .unwrap_or(false)
    }

    /// The boundary that it crosses.
    pub(crate) fn boundary(&self) -> &Rc<Boundary> {
        &self.boundary
    }

    /// The direction of the calls made through it.
    #[inline]
    pub(crate) fn direction(&self) -> Direction {
        self.reference.identity.direction
    }

    /// The bare target, or what says why it is gone.
    pub(crate) fn bare(&self) -> Box<dyn ClientHook> {
        self.with_target(|target| target.add_ref())
            .unwrap_or_else(broken::client)
    }

    /// Uses the bare target. Fails with the reason if it is gone.
    #[inline]
    fn with_target<R>(
        &self,
        using: impl FnOnce(&(dyn ClientHook + 'static)) -> R,
    ) -> Result<R, Error> {
        let result = self.reference.target.with(&self.boundary, |target| {
            self.reference.let_go_of_call(target);
            using(target)
        });
        result.ok_or_else(|| self.boundary.gone())
    }
}

impl Clone for ReferenceHook {
    #[inline]
    fn clone(&self) -> Self {
        Self::of(&self.boundary, Rc::clone(&self.reference))
    }
}

impl Drop for ReferenceHook {
    fn drop(&mut self) {
        let reference = &self.reference;
        if Rc::strong_count(reference) > 1 {
            return;
        }
        self.boundary
            .forget_reference(&reference.identity, reference);
        if let Some(target) = reference.target.take() {
            release(target);
        }
        if let Some(guard) = reference.guard.take() {
            release(guard);
        }
        if Rc::weak_count(reference) == 0 {
            spare::with(|spares| spares.reference.set(Some(Rc::clone(reference))));
        }
    }
}

impl ReferenceHook {
    fn try_call(
        &self,
        interface_id: u64,
        method_id: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Result<Promise<(), Error>, Error> {
        let _level = Level::enter(Recursion::Calls)?;
        let (boundary, direction) = (&self.boundary, self.direction());
        let Passage { guard, instead } = boundary.admit(Call {
            interface_id,
            method_id,
            direction,
        })?;
        let travel = direction.reverse();
        let flight = Share::begin(Rc::clone(boundary), travel, guard)?;
        let params = CarriedParams::new(Rc::clone(boundary), direction, params);
        let results = CarriedResults::new(Rc::clone(boundary), travel, results, flight.downgrade());
        let call = |target: &(dyn ClientHook + 'static)| {
            target.call(interface_id, method_id, Box::new(params), Box::new(results))
        };
        let promise = match instead {
            Some(instead) => call(&*instead),
            None => self.with_target(call)?,
        };
        flight.run(promise, |flight, ()| flight.check_fault())
    }
}

impl ClientHook for ReferenceHook {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(self.clone())
    }

    fn new_call(
        &self,
        interface_id: u64,
        method_id: u16,
        size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        let made = Level::enter(Recursion::Calls).and_then(|_level| {
            self.with_target(|target| target.new_call(interface_id, method_id, size_hint).hook)
        });
        match made {
            Ok(inner) => Request::new(CarriedRequest::boxed(
                &self.boundary,
                Call {
                    interface_id,
                    method_id,
                    direction: self.direction(),
                },
                inner,
            )),
            Err(error) => broken::request(error, size_hint),
        }
    }

    fn call(
        &self,
        interface_id: u64,
        method_id: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        self.try_call(interface_id, method_id, params, results)
            .unwrap_or_else(Promise::err)
    }

    fn get_brand(&self) -> usize {
        self.boundary.brand()
    }

    fn get_ptr(&self) -> usize {
        Rc::as_ptr(&self.reference).addr()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        if self.boundary.introduce(self) || layers::introduce(self) {
            return None;
        }
        let _level = Level::enter(Recursion::Calls).ok()?;
        let resolved = self.with_target(|target| target.get_resolved()).ok()??;
        let travel = self.direction().reverse();
        Some(self.boundary.carry_unresolved(resolved, travel))
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        // Some hooks that have resolved wait for ever for it to happen again.
        if let Some(resolved) = self.get_resolved() {
            return Some(Promise::ok(resolved));
        }
        let asked = Level::enter(Recursion::Calls).and_then(|_level| {
            let Some(promise) = self.with_target(|target| target.when_more_resolved())? else {
                return Ok(None);
            };
            Share::begin(Rc::clone(&self.boundary), self.direction().reverse(), None)?
                .run(promise, |flight, resolved| {
                    Ok(flight.boundary.carry_unresolved(resolved, flight.travel()))
                })
                .map(Some)
        });
        asked.unwrap_or_else(|error| Some(Promise::err(error)))
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        let mut hook = self.add_ref();
        Promise::from_future(async move {
            for _ in 0..MAX_RESOLUTIONS {
                match hook.when_more_resolved() {
                    Some(promise) => hook = promise.await?,
                    None => return Ok(()),
                }
            }
            Err(Error::failed(format!(
                "the capability resolved {MAX_RESOLUTIONS} times without end"
            )))
        })
    }
}
