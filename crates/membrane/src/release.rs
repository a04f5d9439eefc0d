//! Dropping what others own parts of, without recursion and without a borrow.
//!
//! A target dropped by a membrane may hold a reference through another membrane, whose target may
//! hold the next. Dropping such a chain in place takes a stack as deep as the chain is long.
//! Here the outermost drop does the work of those within it, one after the other, in order.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

struct Yard {
    busy: Cell<bool>,
    waiting: RefCell<VecDeque<Box<dyn Any>>>,
}

thread_local! {
    static YARD: Yard = const {
        Yard {
            busy: Cell::new(false),
            waiting: RefCell::new(VecDeque::new()),
        }
    };
}

/// Drops `value`: now, or, within another release, before that one returns.
pub(crate) fn release<T: 'static>(value: T) {
    let mut value = Some(value);
    let nested = YARD.try_with(|yard| {
        let nested = yard.busy.replace(true);
        if nested && let Some(value) = value.take() {
            yard.waiting.borrow_mut().push_back(Box::new(value));
        }
        nested
    });
    // While the thread's own storage is being torn down there is no yard: drop in place.
    let outermost = matches!(nested, Ok(false)).then(|| Outermost);
    drop(value);
    if outermost.is_some() {
        while let Some(next) = next() {
            drop(next);
        }
    }
}

fn next() -> Option<Box<dyn Any>> {
    YARD.try_with(|yard| yard.waiting.borrow_mut().pop_front())
        .ok()
        .flatten()
}

/// Ends the outermost release, also when a destructor panicked.
struct Outermost;

impl Drop for Outermost {
    fn drop(&mut self) {
        let _ = YARD.try_with(|yard| yard.busy.set(false));
    }
}

#[cfg(test)]
mod tests {
    use super::release;

    struct Link(Option<Box<Link>>);

    impl Drop for Link {
        fn drop(&mut self) {
            release(self.0.take());
        }
    }

    #[test]
    fn a_chain_of_a_million_links_is_dropped_on_a_small_stack() {
        let mut chain = Link(None);
        for _ in 0..1_000_000 {
            chain = Link(Some(Box::new(chain)));
        }
        drop(chain);
    }
}
