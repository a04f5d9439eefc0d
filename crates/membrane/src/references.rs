//! What one boundary holds: for each target the reference that stands for it, so that there is but one.
//!
//! What a call returns is often used for another call and let go of. So the newest reference is not in the
//! map: it gets there when another one becomes the newest before it is gone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::{Rc, Weak};

use crate::boundary::Target;
use crate::reference::Reference;

#[derive(Default)]
pub(crate) struct References {
    newest: Option<(Target, Weak<Reference>)>,
    others: HashMap<Target, Weak<Reference>, Addresses>,
}

impl References {
    #[inline]
    pub(crate) fn get(&self, target: &Target) -> Option<Rc<Reference>> {
        if let Some((newest, reference)) = &self.newest
            && newest == target
        {
            return reference.upgrade();
        }
        self.others.get(target)?.upgrade()
    }

    /// Adds a reference for a target that has none.
    #[inline]
    pub(crate) fn add(&mut self, target: Target, reference: Weak<Reference>) {
        if let Some((target, reference)) = self.newest.replace((target, reference)) {
            self.others.insert(target, reference);
        }
    }

    /// Forgets a reference, if it is the one for the target.
    #[inline]
    pub(crate) fn forget(&mut self, target: &Target, reference: &Reference) {
        let is_this = |held: &Weak<Reference>| std::ptr::eq(held.as_ptr(), reference);
        if let Some((_, newest)) = &self.newest
            && is_this(newest)
        {
            self.newest = None;
        } else if let Entry::Occupied(held) = self.others.entry(*target)
            && is_this(held.get())
        {
            held.remove();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.others.len() + usize::from(self.newest.is_some())
    }

    pub(crate) fn all(self) -> impl Iterator<Item = Weak<Reference>> {
        let newest = self.newest.map(|(_, reference)| reference);
        self.others.into_values().chain(newest)
    }
}

/// Hashes addresses, which nobody chooses: the multiplication spreads them upwards, the rotation back.
#[derive(Default)]
struct AddressHasher(u64);

type Addresses = BuildHasherDefault<AddressHasher>;

/// 2⁶⁴ divided by the golden ratio: neighbours end up far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}
