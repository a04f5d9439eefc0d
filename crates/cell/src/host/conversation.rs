//! The guest's end of its conversation, whichever package it takes it through.
//!
//! The conversation is taken once, by whichever package asks first. What the guest sends is checked
//! to be correctly framed messages of the allowed size before the recipient sees a byte of it, and
//! the recipient sees it before the guest's call returns.

use crate::control::Shared;
use crate::queue::{ReadEnd, Watch};
use crate::recipient::{Closed, Recipient};
use fragile::Fragile;
use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The conversation of one cell, until the guest takes it.
pub(crate) struct Conversation {
    ends: Option<(ReadEnd, Outgoing)>,
}

impl Conversation {
    /// What is received from `incoming` and said to `recipient`, in messages of at most
    /// `message_bytes`, on the thread that calls this and on no other.
    pub(crate) fn new(
        incoming: ReadEnd,
        recipient: Box<dyn Recipient>,
        message_bytes: usize,
        shared: Arc<Shared>,
    ) -> Self {
        let outgoing = Outgoing {
            recipient: Fragile::new(RefCell::new(Some(recipient))),
            incoming: incoming.watch(),
            message_bytes,
            shared,
        };
        Self {
            ends: Some((incoming, outgoing)),
        }
    }

    pub(super) fn take(&mut self) -> Option<(ReadEnd, Outgoing)> {
        self.ends.take()
    }
}

/// The way from a guest to its recipient.
///
/// A store and all that is in it has to be `Send`, and a recipient is not. The wrapper around it
/// compares threads at each use, so that nothing here rests on an argument about who runs where;
/// the argument that no comparison ever fails is that the future which owns the store is not `Send`
/// ([`Cell::run`](crate::Cell::run) sees to that). Its destructor would panic on a wrong thread, which
/// the same argument excludes.
pub(super) struct Outgoing {
    /// `None` once it has said that it is closed.
    recipient: Fragile<RefCell<Option<Box<dyn Recipient>>>>,
    /// Whether there is something for the guest to receive.
    incoming: Watch,
    message_bytes: usize,
    shared: Arc<Shared>,
}

impl Outgoing {
    /// The largest message, in bytes.
    pub(super) fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Hands over one message that has been checked.
    ///
    /// # Errors
    /// [`Killed`](crate::control::Killed), which is not the guest's to handle, before or after the
    /// message was handed over.
    pub(super) fn deliver(&self, message: &[u8]) -> wasmtime::Result<Result<(), Closed>> {
        self.shared.check_alive()?;
        let delivered = match self.with(|recipient| recipient.deliver(message)) {
            Some(Ok(())) => Ok(()),
            Some(Err(Closed)) => {
                self.close();
                Err(Closed)
            }
            None => Err(Closed),
        };
        self.shared.check_alive()?;
        Ok(delivered)
    }

    /// Waits while the guest is to be held back: until the recipient has room or is closed, or there
    /// is something for the guest to receive.
    pub(super) fn poll_free(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.with(|recipient| recipient.poll_room(cx)) {
            None | Some(Poll::Ready(())) => Poll::Ready(()),
            Some(Poll::Pending) => self.incoming.poll_readable(cx),
        }
    }

    /// Whether the guest need not be held back now.
    pub(super) fn is_free(&self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.poll_free(&mut nobody).is_ready()
    }

    /// `None` when there is no recipient: it is closed, or not for this thread, or in a call already.
    fn with<T>(&self, call: impl FnOnce(&mut dyn Recipient) -> T) -> Option<T> {
        let recipient = self.recipient.try_get().ok()?;
        let mut recipient = recipient.try_borrow_mut().ok()?;
        Some(call(recipient.as_deref_mut()?))
    }

    fn close(&self) {
        let gone = self
            .recipient
            .try_get()
            .ok()
            .and_then(|recipient| recipient.try_borrow_mut().ok()?.take());
        // No borrow is held any more while it is dropped.
        drop(gone);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::queue::queue;
    use std::rc::Rc;

    struct Counts(Rc<std::cell::Cell<u32>>);

    impl Recipient for Counts {
        fn deliver(&mut self, _: &[u8]) -> Result<(), Closed> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }

        fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    #[test]
    fn a_recipient_is_closed_to_every_thread_but_its_own() {
        let (_to_guest, incoming) = queue(100, 100);
        let count = Rc::new(std::cell::Cell::new(0));
        let recipient = Box::new(Counts(count.clone()));
        let shared = Arc::new(Shared::new(false, crate::Budget::default()));
        let mut conversation = Conversation::new(incoming, recipient, 100, shared);
        let (_incoming, outgoing) = conversation.take().unwrap();
        assert!(!outgoing.is_free());
        std::thread::scope(|threads| {
            let elsewhere = threads.spawn(|| {
                assert_eq!(outgoing.deliver(&[]).unwrap(), Err(Closed));
                assert!(outgoing.is_free());
            });
            elsewhere.join().unwrap();
        });
        assert_eq!(count.get(), 0);
        assert_eq!(outgoing.deliver(&[]).unwrap(), Ok(()));
        assert_eq!(count.get(), 1);
    }
}
