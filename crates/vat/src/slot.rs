//! Calls that wait for their target: on a promise, or behind a call that holds its object up.
//!
//! A [`Backlog`] keeps them in order. Whoever made such a call holds its [`Parked`] future, which is the
//! call: dropping it takes the call out. A call may move to another backlog, when a promise resolves to
//! a promise; that adds nothing to the depth of any stack.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use capnp::Error;
use capnp::capability::Promise;
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};

use crate::local::Local;
use crate::outcome::{self, Outcome};
use crate::panics::caught;
use crate::vat;

/// Calls that may wait in one backlog. Those of a peer are bounded before by its
/// [`answers`](crate::Limits::answers); this is for what the host's own programs do.
pub const MAX_PARKED: usize = 16 << 10;

/// A call that has a target but has not reached it.
pub(crate) struct Call {
    pub(crate) interface_id: u64,
    pub(crate) method_id: u16,
    pub(crate) params: Box<dyn ParamsHook>,
    pub(crate) results: Box<dyn ResultsHook>,
}

impl Call {
    fn make(self, target: &dyn ClientHook) -> Promise<(), Error> {
        target.call(self.interface_id, self.method_id, self.params, self.results)
    }
}

/// Calls that wait for one thing, in the order in which they were made.
#[derive(Clone, Default)]
pub(crate) struct Backlog(Rc<RefCell<Entries>>);

#[derive(Default)]
struct Entries {
    calls: BTreeMap<u64, Entry>,
    next: u64,
}

/// A call in a backlog.
pub(crate) struct Entry {
    call: Call,
    slot: Weak<Slot>,
    /// What becomes of it, if that is known.
    outcome: Weak<Outcome>,
}

/// Where a parked call is.
struct Slot(RefCell<State>);

enum State {
    /// In a backlog, which `_keep` keeps from being forgotten.
    Waiting {
        backlog: Weak<RefCell<Entries>>,
        number: u64,
        _keep: Rc<dyn Any>,
        waker: Option<Waker>,
    },
    /// Taken out of its backlog, about to begin.
    Leaving(Option<Waker>),
    Running(Promise<(), Error>),
    Ended(Result<(), Error>),
    Told,
}

impl Backlog {
    /// Adds a call. `keep` is what will make it go on: it lives as long as the call waits.
    pub(crate) fn park(&self, call: Call, keep: Rc<dyn Any>) -> Promise<(), Error> {
        if self.0.borrow().calls.len() >= MAX_PARKED {
            return Promise::err(Error::overloaded(format!(
                "{MAX_PARKED} calls wait for this capability already"
            )));
        }
        let slot = Rc::new(Slot(RefCell::new(State::Told)));
        let entry = Entry {
            call,
            slot: Rc::downgrade(&slot),
            outcome: outcome::being_made(),
        };
        self.add(entry, keep, None);
        Promise::from_future(Parked(slot))
    }

    /// Adds a call that waited elsewhere.
    pub(crate) fn adopt(&self, entry: Entry, keep: Rc<dyn Any>) {
        let waker = entry.slot.upgrade().and_then(|slot| slot.waker());
        self.add(entry, keep, waker);
    }

    fn add(&self, entry: Entry, keep: Rc<dyn Any>, waker: Option<Waker>) {
        let Some(slot) = entry.slot.upgrade() else {
            return vat::discard((entry.call.params, entry.call.results));
        };
        let mut entries = self.0.borrow_mut();
        let number = entries.next;
        entries.next = number.wrapping_add(1);
        entries.calls.insert(number, entry);
        let before = slot.0.replace(State::Waiting {
            backlog: Rc::downgrade(&self.0),
            number,
            _keep: keep,
            waker,
        });
        drop(entries);
        vat::discard(before);
    }

    /// Takes the first call out.
    pub(crate) fn pop(&self) -> Option<Entry> {
        let (_, entry) = self.0.borrow_mut().calls.pop_first()?;
        entry.leave();
        Some(entry)
    }
}

impl Entry {
    /// What becomes of the call, if that is known.
    pub(crate) fn outcome(&self) -> Option<Rc<Outcome>> {
        self.outcome.upgrade()
    }

    /// Fails the call.
    pub(crate) fn fail(self, error: Error) {
        if let Some(slot) = self.slot.upgrade() {
            slot.begin(Promise::err(error));
        }
        vat::discard((self.call.params, self.call.results));
    }

    fn leave(&self) {
        if let Some(slot) = self.slot.upgrade() {
            let waker = slot.waker();
            let before = slot.0.replace(State::Leaving(waker));
            vat::discard(before);
        }
    }
}

impl Slot {
    fn waker(&self) -> Option<Waker> {
        match &mut *self.0.borrow_mut() {
            State::Waiting { waker, .. } | State::Leaving(waker) => waker.take(),
            _ => None,
        }
    }
}

/// A turn that begins a parked call.
pub(crate) struct Resume {
    pub(crate) entry: Entry,
    pub(crate) target: Target,
}

/// What a parked call is made on.
pub(crate) enum Target {
    /// What its promise resolved to.
    Resolved(Box<dyn ClientHook>),
    /// The object that it waited to be free.
    Freed(Rc<Local>),
}

impl Resume {
    pub(crate) fn run(self) {
        let Self { entry, target } = self;
        let Some(slot) = entry.slot.upgrade() else {
            if let Target::Freed(local) = target {
                local.take();
                local.resume_next();
            }
            return vat::discard((entry.call.params, entry.call.results));
        };
        let promise = match target {
            Target::Resolved(target) => {
                let Some(entry) = crate::reference::adopt(&*target, entry) else {
                    return;
                };
                let Entry { call, outcome, .. } = entry;
                if let Some(outcome) = outcome.upgrade() {
                    outcome.wait_on(None);
                }
                caught(|| outcome::making(&outcome, || call.make(&*target)))
            }
            Target::Freed(local) => {
                local.take();
                let promise = caught(|| local.dispatch(entry.call));
                local.resume_next();
                promise
            }
        };
        slot.begin(promise.unwrap_or_else(Promise::err));
    }
}

impl Slot {
    /// Runs a call's first part, so that calls begin in the order in which they leave.
    fn begin(&self, mut promise: Promise<(), Error>) {
        let waker = self.waker();
        let polled = {
            let mut context = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
            caught(|| Pin::new(&mut promise).poll(&mut context))
        };
        let after = match polled {
            Ok(Poll::Ready(result)) => State::Ended(result),
            Ok(Poll::Pending) => State::Running(promise),
            Err(panicked) => State::Ended(Err(panicked)),
        };
        let before = self.0.replace(after);
        vat::discard(before);
        // To be polled again by whoever waits, with a waker of its own.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A parked call, in the hands of whoever made it.
struct Parked(Rc<Slot>);

impl Future for Parked {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.0.0.replace(State::Told);
        let (after, polled) = match state {
            State::Waiting {
                backlog,
                number,
                _keep,
                ..
            } => {
                let waker = Some(context.waker().clone());
                let waiting = State::Waiting {
                    backlog,
                    number,
                    _keep,
                    waker,
                };
                (waiting, Poll::Pending)
            }
            State::Leaving(_) => {
                let leaving = State::Leaving(Some(context.waker().clone()));
                (leaving, Poll::Pending)
            }
            State::Running(mut promise) => match Pin::new(&mut promise).poll(context) {
                Poll::Ready(result) => (State::Told, Poll::Ready(result)),
                Poll::Pending => (State::Running(promise), Poll::Pending),
            },
            State::Ended(result) => (State::Told, Poll::Ready(result)),
            State::Told => (State::Told, Poll::Pending),
        };
        if !matches!(after, State::Told) {
            self.0.0.replace(after);
        }
        polled
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let state = self.0.0.replace(State::Told);
        if let State::Waiting {
            backlog, number, ..
        } = &state
            && let Some(backlog) = backlog.upgrade()
        {
            let entry = backlog.borrow_mut().calls.remove(number);
            vat::discard(entry.map(|entry| (entry.call.params, entry.call.results)));
        }
        vat::discard(state);
    }
}
