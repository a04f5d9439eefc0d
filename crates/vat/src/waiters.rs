//! Those who wait for something that happens once.

use std::task::{Context, Waker};

use slab::Slab;

/// Wakers, one for each future that waits.
#[derive(Default)]
pub(crate) struct Waiters(Slab<Waker>);

/// A future's place among the [`Waiters`]; kept by the future.
#[derive(Default)]
pub(crate) struct Place(Option<usize>);

impl Waiters {
    /// Remembers to wake whoever polls.
    pub(crate) fn register(&mut self, place: &mut Place, context: &Context<'_>) {
        match place.0.and_then(|key| self.0.get_mut(key)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => place.0 = Some(self.0.insert(context.waker().clone())),
        }
    }

    /// Forgets a future that is dropped.
    pub(crate) fn forget(&mut self, place: &mut Place) {
        if let Some(key) = place.0.take() {
            self.0.try_remove(key);
        }
    }

    /// Takes all wakers, to be woken when nothing is borrowed any more.
    pub(crate) fn take(&mut self) -> Woken {
        Woken(std::mem::take(&mut self.0))
    }
}

/// Wakers that have been taken out.
#[must_use]
pub(crate) struct Woken(Slab<Waker>);

impl Woken {
    pub(crate) fn wake(self) {
        for (_, waker) in self.0 {
            waker.wake();
        }
    }
}
