//! Entries under numbers that the peer chooses.
//!
//! Peers choose small ones, as the protocol advises, and those are found by their place. Whoever chooses
//! others pays for a hash of each, and cannot choose which of them collide.

use std::collections::HashMap;

/// Numbers below this are places in an array, which is as long as the largest of them needs.
const SMALL: u32 = 64;

/// Entries under numbers that the peer chooses.
pub(super) struct ByPeer<T> {
    small: Vec<Option<T>>,
    large: HashMap<u32, T>,
    length: usize,
}

impl<T> Default for ByPeer<T> {
    fn default() -> Self {
        Self {
            small: Vec::new(),
            large: HashMap::new(),
            length: 0,
        }
    }
}

impl<T> ByPeer<T> {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        match place(id) {
            Some(place) => self.small.get(place)?.as_ref(),
            None => self.large.get(&id),
        }
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        match place(id) {
            Some(place) => self.small.get_mut(place)?.as_mut(),
            None => self.large.get_mut(&id),
        }
    }

    /// The entry under a number; a new one, if there is none.
    pub(super) fn get_or_insert_with(&mut self, id: u32, entry: impl FnOnce() -> T) -> &mut T {
        let length = &mut self.length;
        let entry = || {
            *length += 1;
            entry()
        };
        if let Some(place) = place(id) {
            if self.small.len() <= place {
                self.small.resize_with(place + 1, || None);
            }
            if let Some(place) = self.small.get_mut(place) {
                return place.get_or_insert_with(entry);
            }
        }
        self.large.entry(id).or_insert_with(entry)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<T> {
        let removed = match place(id) {
            Some(place) => self.small.get_mut(place)?.take(),
            None => self.large.remove(&id),
        };
        if removed.is_some() {
            self.length -= 1;
        }
        removed
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.small
            .into_iter()
            .flatten()
            .chain(self.large.into_values())
    }
}

fn place(id: u32) -> Option<usize> {
    (id < SMALL).then_some(usize::try_from(id).ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::ByPeer;

    proptest! {
        #[test]
        fn small_and_large_numbers_are_kept_alike(
            steps in prop::collection::vec((0u32..130, any::<bool>(), any::<u8>()), 0..200),
        ) {
            let (mut entries, mut model) = (ByPeer::default(), HashMap::new());
            for (id, add, entry) in steps {
                match add {
                    true => prop_assert_eq!(
                        entries.get_or_insert_with(id, || entry),
                        model.entry(id).or_insert(entry)
                    ),
                    false => prop_assert_eq!(entries.remove(id), model.remove(&id)),
                }
                prop_assert_eq!(entries.len(), model.len());
                prop_assert_eq!(entries.get(id), model.get(&id));
                prop_assert_eq!(entries.get_mut(id), model.get_mut(&id));
            }
            let mut left: Vec<u8> = entries.into_values().collect();
            let mut expected: Vec<u8> = model.into_values().collect();
            left.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(left, expected);
        }
    }
}
