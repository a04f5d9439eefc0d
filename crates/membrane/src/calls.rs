//! What is under way through one boundary, so that revocation finds it.

use std::rc::Weak;

use crate::boundary::Sever;

/// Places that are kept for later when nothing is under way any more.
const SPARE_PLACES: usize = 64;

#[derive(Default)]
pub(crate) struct Calls {
    places: Vec<Place>,
    /// The first of the free places, each of which names the next.
    free: Option<usize>,
    live: usize,
    /// Counts calls, so that it is known which is newer.
    next_number: u64,
}

enum Place {
    Free(Option<usize>),
    Taken { number: u64, call: Weak<dyn Sever> },
}

impl Calls {
    /// Notes a call. Returns its place, for [`Calls::forget`].
    #[inline]
    pub(crate) fn note(&mut self, call: Weak<dyn Sever>) -> usize {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.live = self.live.saturating_add(1);
        let taken = Place::Taken { number, call };
        match self
            .free
            .and_then(|free| Some((free, self.places.get_mut(free)?)))
        {
            Some((free, place)) => {
                if let Place::Free(next) = std::mem::replace(place, taken) {
                    self.free = next;
                }
                free
            }
            None => {
                self.places.push(taken);
                self.places.len().saturating_sub(1)
            }
        }
    }

    #[inline]
    pub(crate) fn forget(&mut self, number: usize) {
        let Some(place) = self.places.get_mut(number) else {
            return;
        };
        *place = Place::Free(self.free.replace(number));
        self.live = self.live.saturating_sub(1);
        if self.live == 0 && self.places.capacity() > SPARE_PLACES {
            self.places = Vec::new();
            self.free = None;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn newest_first(self) -> impl Iterator<Item = Weak<dyn Sever>> {
        let mut taken: Vec<_> = self
            .places
            .into_iter()
            .filter_map(|place| match place {
                Place::Free(_) => None,
                Place::Taken { number, call } => Some((number, call)),
            })
            .collect();
        taken.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        taken.into_iter().map(|(_, call)| call)
    }
}
