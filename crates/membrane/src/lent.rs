//! A message that is a struct of one capability, lent for one capability after another.
//!
//! The capability in its table is a [`Stand`], which is handed out as what stands there. Who reads the
//! message gets that and never the stand, so that what is lent again cannot be told from what is new.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::capability::{Promise, Request};
use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::private::layout::{CapTable, CapTableBuilder, PointerBuilder, StructSize};
use capnp::traits::FromPointerBuilder;
use capnp::{Error, MessageSize, Word, any_pointer};

use crate::boundary::Carried;
use crate::broken;
use crate::payload;
use crate::spare;

/// A message of one capability, until dropped.
pub(crate) struct Lent(Rc<Lendable>);

/// What is lent. Nothing stands in it while it is not.
pub(crate) struct Lendable {
    message: Rc<Builder<HeapAllocator>>,
    /// A [`Stand`] for `place`.
    caps: CapTable,
    place: Rc<Place>,
}

type Place = RefCell<Option<Carried>>;

impl Lent {
    #[inline]
    pub(crate) fn new(cap: Carried) -> Self {
        let spare = spare::with(|spares| spares.lendable.take()).flatten();
        let lendable = spare.unwrap_or_else(Lendable::new);
        lendable.place.replace(Some(cap));
        Self(lendable)
    }

    #[inline]
    pub(crate) fn content(&self) -> (&Builder<HeapAllocator>, &CapTable) {
        (&self.0.message, &self.0.caps)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Ok(cap) = self.0.place.try_borrow_mut().map(|mut place| place.take()) else {
            return;
        };
        drop(cap);
        spare::with(|spares| spares.lendable.set(Some(Rc::clone(&self.0))));
    }
}

impl Lendable {
    fn new() -> Rc<Self> {
        let place = Rc::default();
        let stand = Stand(Rc::clone(&place));
        Rc::new(Self {
            message: ONE_CAPABILITY
                .try_with(Rc::clone)
                .unwrap_or_else(|_| Rc::new(one_capability())),
            caps: vec![Some(Box::new(stand))],
            place,
        })
    }
}

/// Stands in a table for whatever is in a place.
struct Stand(Rc<Place>);

impl ClientHook for Stand {
    #[inline]
    fn add_ref(&self) -> Box<dyn ClientHook> {
        match &*self.0.borrow() {
            Some(Carried::Wrapped(reference)) => Box::new(reference.clone()),
            Some(Carried::Other(hook)) => hook.add_ref(),
            None => broken::client(Error::failed("read after it was dropped".into())),
        }
    }

    fn new_call(
        &self,
        interface_id: u64,
        method_id: u16,
        size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        self.add_ref().new_call(interface_id, method_id, size_hint)
    }

    fn call(
        &self,
        interface_id: u64,
        method_id: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        self.add_ref()
            .call(interface_id, method_id, params, results)
    }

    fn get_brand(&self) -> usize {
        self.add_ref().get_brand()
    }

    fn get_ptr(&self) -> usize {
        self.add_ref().get_ptr()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        self.add_ref().get_resolved()
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        self.add_ref().when_more_resolved()
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        self.add_ref().when_resolved()
    }
}

thread_local! {
    /// Its field is the first capability of whatever table it is read with. Nobody writes to it.
    static ONE_CAPABILITY: Rc<Builder<HeapAllocator>> = Rc::new(one_capability());
}

/// A struct of one capability, which is in no table.
pub(crate) fn one_capability() -> Builder<HeapAllocator> {
    let mut message = payload::message(1);
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
