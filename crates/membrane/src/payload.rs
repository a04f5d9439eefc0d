//! What a call carries: parameters and results, with the capabilities in them taken across.
//!
//! A message without capabilities is passed on as it is. One that is read with capabilities in it
//! is copied, into a message of its own size, because a reader's capability table cannot be
//! exchanged. One that is still being written needs no copy: see [`WrittenCaps`].
//! What is copied is let go of at once, so that whoever keeps results keeps nothing of the other side.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use capnp::capability::Response;
use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::{ClientHook, ParamsHook, ResponseHook};
use capnp::private::layout::{CapTable, PointerBuilder};
use capnp::traits::{FromPointerBuilder, ImbueMut};
use capnp::{Error, Word, any_pointer};

use crate::anchor;
use crate::boundary::Boundary;
use crate::copied::Copied;
use crate::flight::Share;
use crate::nesting::{Level, Recursion};
use crate::policy::Direction;
use crate::release::release;

/// The most that is allocated at once because a message says that it is that long: 8 MiB. Longer
/// ones grow.
const MAX_FIRST_SEGMENT_WORDS: u64 = 1 << 20;

/// The longest table of capabilities that is kept for another message: more than a method usually has.
const MAX_SPARE_TABLE: usize = 16;

/// A message with room for `words` and its root pointer.
pub(crate) fn message(words: u64) -> Builder<HeapAllocator> {
    let words = words.saturating_add(1).min(MAX_FIRST_SEGMENT_WORDS);
    Builder::new(HeapAllocator::new().first_segment_words(words as u32))
}

/// The root of a message as it stands.
pub(crate) fn root(message: &mut Builder<HeapAllocator>) -> any_pointer::Builder<'_> {
    message.init_root::<Root<'_>>().0
}

/// `init_root` gives any root and cannot fail; this one leaves what is there.
struct Root<'a>(any_pointer::Builder<'a>);

impl<'a> FromPointerBuilder<'a> for Root<'a> {
    fn init_pointer(builder: PointerBuilder<'a>, _length: u32) -> Self {
        Self(any_pointer::Builder::new(builder))
    }

    fn get_from_pointer(
        builder: PointerBuilder<'a>,
        _default: Option<&'a [Word]>,
    ) -> Result<Self, Error> {
        Ok(Self(any_pointer::Builder::new(builder)))
    }
}

/// A call's parameters on the target's side.
///
/// They are looked at when they are read, not when the call is made: promises may be made to
/// forward a call while their own state is borrowed, and the parameters may name that promise. Once copied
/// the originals are let go of: a call may pass many membranes, and each would keep a message.
pub(crate) struct CarriedParams {
    boundary: Rc<Boundary>,
    travel: Direction,
    /// Until they are read.
    original: Cell<Option<Box<dyn ParamsHook>>>,
    read: OnceCell<ReadParams>,
}

enum ReadParams {
    Plain(Box<dyn ParamsHook>),
    Copied(Copied),
}

impl CarriedParams {
    pub(crate) fn new(
        boundary: Rc<Boundary>,
        travel: Direction,
        original: Box<dyn ParamsHook>,
    ) -> Self {
        Self {
            boundary,
            travel,
            original: Cell::new(Some(original)),
            read: OnceCell::new(),
        }
    }

    /// Looks at the parameters for the first time.
    fn look(&self) -> Result<ReadParams, Error> {
        let original = self.original.take().ok_or_else(|| {
            Error::failed(
                "parameters read while they are being read, or after they were dropped".into(),
            )
        })?;
        let copied = original
            .get()
            .and_then(|original| Copied::new(&self.boundary, self.travel, original));
        match copied {
            Ok(None) => Ok(ReadParams::Plain(original)),
            Ok(Some(copied)) => {
                release(original);
                Ok(ReadParams::Copied(copied))
            }
            Err(error) => {
                self.original.set(Some(original));
                Err(error)
            }
        }
    }
}

impl ParamsHook for CarriedParams {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let _level = Level::enter(Recursion::Reads)?;
        let read = match self.read.get() {
            Some(read) => read,
            None => {
                let read = self.look()?;
                self.read.get_or_init(|| read)
            }
        };
        match read {
            ReadParams::Plain(original) => original.get(),
            ReadParams::Copied(copied) => copied.get(),
        }
    }
}

impl Drop for CarriedParams {
    fn drop(&mut self) {
        release(self.original.take());
        if let Some(ReadParams::Plain(original)) = self.read.take() {
            release(original);
        }
    }
}

/// The results of a call, on the caller's side.
///
/// They are looked at when they are read. Until then they are in the flight's hands, where revocation
/// finds them; what is read afterwards holds nothing of the other side.
struct CarriedResponse {
    flight: Share<Response<any_pointer::Owned>>,
    read: OnceCell<Read>,
}

enum Read {
    Plain(Box<dyn ResponseHook>),
    Copied(Copied),
}

/// Takes a response across.
#[inline]
pub(crate) fn response(
    flight: Share<Response<any_pointer::Owned>>,
    response: Response<any_pointer::Owned>,
) -> Result<Response<any_pointer::Owned>, Error> {
    flight.response.fill(response.hook);
    Ok(Response::new(Box::new(CarriedResponse {
        flight,
        read: OnceCell::new(),
    })))
}

impl CarriedResponse {
    /// Looks at the results for the first time.
    fn look(&self) -> Result<Read, Error> {
        let flight = &self.flight;
        flight.boundary.open()?;
        let original = flight.response.take();
        let original = original.ok_or_else(|| flight.boundary.gone())?;
        let copied = original
            .get()
            .and_then(|original| Copied::new(&flight.boundary, flight.travel(), original));
        flight.boundary.open()?;
        match copied {
            Ok(None) => Ok(Read::Plain(original)),
            Ok(Some(copied)) => {
                release(original);
                Ok(Read::Copied(copied))
            }
            Err(error) => {
                flight.response.fill(original);
                Err(error)
            }
        }
    }
}

impl ResponseHook for CarriedResponse {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let read = match self.read.get() {
            Some(read) => read,
            None => {
                let read = self.look()?;
                // Looking at the results ran other hooks; one that came back here was first.
                self.read.get_or_init(|| read)
            }
        };
        match read {
            Read::Plain(original) => original.get(),
            Read::Copied(copied) => copied.get(),
        }
    }
}

impl Drop for CarriedResponse {
    fn drop(&mut self) {
        if let Some(Read::Plain(original)) = self.read.take() {
            release(original);
        }
    }
}

/// The capabilities of a message that one side writes into the other side's buffer.
///
/// The writer sees the buffer with a table of its own, so what it puts there is bare, and what it
/// reads back is what it put there. [`WrittenCaps::settle`] then takes the table across: it puts
/// the same capabilities, carried, at the same places of the buffer's own table.
#[derive(Default)]
pub(crate) struct WrittenCaps {
    bare: CapTable,
    /// How many of `bare` have a counterpart in the buffer's own table.
    settled: usize,
}

impl WrittenCaps {
    /// The buffer as its writer sees it.
    pub(crate) fn imbue<'a>(
        &'a mut self,
        mut buffer: any_pointer::Builder<'a>,
    ) -> any_pointer::Builder<'a> {
        buffer.imbue_mut(&mut self.bare);
        buffer
    }

    /// Forgets what was written, for another message.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.bare.capacity() > MAX_SPARE_TABLE {
            self.bare = CapTable::new();
        } else if !self.bare.is_empty() {
            self.bare.clear();
        }
        self.settled = 0;
    }

    /// Whether all that was written has been taken across.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.bare.len() == self.settled
    }

    /// Takes what was written since the last time across. The writer may go on.
    pub(crate) fn settle(
        &mut self,
        buffer: any_pointer::Builder<'_>,
        boundary: &Rc<Boundary>,
        travel: Direction,
    ) -> Result<(), Error> {
        let get = |cap: &mut Option<Box<dyn ClientHook>>| cap.as_ref().map(|cap| cap.add_ref());
        self.cross(buffer, get, |cap| boundary.carry(cap, travel))
    }

    /// Takes what was written since the last time across, for good: the writer sees it no more.
    pub(crate) fn finish(
        &mut self,
        buffer: any_pointer::Builder<'_>,
        boundary: &Rc<Boundary>,
        travel: Direction,
    ) -> Result<(), Error> {
        self.cross(buffer, Option::take, |cap| boundary.carry(cap, travel))
    }

    fn cross(
        &mut self,
        buffer: any_pointer::Builder<'_>,
        get: impl Fn(&mut Option<Box<dyn ClientHook>>) -> Option<Box<dyn ClientHook>>,
        carry: impl Fn(Box<dyn ClientHook>) -> Box<dyn ClientHook>,
    ) -> Result<(), Error> {
        if self.is_settled() {
            return Ok(());
        }
        // A capability gets into a buffer's table by being written to a place in the buffer. One
        // place is enough: each write there adds the next entry, and the last restores the place.
        let Some(mut place) = anchor::find(buffer)? else {
            return Ok(());
        };
        if let [only] = self.bare.as_mut_slice() {
            // What the place holds can be no other.
            place.write(carry(get(only).ok_or_else(taken)?));
            self.settled = 1;
            return Ok(());
        }
        let first = place.bare(&mut self.bare)?;
        let is_first = |cap: &dyn ClientHook| {
            (cap.get_brand(), cap.get_ptr()) == (first.get_brand(), first.get_ptr())
        };
        let mut restored = false;
        for cap in self.bare.iter_mut().skip(self.settled) {
            // An empty entry cannot come about: capabilities are only ever added. It would shift
            // all that follow.
            let cap = get(cap).ok_or_else(taken)?;
            restored = is_first(&*cap);
            place.write(carry(cap));
        }
        if !restored {
            place.write(carry(first.add_ref()));
            self.bare.push(Some(first));
        }
        self.settled = self.bare.len();
        Ok(())
    }
}

fn taken() -> Error {
    Error::failed("a capability was taken from the table".into())
}
