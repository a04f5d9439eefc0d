//! Recipients for what guests say: none, a closure, and an inbox with a bound.

use cell::{Closed, Recipient};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A recipient that takes nothing.
pub struct Nobody;

impl Recipient for Nobody {
    fn deliver(&mut self, _: &[u8]) -> Result<(), Closed> {
        Err(Closed)
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A recipient that does what a closure says and always has room.
pub fn does(f: impl FnMut(&[u8]) -> Result<(), Closed> + 'static) -> impl Recipient {
    Does(f)
}

struct Does<F>(F);

impl<F: FnMut(&[u8]) -> Result<(), Closed> + 'static> Recipient for Does<F> {
    fn deliver(&mut self, message: &[u8]) -> Result<(), Closed> {
        (self.0)(message)
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A recipient that puts what it gets into an inbox, with room while there are fewer than `room`
/// messages in it.
pub fn inbox(room: usize) -> (Outbox, Inbox) {
    let letters = Rc::new(RefCell::new(Letters {
        room,
        ..Letters::default()
    }));
    (Outbox(letters.clone()), Inbox(letters))
}

#[derive(Default)]
struct Letters {
    messages: VecDeque<Vec<u8>>,
    room: usize,
    outbox_gone: bool,
    inbox_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

pub struct Outbox(Rc<RefCell<Letters>>);

impl Recipient for Outbox {
    fn deliver(&mut self, message: &[u8]) -> Result<(), Closed> {
        let mut letters = self.0.borrow_mut();
        if letters.inbox_gone {
            return Err(Closed);
        }
        letters.messages.push_back(message.to_vec());
        wake(letters.reader.take());
        Ok(())
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut letters = self.0.borrow_mut();
        if letters.messages.len() < letters.room || letters.inbox_gone {
            return Poll::Ready(());
        }
        letters.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut letters = self.0.borrow_mut();
        letters.outbox_gone = true;
        wake(letters.reader.take());
    }
}

pub struct Inbox(Rc<RefCell<Letters>>);

impl Inbox {
    /// The next message; `None` when there will be none.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        poll_fn(|cx| {
            let mut letters = self.0.borrow_mut();
            if let Some(message) = letters.messages.pop_front() {
                wake(letters.writer.take());
                return Poll::Ready(Some(message));
            }
            if letters.outbox_gone {
                return Poll::Ready(None);
            }
            letters.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Messages that are there.
    pub fn len(&self) -> usize {
        self.0.borrow().messages.len()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut letters = self.0.borrow_mut();
        letters.inbox_gone = true;
        wake(letters.writer.take());
    }
}
