//! What a call carries: parameters and results, with the capabilities in them taken across.
//!
//! A message without capabilities is passed on as it is. One that is read with capabilities in it
//! is copied, into a message of its own size, because a reader's capability table cannot be
//! exchanged. One that is still being written needs no copy: see [`WrittenCaps`].
//! What is copied is let go of at once, so that whoever keeps results keeps nothing of the other side.

use std::cell::OnceCell;
use std::rc::Rc;

use capnp::capability::Response;
use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::{ClientHook, ParamsHook, PipelineOp, ResponseHook};
use capnp::private::layout::{CapTable, CapTableBuilder, PointerBuilder, StructSize};
use capnp::traits::{FromPointerBuilder, Imbue, ImbueMut};
use capnp::{Error, MessageSize, Word, any_pointer};

use crate::anchor;
use crate::boundary::Boundary;
use crate::broken;
use crate::flight::Flight;
use crate::nesting::{Level, READS};
use crate::policy::Direction;
use crate::release::release;

/// The most that is allocated at once because a message says that it is that long: 8 MiB. Longer
/// ones grow.
const MAX_FIRST_SEGMENT_WORDS: u64 = 1 << 20;

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

/// A copy of a message, with its capabilities taken across.
struct Copied {
    message: Message,
    caps: CapTable,
}

/// What a copy holds beside its capabilities.
enum Message {
    Own(Builder<HeapAllocator>),
    /// A struct with a capability and nothing else, as most messages that carry any: they are all alike,
    /// and nobody writes to them.
    OneCapability(Rc<Builder<HeapAllocator>>),
}

thread_local! {
    static ONE_CAPABILITY: Rc<Builder<HeapAllocator>> = Rc::new(one_capability());
}

/// A struct whose field is the first capability of a table that is yet to come.
fn one_capability() -> Builder<HeapAllocator> {
    let mut message = message(1);
    let mut field = message.init_root::<Field<'_>>().0;
    let mut nowhere = CapTable::new();
    field.imbue(CapTableBuilder::from_ref(&mut nowhere));
    field.set_capability(broken::client(Error::failed("a place is empty".into())));
    message
}

/// The only field of a struct.
struct Field<'a>(PointerBuilder<'a>);

impl<'a> FromPointerBuilder<'a> for Field<'a> {
    fn init_pointer(builder: PointerBuilder<'a>, _length: u32) -> Self {
        const SIZE: StructSize = StructSize {
            data: 0,
            pointers: 1,
        };
        Self(builder.init_struct(SIZE).get_pointer_field(0))
    }

    fn get_from_pointer(
        builder: PointerBuilder<'a>,
        _default: Option<&'a [Word]>,
    ) -> Result<Self, Error> {
        Ok(Self::init_pointer(builder, 0))
    }
}

impl Copied {
    /// `None` if the message carries no capabilities, and can be used as it is.
    fn new(
        boundary: &Rc<Boundary>,
        travel: Direction,
        original: any_pointer::Reader<'_>,
    ) -> Result<Option<Self>, Error> {
        let size = original.target_size()?;
        if size.cap_count == 0 {
            return Ok(None);
        }
        if let Some(cap) = only_capability(size, original)
            && let Ok(message) = ONE_CAPABILITY.try_with(Rc::clone)
        {
            return Ok(Some(Self {
                message: Message::OneCapability(message),
                caps: vec![Some(boundary.carry(cap, travel))],
            }));
        }
        let mut message = message(size.word_count);
        let mut caps = CapTable::with_capacity(size.cap_count as usize);
        let mut root = root(&mut message);
        root.imbue_mut(&mut caps);
        root.set_as(original)?;
        for cap in &mut caps {
            *cap = cap.take().map(|cap| boundary.carry(cap, travel));
        }
        Ok(Some(Self {
            message: Message::Own(message),
            caps,
        }))
    }

    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let message = match &self.message {
            Message::Own(message) => message,
            Message::OneCapability(message) => message,
        };
        let mut reader: any_pointer::Reader<'_> = message.get_root_as_reader()?;
        reader.imbue(&self.caps);
        Ok(reader)
    }
}

/// The capability of a message that is a struct of one capability and nothing else.
fn only_capability(
    size: MessageSize,
    message: any_pointer::Reader<'_>,
) -> Option<Box<dyn ClientHook>> {
    // A word that is, or holds, the one capability: the field of a struct, or a list, which has no fields.
    if (size.word_count, size.cap_count) != (1, 1) {
        return None;
    }
    message
        .get_pipelined_cap(&[PipelineOp::GetPointerField(0)])
        .ok()
}

/// A call's parameters on the target's side.
///
/// They are looked at when they are read, not when the call is made: promises may be made to
/// forward a call while their own state is borrowed, and the parameters may name that promise.
pub(crate) struct CarriedParams {
    boundary: Rc<Boundary>,
    travel: Direction,
    /// There until dropped.
    original: Option<Box<dyn ParamsHook>>,
    copied: OnceCell<Option<Copied>>,
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
            original: Some(original),
            copied: OnceCell::new(),
        }
    }
}

impl ParamsHook for CarriedParams {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let _level = Level::enter(&READS)?;
        let Some(original) = &self.original else {
            return Err(Error::failed(
                "parameters read after they were dropped".into(),
            ));
        };
        if self.copied.get().is_none() {
            let copied = Copied::new(&self.boundary, self.travel, original.get()?)?;
            // Looking at the parameters ran other hooks; one that came back here was first.
            let _ = self.copied.set(copied);
        }
        match self.copied.get() {
            Some(Some(copied)) => copied.get(),
            _ => original.get(),
        }
    }
}

impl Drop for CarriedParams {
    fn drop(&mut self) {
        release(self.original.take());
    }
}

/// The results of a call, on the caller's side.
///
/// They are looked at when they are read. Until then they are in the flight's hands, where revocation
/// finds them; what is read afterwards holds nothing of the other side.
struct CarriedResponse {
    flight: Rc<Flight<Response<any_pointer::Owned>>>,
    read: OnceCell<Read>,
}

enum Read {
    Plain(Box<dyn ResponseHook>),
    Copied(Copied),
}

/// Takes a response across.
pub(crate) fn response(
    flight: &Rc<Flight<Response<any_pointer::Owned>>>,
    response: Response<any_pointer::Owned>,
) -> Result<Response<any_pointer::Owned>, Error> {
    flight.response.fill(response.hook);
    Ok(Response::new(Box::new(CarriedResponse {
        flight: Rc::clone(flight),
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
            .and_then(|original| Copied::new(&flight.boundary, flight.travel, original));
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
        if self.read.get().is_none() {
            let read = self.look()?;
            // Looking at the results ran other hooks; one that came back here was first.
            let _ = self.read.set(read);
        }
        match self.read.get() {
            Some(Read::Plain(original)) => original.get(),
            Some(Read::Copied(copied)) => copied.get(),
            None => Err(self.flight.boundary.gone()),
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
        let first = place.bare(&mut self.bare)?;
        let is_first = |cap: &dyn ClientHook| {
            (cap.get_brand(), cap.get_ptr()) == (first.get_brand(), first.get_ptr())
        };
        let mut restored = false;
        for cap in self.bare.iter_mut().skip(self.settled) {
            // An empty entry cannot come about: capabilities are only ever added. It would shift
            // all that follow.
            let cap = get(cap)
                .ok_or_else(|| Error::failed("a capability was taken from the table".into()))?;
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
