//! What revocation can take out of its holder's hands.

use std::cell::RefCell;

use crate::boundary::Boundary;
use crate::release::release;

/// Something of the other side. It is empty once it has been taken.
pub(crate) struct Held<T: ?Sized + 'static>(RefCell<Option<Box<T>>>);

impl<T: ?Sized + 'static> Held<T> {
    pub(crate) fn empty() -> Self {
        Self(RefCell::new(None))
    }

    /// Fills what is empty.
    #[inline]
    pub(crate) fn set(&mut self, held: Box<T>) {
        *self.0.get_mut() = Some(held);
    }

    #[inline]
    pub(crate) fn fill(&self, held: Box<T>) {
        if let Some(before) = self.0.replace(Some(held)) {
            release(before);
        }
    }

    /// Uses it, unless it has been taken. Where that comes back here and revokes, it cannot be taken
    /// from under the user, and is let go of as soon as the user is done.
    #[inline]
    pub(crate) fn with<R>(&self, boundary: &Boundary, using: impl FnOnce(&T) -> R) -> Option<R> {
        let held = self.0.borrow();
        let result = using(held.as_deref()?);
        drop(held);
        if !boundary.is_open() {
            release(self.take());
        }
        Some(result)
    }

    /// Takes it, unless it is being used.
    #[inline]
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.0.try_borrow_mut().ok()?.take()
    }
}
