//! A capability as the other side of a membrane sees it.
//!
//! A [`Reference`] is one target seen through one boundary; all hooks for it share it, so its
//! address is the wrapped capability's identity. It holds the target until revocation takes it.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

use capnp::capability::{Promise, Request};
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::{Error, MessageSize, any_pointer};

use crate::boundary::{Boundary, Sever, Severed, Target};
use crate::broken;
use crate::flight;
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
    target: RefCell<Option<Rc<dyn ClientHook>>>,
}

impl Reference {
    pub(crate) fn new(
        boundary: Rc<Boundary>,
        identity: Target,
        target: Rc<dyn ClientHook>,
    ) -> Self {
        Self {
            boundary,
            identity,
            target: RefCell::new(Some(target)),
        }
    }

    /// The direction of the calls made through it.
    pub(crate) fn direction(&self) -> Direction {
        self.identity.direction
    }

    /// Its `get_ptr`.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The bare target, or the reason why it is gone.
    pub(crate) fn target(&self) -> Result<Rc<dyn ClientHook>, Error> {
        let target = self.target.borrow().clone();
        match target {
            Some(target) => Ok(target),
            None => Err(self
                .boundary
                .reason()
                .unwrap_or_else(|| Error::disconnected("the capability was revoked".into()))),
        }
    }

    /// Asks the policy. Returns what is to be called, and the call's guard.
    fn admit(&self, interface_id: u64, method_id: u16) -> Result<Admitted, Error> {
        let passage = self.boundary.admit(Call {
            interface_id,
            method_id,
            direction: self.direction(),
        })?;
        let target = match passage.instead {
            Some(instead) => Rc::from(instead),
            None => self.target()?,
        };
        Ok((target, passage.guard))
    }
}

type Admitted = (Rc<dyn ClientHook>, Option<Box<dyn Any>>);

impl Sever for Reference {
    fn sever(&self, severed: &mut Severed) {
        if let Some(target) = self.target.borrow_mut().take() {
            severed.remains.push(Box::new(target));
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.boundary.forget_reference(&self.identity, self);
        release(self.target.take());
    }
}

/// The hook for a [`Reference`].
pub(crate) struct ReferenceHook(pub(crate) Rc<Reference>);

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
            let target = self.0.target()?;
            Ok(target.new_call(interface_id, method_id, size_hint).hook)
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
        let boundary = &self.0.boundary;
        let made = Level::enter(&CALLS).and_then(|_level| {
            let (target, guard) = self.0.admit(interface_id, method_id)?;
            let travel = self.0.direction();
            let params = CarriedParams::new(Rc::clone(boundary), travel, params);
            let (results, fault) =
                CarriedResults::new(Rc::clone(boundary), travel.reverse(), results);
            let promise = target.call(interface_id, method_id, Box::new(params), Box::new(results));
            flight::guard(boundary, promise, guard, move |()| fault.check())
        });
        made.unwrap_or_else(Promise::err)
    }

    fn get_brand(&self) -> usize {
        self.0.boundary.brand()
    }

    fn get_ptr(&self) -> usize {
        self.0.address()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        let _level = Level::enter(&CALLS).ok()?;
        let resolved = self.0.target().ok()?.get_resolved()?;
        let travel = self.0.direction().reverse();
        Some(self.0.boundary.carry_unresolved(resolved, travel))
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        // Some hooks that have resolved wait for ever for it to happen again.
        if let Some(resolved) = self.get_resolved() {
            return Some(Promise::ok(resolved));
        }
        let boundary = &self.0.boundary;
        let asked = Level::enter(&CALLS).and_then(|_level| {
            let Some(promise) = self.0.target()?.when_more_resolved() else {
                return Ok(None);
            };
            let (carrier, travel) = (Rc::clone(boundary), self.0.direction().reverse());
            flight::guard(boundary, promise, None, move |resolved| {
                Ok(carrier.carry_unresolved(resolved, travel))
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
