//! Letting go without recursion.
//!
//! A capability may hold another, and that one the next: a peer decides how long such a chain is. What is
//! dropped while something else is being dropped waits until that is done.

use std::any::Any;
use std::cell::{Cell, RefCell};

use crate::panics::caught;

thread_local! {
    static DISCARDING: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Drops a value, and then whatever that drop let go of.
pub(crate) fn discard<T: 'static>(value: T) {
    if DISCARDING.get() {
        let mut waiting = Some(value);
        // On a thread that is ending the list may have gone; then it is dropped here.
        let _ = WAITING.try_with(|list| {
            if let Some(value) = waiting.take() {
                list.borrow_mut().push(Box::new(value));
            }
        });
        return;
    }
    DISCARDING.set(true);
    let _discarding = Discarding;
    // A destructor that panics has not done its work; the others are to do theirs.
    let _ = caught(|| drop(value));
    loop {
        let next = WAITING.try_with(|list| list.borrow_mut().pop());
        match next {
            Ok(Some(next)) => {
                let _ = caught(|| drop(next));
            }
            Ok(None) | Err(_) => break,
        }
    }
}

struct Discarding;

impl Drop for Discarding {
    fn drop(&mut self) {
        DISCARDING.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::discard;

    struct Link(Option<Box<Link>>);

    impl Drop for Link {
        fn drop(&mut self) {
            discard(self.0.take());
        }
    }

    #[test]
    fn a_long_chain_is_dropped_on_a_short_stack() {
        let chain = (0..1_000_000).fold(None, |next, _| Some(Box::new(Link(next))));
        drop(chain);
    }
}
