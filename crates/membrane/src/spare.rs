//! Memory that a thread uses again: one of each kind that a call takes and gives back.
//!
//! Most calls end before the next is made, so one is nearly always enough. What is kept is empty: it
//! holds nothing of either side, so revocation has nothing to find here.

use std::cell::Cell;
use std::rc::Rc;

use capnp::any_pointer;
use capnp::capability::Response;
use capnp::private::capability::ClientHook;
use capnp::private::layout::CapTable;

use crate::flight::Flight;

/// The longest table that is kept: more than a method usually returns.
const MAX_TABLE: usize = 16;

pub(crate) struct Spares {
    table: Cell<CapTable>,
    pub(crate) call: Cell<Option<Rc<Flight<Response<any_pointer::Owned>>>>>,
    pub(crate) arrived: Cell<Option<Rc<Flight<()>>>>,
}

thread_local! {
    static SPARES: Spares = const { Spares {
        table: Cell::new(CapTable::new()),
        call: Cell::new(None),
        arrived: Cell::new(None),
    } };
}

/// Uses the thread's spares: not while it is ending, when there are none.
#[inline]
pub(crate) fn with<R>(using: impl FnOnce(&Spares) -> R) -> Option<R> {
    SPARES.try_with(using).ok()
}

/// A table of one capability.
pub(crate) fn table(cap: Box<dyn ClientHook>) -> CapTable {
    let mut table = with(|spares| spares.table.take()).unwrap_or_default();
    table.push(Some(cap));
    table
}

/// Lets go of the capabilities, and keeps their place.
pub(crate) fn keep_table(mut table: CapTable) {
    table.clear();
    if table.capacity() <= MAX_TABLE {
        with(|spares| spares.table.set(table));
    }
}
