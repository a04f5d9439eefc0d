//! The results of a call before they are there, as the other side sees them.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use capnp::private::capability::{ClientHook, PipelineHook, PipelineOp};

use crate::boundary::{Boundary, Sever, Severed};
use crate::broken;
use crate::nesting::{CALLS, Level};
use crate::policy::Direction;
use crate::release::release;

/// A pipeline whose capabilities are carried across as they are taken from it.
pub(crate) struct CarriedPipeline(Rc<Carried>);

struct Carried {
    boundary: Rc<Boundary>,
    number: u64,
    travel: Direction,
    inner: Rc<Inner>,
}

/// Empty once severed.
struct Inner(RefCell<Option<Rc<dyn PipelineHook>>>);

impl CarriedPipeline {
    /// Fails if the boundary has been revoked.
    pub(crate) fn new(
        boundary: Rc<Boundary>,
        travel: Direction,
        inner: Box<dyn PipelineHook>,
    ) -> Result<Self, Error> {
        let inner = Rc::new(Inner(RefCell::new(Some(Rc::from(inner)))));
        let number = boundary.note_call(Rc::downgrade(&inner) as _)?;
        Ok(Self(Rc::new(Carried {
            boundary,
            number,
            travel,
            inner,
        })))
    }

    fn take_cap(
        &self,
        take: impl FnOnce(&dyn PipelineHook) -> Box<dyn ClientHook>,
    ) -> Box<dyn ClientHook> {
        let inner = self.0.inner.0.borrow().clone();
        let taken = Level::enter(&CALLS).and_then(|_level| {
            self.0.boundary.open()?;
            inner
                .map(|inner| take(&*inner))
                .ok_or_else(|| Error::disconnected("the call was revoked".into()))
        });
        match taken {
            Ok(hook) => self.0.boundary.carry(hook, self.0.travel),
            Err(error) => broken::client(error),
        }
    }
}

impl PipelineHook for CarriedPipeline {
    fn add_ref(&self) -> Box<dyn PipelineHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    fn get_pipelined_cap(&self, ops: &[PipelineOp]) -> Box<dyn ClientHook> {
        self.take_cap(|inner| inner.get_pipelined_cap(ops))
    }

    fn get_pipelined_cap_move(&self, ops: Vec<PipelineOp>) -> Box<dyn ClientHook> {
        self.take_cap(|inner| inner.get_pipelined_cap_move(ops))
    }
}

impl Sever for Inner {
    fn sever(&self, severed: &mut Severed) {
        if let Some(inner) = self.0.borrow_mut().take() {
            severed.remains.push(Box::new(inner));
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.boundary.forget_call(self.number);
        let inner = self.inner.0.borrow_mut().take();
        release(inner);
    }
}
