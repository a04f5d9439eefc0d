//! Memory that a thread uses again: one of each kind that a call takes and gives back.
//!
//! Most calls end before the next is made, so one is nearly always enough. What is kept is empty: it
//! holds nothing of either side, so revocation has nothing to find here.

use std::cell::Cell;
use std::rc::Rc;

use capnp::any_pointer;
use capnp::capability::Response;

use crate::flight::Flight;
use crate::lent::Lendable;
use crate::reference::Reference;
use crate::request::CarriedRequest;

pub(crate) struct Spares {
    pub(crate) request: Cell<Option<Box<CarriedRequest>>>,
    pub(crate) reference: Cell<Option<Rc<Reference>>>,
    pub(crate) lendable: Cell<Option<Rc<Lendable>>>,
    pub(crate) call: Cell<Option<Rc<Flight<Response<any_pointer::Owned>>>>>,
    pub(crate) arrived: Cell<Option<Rc<Flight<()>>>>,
}

thread_local! {
    static SPARES: Spares = const { Spares {
        request: Cell::new(None),
        reference: Cell::new(None),
        lendable: Cell::new(None),
        call: Cell::new(None),
        arrived: Cell::new(None),
    } };
}

/// Uses the thread's spares: not while it is ending, when there are none.
#[inline]
pub(crate) fn with<R>(using: impl FnOnce(&Spares) -> R) -> Option<R> {
    SPARES.try_with(using).ok()
}
