//! Those who wait for something to happen, perhaps again and again.

use std::task::{Context, Waker};

use slab::Slab;

/// Wakers, one for each future that waits.
#[derive(Default)]
pub(crate) struct Waiters {
    wakers: Slab<Waker>,
    /// How often all have been woken: places from before are others' now.
    round: u64,
}

/// A future's place among the [`Waiters`]; kept by the future.
#[derive(Default)]
pub(crate) struct Place(Option<(u64, usize)>);

impl Waiters {
    /// Remembers to wake whoever polls.
    pub(crate) fn register(&mut self, place: &mut Place, context: &Context<'_>) {
        let known = place.0.filter(|(round, _)| *round == self.round);
        match known.and_then(|(_, key)| self.wakers.get_mut(key)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => place.0 = Some((self.round, self.wakers.insert(context.waker().clone()))),
        }
    }

    /// Forgets a future that is dropped.
    pub(crate) fn forget(&mut self, place: &mut Place) {
        if let Some((round, key)) = place.0.take()
            && round == self.round
        {
            self.wakers.try_remove(key);
        }
    }

    /// Takes all wakers, to be woken when nothing is borrowed any more.
    pub(crate) fn take(&mut self) -> Woken {
        self.round = self.round.wrapping_add(1);
        Woken(std::mem::take(&mut self.wakers))
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

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};

    use super::{Place, Waiters};

    struct Idle;

    impl Wake for Idle {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_place_from_before_takes_nobody_elses() {
        let (first, second) = (Arc::new(Idle), Arc::new(Idle));
        let wakers = [Waker::from(first.clone()), Waker::from(second.clone())];
        let contexts = wakers.each_ref().map(Context::from_waker);
        let mut waiters = Waiters::default();
        let (mut early, mut late) = (Place::default(), Place::default());
        waiters.register(&mut early, &contexts[0]);
        waiters.take().wake();
        waiters.register(&mut late, &contexts[1]);
        waiters.register(&mut early, &contexts[0]);
        assert_eq!(waiters.wakers.len(), 2);
        waiters.take().wake();
        waiters.register(&mut late, &contexts[1]);
        waiters.forget(&mut early);
        assert_eq!(waiters.wakers.len(), 1);
    }
}
