//! A copy of a message that is read, with its capabilities taken across.
//!
//! Most messages that carry capabilities are a struct of one, as the results of whatever makes an object.
//! These are all alike but for the capability, so their copies share one message.

use std::rc::Rc;

use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::ClientHook;
use capnp::private::layout::{CapTable, CapTableBuilder, PointerBuilder, StructSize};
use capnp::traits::{FromPointerBuilder, Imbue, ImbueMut};
use capnp::{Error, Word, any_pointer, raw};

use crate::anchor::{OpaqueReader, Pointer};
use crate::boundary::Boundary;
use crate::broken;
use crate::payload;
use crate::policy::Direction;
use crate::spare;

/// A message on the other side.
pub(crate) struct Copied {
    message: Message,
    caps: CapTable,
}

/// What a copy holds beside its capabilities.
enum Message {
    Own(Builder<HeapAllocator>),
    /// See [`ONE_CAPABILITY`].
    Shared(Rc<Builder<HeapAllocator>>),
}

impl Copied {
    /// `None` if the message carries no capabilities, and can be used as it is.
    pub(crate) fn new(
        boundary: &Rc<Boundary>,
        travel: Direction,
        original: any_pointer::Reader<'_>,
    ) -> Result<Option<Self>, Error> {
        match Content::of(original)? {
            Content::Plain => Ok(None),
            Content::OneCapability(cap) => Ok(Some(Self {
                message: ONE_CAPABILITY
                    .try_with(|shared| Message::Shared(Rc::clone(shared)))
                    .unwrap_or_else(|_| Message::Own(one_capability())),
                caps: spare::table(boundary.carry(cap, travel)),
            })),
            Content::Other => Self::of_any(boundary, travel, original),
        }
    }

    fn of_any(
        boundary: &Rc<Boundary>,
        travel: Direction,
        original: any_pointer::Reader<'_>,
    ) -> Result<Option<Self>, Error> {
        let size = original.target_size()?;
        if size.cap_count == 0 {
            return Ok(None);
        }
        let mut message = payload::message(size.word_count);
        let mut caps = CapTable::with_capacity(size.cap_count as usize);
        let mut root = payload::root(&mut message);
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

    pub(crate) fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let message = match &self.message {
            Message::Own(message) => message,
            Message::Shared(message) => message,
        };
        let mut reader: any_pointer::Reader<'_> = message.get_root_as_reader()?;
        reader.imbue(&self.caps);
        Ok(reader)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        spare::keep_table(std::mem::take(&mut self.caps));
    }
}

/// What a look at the root of a message tells.
enum Content {
    /// There are no capabilities.
    Plain,
    /// It is a struct that is this capability and nothing else.
    OneCapability(Box<dyn ClientHook>),
    /// More has to be looked at.
    Other,
}

impl Content {
    fn of(message: any_pointer::Reader<'_>) -> Result<Self, Error> {
        if message.is_null() {
            return Ok(Self::Plain);
        }
        // What is no struct does not become one. Asking first takes longer than trying.
        let Ok(root) = message.get_as::<Pointer<'_>>()?.0.get_struct(None) else {
            return Ok(Self::Other);
        };
        let fields = raw::get_struct_pointer_section(OpaqueReader(root));
        if fields.is_empty() {
            return Ok(Self::Plain);
        }
        if fields.len() > 1 || !raw::get_struct_data_section(OpaqueReader(root)).is_empty() {
            return Ok(Self::Other);
        }
        let field = root.get_pointer_field(0);
        if field.is_null() {
            return Ok(Self::Plain);
        }
        let cap = field.get_capability();
        Ok(cap.map_or(Self::Other, Self::OneCapability))
    }
}

thread_local! {
    /// A struct whose field is the first capability of whatever table it is read with. Nobody writes to it.
    static ONE_CAPABILITY: Rc<Builder<HeapAllocator>> = Rc::new(one_capability());
}

fn one_capability() -> Builder<HeapAllocator> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::rc::Rc;

    use capnp::message::Builder;
    use capnp::private::capability::PipelineOp;
    use capnp::private::layout::CapTable;
    use capnp::traits::{Imbue, ImbueMut};
    use capnp::{any_pointer, capability_list};

    use super::{Copied, Error, Message, broken, one_capability, payload};
    use crate::boundary::Boundary;
    use crate::policy::{AllowAll, Direction};
    use crate::tail::TailCalls;

    fn cross(message: any_pointer::Reader<'_>) -> (Rc<Boundary>, Option<Copied>) {
        let boundary = Boundary::new(Rc::new(AllowAll), TailCalls::default());
        let copied = Copied::new(&boundary, Direction::Outward, message).unwrap();
        (boundary, copied)
    }

    #[test]
    fn a_struct_of_one_capability_is_copied_into_the_shared_message() {
        let message = one_capability();
        let table: CapTable = vec![Some(broken::client(Error::failed("test".into())))];
        let mut root: any_pointer::Reader<'_> = message.get_root_as_reader().unwrap();
        root.imbue(&table);
        let path = [PipelineOp::GetPointerField(0)];
        for _ in 0..2 {
            let (boundary, copied) = cross(root);
            let copied = copied.unwrap();
            assert!(matches!(copied.message, Message::Shared(_)));
            let cap = copied.get().unwrap().get_pipelined_cap(&path).unwrap();
            assert_eq!(cap.get_brand(), boundary.brand());
        }
    }

    #[test]
    fn a_list_of_one_capability_is_not_taken_for_a_struct() {
        let mut message = Builder::new_default();
        let mut table = CapTable::new();
        let mut root: any_pointer::Builder<'_> = message.init_root();
        root.imbue_mut(&mut table);
        let mut list: capability_list::Builder<'_, capnp::capability::Client> = root.initn_as(1);
        list.set(0, broken::client(Error::failed("test".into())));
        let mut root: any_pointer::Reader<'_> = message.get_root_as_reader().unwrap();
        root.imbue(&table);
        let (boundary, copied) = cross(root);
        let copied = copied.unwrap();
        let list = copied.get().unwrap();
        let list: capability_list::Reader<'_, capnp::capability::Client> = list.get_as().unwrap();
        assert_eq!(list.get(0).unwrap().hook.get_brand(), boundary.brand());
    }

    #[test]
    fn what_carries_nothing_is_not_copied() {
        let mut message = payload::message(4);
        assert!(cross(message.get_root_as_reader().unwrap()).1.is_none());
        let root: any_pointer::Builder<'_> = message.init_root();
        let mut list: capnp::any_pointer_list::Builder<'_> = root.initn_as(1);
        list.reborrow()
            .get(0)
            .set_as::<capnp::text::Owned>("text")
            .unwrap();
        assert!(cross(message.get_root_as_reader().unwrap()).1.is_none());
    }
}
