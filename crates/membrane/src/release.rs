//! Dropping what others own parts of, without recursion and without a borrow.
//!
//! A target dropped by a membrane may hold a reference through another membrane, whose target may
//! hold the next. Dropping such a chain in place takes a stack as deep as the chain is long.
//! Here a few drops run one within another, which is what calls need; for those deeper down the outermost
//! does the work, one after the other, in order.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// How many drops may run one within another before the next has to wait.
const MAX_DEPTH: usize = 8;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Whether anything may be in `WAITING`: asked far more often than that is used.
    static ANY_WAITING: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<VecDeque<Box<dyn Any>>> = const { RefCell::new(VecDeque::new()) };
}

/// Drops `value`: now, or, deep within other releases, before the outermost returns.
#[inline]
pub(crate) fn release<T: 'static>(value: T) {
    DEPTH.with(|level| {
        let depth = level.get();
        if depth >= MAX_DEPTH {
            return postpone(value);
        }
        level.set(depth.saturating_add(1));
        let restored = Restore { level, depth };
        drop(value);
        if depth == 0 && ANY_WAITING.get() {
            drop_waiting();
        }
        drop(restored);
    });
}

#[cold]
fn postpone<T: 'static>(value: T) {
    let mut value = Some(value);
    // While the thread's own storage is being torn down there is no list: it is dropped here.
    let _ = WAITING.try_with(|waiting| {
        if let Some(value) = value.take() {
            waiting.borrow_mut().push_back(Box::new(value));
            ANY_WAITING.set(true);
        }
    });
}

#[cold]
fn drop_waiting() {
    let next = || WAITING.try_with(|waiting| waiting.borrow_mut().pop_front());
    while let Ok(Some(next)) = next() {
        drop(next);
    }
    ANY_WAITING.set(false);
}

/// Restores the depth that was, also when a destructor panicked.
struct Restore<'a> {
    level: &'a Cell<usize>,
    depth: usize,
}

impl Drop for Restore<'_> {
    #[inline]
    fn drop(&mut self) {
        self.level.set(self.depth);
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
