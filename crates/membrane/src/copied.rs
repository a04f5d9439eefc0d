//! A copy of a message that is read, with its capabilities taken across.
//!
//! Most messages that carry capabilities are a struct of one, as the results of whatever makes an object.
//! These are all alike but for the capability, so a thread lends one and the same for each: see [`Lent`].

use std::rc::Rc;

use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::ClientHook;
use capnp::private::layout::CapTable;
use capnp::traits::{Imbue, ImbueMut};
use capnp::{Error, any_pointer, raw};

use crate::anchor::{OpaqueReader, Pointer};
use crate::boundary::Boundary;
use crate::lent::Lent;
use crate::payload;
use crate::policy::Direction;

/// A message on the other side.
pub(crate) enum Copied {
    /// A struct of one capability.
    One(Lent),
    Any(Box<AnyMessage>),
}

/// Any message, with its capabilities.
pub(crate) struct AnyMessage {
    message: Builder<HeapAllocator>,
    caps: CapTable,
}

impl Copied {
    /// `None` if the message carries no capabilities, and can be used as it is.
    #[inline]
    pub(crate) fn new(
        boundary: &Rc<Boundary>,
        travel: Direction,
        original: any_pointer::Reader<'_>,
    ) -> Result<Option<Self>, Error> {
        match Content::of(original)? {
            Content::Plain => Ok(None),
            Content::OneCapability(cap) => {
                let carried = boundary.carry_unboxed(cap, travel);
                Ok(Some(Self::One(Lent::new(carried))))
            }
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
        Ok(Some(Self::Any(Box::new(AnyMessage { message, caps }))))
    }

    #[inline]
    pub(crate) fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let (message, caps) = match self {
            Self::One(lent) => lent.content(),
            Self::Any(any) => (&any.message, &any.caps),
        };
        let mut reader: any_pointer::Reader<'_> = message.get_root_as_reader()?;
        reader.imbue(caps);
        Ok(reader)
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
    #[inline]
    fn of(message: any_pointer::Reader<'_>) -> Result<Self, Error> {
        // What is no struct does not become one, and what is nothing is one without fields. Asking first takes
        // longer than trying.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::rc::Rc;

    use capnp::message::Builder;
    use capnp::private::capability::PipelineOp;
    use capnp::private::layout::CapTable;
    use capnp::traits::{Imbue, ImbueMut};
    use capnp::{any_pointer, capability_list};

    use super::{Copied, Error, payload};
    use crate::boundary::Boundary;
    use crate::broken;
    use crate::lent::one_capability;
    use crate::policy::{AllowAll, Direction};
    use crate::tail::TailCalls;

    fn cross(message: any_pointer::Reader<'_>) -> (Rc<Boundary>, Option<Copied>) {
        let boundary = Boundary::new(Rc::new(AllowAll), TailCalls::default());
        let copied = Copied::new(&boundary, Direction::Outward, message).unwrap();
        (boundary, copied)
    }

    #[test]
    fn a_struct_of_one_capability_is_copied_into_what_is_lent() {
        let message = one_capability();
        let table: CapTable = vec![Some(broken::client(Error::failed("test".into())))];
        let mut root: any_pointer::Reader<'_> = message.get_root_as_reader().unwrap();
        root.imbue(&table);
        let path = [PipelineOp::GetPointerField(0)];
        for _ in 0..2 {
            let (boundary, copied) = cross(root);
            let copied = copied.unwrap();
            assert!(matches!(copied, Copied::One(_)));
            let cap = copied.get().unwrap().get_pipelined_cap(&path).unwrap();
            assert_eq!(cap.get_brand(), boundary.brand());
        }
    }

    /// The capability that a message of one holds, behind the boundary.
    fn behind(copied: &Copied, boundary: &Rc<Boundary>) -> usize {
        let path = [PipelineOp::GetPointerField(0)];
        let cap = copied.get().unwrap().get_pipelined_cap(&path).unwrap();
        assert_eq!(cap.get_brand(), boundary.brand());
        boundary.carry(cap, Direction::Inward).get_ptr()
    }

    #[test]
    fn what_is_lent_holds_its_own_capability_and_nothing_afterwards() {
        let message = one_capability();
        let boundary = Boundary::new(Rc::new(AllowAll), TailCalls::default());
        let tables: Vec<CapTable> = (0..3)
            .map(|_| vec![Some(broken::client(Error::failed("test".into())))])
            .collect();
        let copy = |table| {
            let mut root: any_pointer::Reader<'_> = message.get_root_as_reader().unwrap();
            root.imbue(table);
            let copied = Copied::new(&boundary, Direction::Outward, root).unwrap();
            copied.unwrap()
        };
        let original = |table: &CapTable| table[0].as_ref().unwrap().get_ptr();
        for _ in 0..2 {
            let copies: Vec<Copied> = tables.iter().map(copy).collect();
            assert_eq!(boundary.live_references(), tables.len());
            for (copied, table) in copies.iter().zip(&tables) {
                assert_eq!(behind(copied, &boundary), original(table));
            }
            drop(copies);
            assert_eq!(boundary.live_references(), 0);
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
