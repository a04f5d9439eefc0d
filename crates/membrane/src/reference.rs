//! A capability as the other side of a membrane sees it.
//!
//! A [`Reference`] is one target seen through one boundary; all hooks for it share it, so its
//! address is the wrapped capability's identity. It holds the target until revocation takes it.

use std::cell::Cell;
use std::rc::Rc;

use capnp::capability::{Promise, Request};
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::{Error, MessageSize, any_pointer};

use crate::boundary::{Boundary, Passage, Remains, Sever, Severed, Target};
use crate::broken;
use crate::flight::{Guard, Share};
use crate::held::Held;
use crate::layers;
use crate::nesting::{CALLS, Level};
use crate::payload::CarriedParams;
use crate::policy::{Call, Direction};
use crate::release::release;
use crate::request::CarriedRequest;
use crate::results::CarriedResults;

/// How many times in a row a capability may resolve to another one that is itself a promise before
/// waiting for the end is given up: a cycle of promises has no end.
const MAX_RESOLUTIONS: usize = 1024;

pub(crate) struct Reference {
    boundary: Rc<Boundary>,
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
    pub(crate) fn new(
        boundary: Rc<Boundary>,
        identity: Target,
        target: Box<dyn ClientHook>,
        origin: Origin,
    ) -> Self {
        let (promised, guard) = match origin {
            Origin::Given => (false, None),
            Origin::Promised(guard) => (true, guard),
        };
        Self {
            boundary,
            identity,
            target: Held::new(target),
            promised,
            guard: Cell::new(guard),
        }
    }

    /// Whether a call that crossed promised it, and it is not known yet what it is.
    pub(crate) fn is_promise(&self) -> bool {
        let unresolved = |target: &dyn ClientHook| target.when_more_resolved().is_some();
        self.promised
            && self
                .with_target(|target| unresolved(target))
                .unwrap_or(false)
    }

    /// The boundary that it crosses.
    pub(crate) fn boundary(&self) -> &Rc<Boundary> {
        &self.boundary
    }

    /// The direction of the calls made through it.
    pub(crate) fn direction(&self) -> Direction {
        self.identity.direction
    }

    /// Its `get_ptr`.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The bare target, or what says why it is gone.
    pub(crate) fn bare(&self) -> Box<dyn ClientHook> {
        self.with_target(|target| target.add_ref())
            .unwrap_or_else(broken::client)
    }

    /// Uses the bare target. Fails with the reason if it is gone.
    fn with_target<R>(
        &self,
        using: impl FnOnce(&(dyn ClientHook + 'static)) -> R,
    ) -> Result<R, Error> {
        let result = self.target.with(&self.boundary, |target| {
            self.let_go_of_call(target);
            using(target)
        });
        result.ok_or_else(|| self.boundary.gone())
    }

    /// Once it is known what the target is, the call that promised it is over.
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

impl Drop for Reference {
    fn drop(&mut self) {
        self.boundary.forget_reference(&self.identity, self);
        if let Some(target) = self.target.take() {
            release(target);
        }
        if let Some(guard) = self.guard.take() {
            release(guard);
        }
    }
}

/// The hook for a [`Reference`].
pub(crate) struct ReferenceHook(pub(crate) Rc<Reference>);

impl ReferenceHook {
    fn try_call(
        &self,
        interface_id: u64,
        method_id: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Result<Promise<(), Error>, Error> {
        let _level = Level::enter(&CALLS)?;
        let (boundary, direction) = (&self.0.boundary, self.0.direction());
        let Passage { guard, instead } = boundary.admit(Call {
            interface_id,
            method_id,
            direction,
        })?;
        let travel = direction.reverse();
        let flight = Share::begin(boundary, travel, guard)?;
        let params = CarriedParams::new(Rc::clone(boundary), direction, params);
        let results = CarriedResults::new(Rc::clone(boundary), travel, results, flight.downgrade());
        let call = |target: &(dyn ClientHook + 'static)| {
            target.call(interface_id, method_id, Box::new(params), Box::new(results))
        };
        let promise = match instead {
            Some(instead) => call(&*instead),
            None => self.0.with_target(call)?,
        };
        flight.run(promise, |flight, ()| flight.check_fault())
    }
}

impl ClientHook for ReferenceHook {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    fn new_call(
        &self,
        interface_id: u64,
        method_id: u16,
        size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        let made = Level::enter(&CALLS).and_then(|_level| {
            self.0
                .with_target(|target| target.new_call(interface_id, method_id, size_hint).hook)
        });
        match made {
            Ok(inner) => Request::new(Box::new(CarriedRequest::new(
                Rc::clone(&self.0.boundary),
                Call {
                    interface_id,
                    method_id,
                    direction: self.0.direction(),
                },
                inner,
            ))),
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
        self.0.boundary.brand()
    }

    fn get_ptr(&self) -> usize {
        self.0.address()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        if self.0.boundary.introduce(&self.0) || layers::introduce(&self.0) {
            return None;
        }
        let _level = Level::enter(&CALLS).ok()?;
        let resolved = self.0.with_target(|target| target.get_resolved()).ok()??;
        let travel = self.0.direction().reverse();
        Some(self.0.boundary.carry_unresolved(resolved, travel))
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        // Some hooks that have resolved wait for ever for it to happen again.
        if let Some(resolved) = self.get_resolved() {
            return Some(Promise::ok(resolved));
        }
        let asked = Level::enter(&CALLS).and_then(|_level| {
            let Some(promise) = self.0.with_target(|target| target.when_more_resolved())? else {
                return Ok(None);
            };
            Share::begin(&self.0.boundary, self.0.direction().reverse(), None)?
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
