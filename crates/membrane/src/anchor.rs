//! Finds a place in a half-written message that holds a capability.
//!
//! The only way to get a capability into the table of somebody else's message is to write it to a
//! place in that message, and a place that has held a capability cannot be emptied again. So it
//! must be one that holds one already. Without a schema, this looks through structs and lists in
//! the order of their layout, iteratively, and stops at the first.

use capnp::introspect::{Introspect, Type, TypeVariant};
use capnp::private::capability::ClientHook;
use capnp::private::layout::{
    CapTable, CapTableBuilder, ElementSize, PointerBuilder, PointerReader, PointerType,
    StructBuilder, StructReader, StructSize,
};
use capnp::traits::{
    FromPointerBuilder, FromPointerReader, HasStructSize, IntoInternalStructReader, OwnedStruct,
    SetterInput,
};
use capnp::{Error, Word, any_pointer, any_pointer_list, raw, struct_list};

/// A place that holds a capability.
pub(crate) struct Place<'a>(PointerBuilder<'a>);

impl Place<'_> {
    /// The capability there, when the message is read with `caps` for its table.
    pub(crate) fn bare(&mut self, caps: &mut CapTable) -> Result<Box<dyn ClientHook>, Error> {
        let mut view = self.0.reborrow();
        view.imbue(CapTableBuilder::from_ref(caps));
        view.get_capability()
    }

    /// Puts a capability there, through the message's own table.
    pub(crate) fn write(&mut self, cap: Box<dyn ClientHook>) {
        self.0.set_capability(cap);
    }
}

/// The first place in `message` that holds a capability, if there is one.
pub(crate) fn find(mut message: any_pointer::Builder<'_>) -> Result<Option<Place<'_>>, Error> {
    let root = message.reborrow().into_reader().get_as::<Pointer<'_>>()?.0;
    if let Some(field) = field(root)? {
        let root = message.get_as::<Writable<'_>>()?.0;
        let root = root.get_struct(Opaque::SIZE, None)?;
        return Ok(Some(Place(root.get_pointer_field(field as usize))));
    }
    let Some(path) = search(message.reborrow().into_reader().get_as::<Pointer<'_>>()?.0)? else {
        return Ok(None);
    };
    let mut place = message.get_as::<Writable<'_>>()?.0;
    for step in path {
        place = match step.element {
            None => place
                .get_struct(Opaque::SIZE, None)?
                .get_pointer_field(step.field as usize),
            // A list of pointers, or the first pointer of each struct.
            Some(element) if step.field == 0 => place
                .get_list(ElementSize::Pointer, None)?
                .get_pointer_element(element),
            Some(element) => struct_list::Builder::<Opaque>::get_from_pointer(place, None)?
                .try_get(element)
                .ok_or_else(|| Error::failed("a list became shorter while it was read".into()))?
                .0
                .get_pointer_field(step.field as usize),
        };
    }
    Ok(Some(Place(place)))
}

/// From a pointer to one within what it points to: `field` of the struct, or of the list's element.
struct Step {
    element: Option<u32>,
    field: u32,
}

/// A struct or a list that is being looked through.
struct Frame<'a> {
    list: Option<struct_list::Reader<'a, Opaque>>,
    element: u32,
    fields: any_pointer_list::Reader<'a>,
    next: u32,
}

impl<'a> Frame<'a> {
    /// The next pointer in it.
    fn advance(&mut self) -> Option<any_pointer::Reader<'a>> {
        loop {
            if let Some(field) = self.fields.try_get(self.next) {
                self.next = self.next.saturating_add(1);
                return Some(field);
            }
            self.element = self.element.saturating_add(1);
            self.fields = raw::get_struct_pointer_section(self.list?.try_get(self.element)?);
            self.next = 0;
        }
    }

    fn step(&self) -> Step {
        Step {
            element: self.list.map(|_| self.element),
            field: self.next.saturating_sub(1),
        }
    }
}

/// The first field of the root that holds a capability: the usual place, found without taking notes.
fn field(root: PointerReader<'_>) -> Result<Option<u32>, Error> {
    if !matches!(root.get_pointer_type()?, PointerType::Struct) {
        return Ok(None);
    }
    let fields = raw::get_struct_pointer_section(OpaqueReader(root.get_struct(None)?));
    for (index, field) in (0..).zip(fields.iter()) {
        let field = field.and_then(|field| field.get_as::<Pointer<'_>>())?.0;
        if matches!(field.get_pointer_type()?, PointerType::Capability) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

fn search(root: PointerReader<'_>) -> Result<Option<Vec<Step>>, Error> {
    let mut frames = Vec::new();
    let mut pointer = root;
    loop {
        match pointer.get_pointer_type()? {
            PointerType::Null => {}
            PointerType::Capability => return Ok(Some(frames.iter().map(Frame::step).collect())),
            PointerType::Struct => frames.push(Frame {
                list: None,
                element: 0,
                fields: raw::get_struct_pointer_section(OpaqueReader(pointer.get_struct(None)?)),
                next: 0,
            }),
            PointerType::List => frames.extend(list(pointer)),
        }
        pointer = loop {
            match frames.last_mut().map(Frame::advance) {
                None => return Ok(None),
                Some(None) => drop(frames.pop()),
                Some(Some(next)) => break next.get_as::<Pointer<'_>>()?.0,
            }
        };
    }
}

/// A list as a list of structs, if its elements have pointers.
fn list(pointer: PointerReader<'_>) -> Option<Frame<'_>> {
    // A list of single bits cannot be read as one of structs, and has no pointers.
    let list = struct_list::Reader::<Opaque>::get_from_pointer(&pointer, None).ok()?;
    let fields = raw::get_struct_pointer_section(list.try_get(0)?);
    (!fields.is_empty()).then_some(Frame {
        list: Some(list),
        element: 0,
        fields,
        next: 0,
    })
}

/// A pointer as it is, whatever it points to.
pub(crate) struct Pointer<'a>(pub(crate) PointerReader<'a>);

impl<'a> FromPointerReader<'a> for Pointer<'a> {
    fn get_from_pointer(
        reader: &PointerReader<'a>,
        _default: Option<&'a [Word]>,
    ) -> Result<Self, Error> {
        Ok(Self(*reader))
    }
}

struct Writable<'a>(PointerBuilder<'a>);

impl<'a> FromPointerBuilder<'a> for Writable<'a> {
    fn init_pointer(builder: PointerBuilder<'a>, _length: u32) -> Self {
        Self(builder)
    }

    fn get_from_pointer(
        builder: PointerBuilder<'a>,
        _default: Option<&'a [Word]>,
    ) -> Result<Self, Error> {
        Ok(Self(builder))
    }
}

/// A struct of any schema. It claims no size, so that looking at one never makes it grow.
struct Opaque;

impl Opaque {
    const SIZE: StructSize = StructSize {
        data: 0,
        pointers: 0,
    };
}

/// A struct of any schema, to be read.
pub(crate) struct OpaqueReader<'a>(pub(crate) StructReader<'a>);

struct OpaqueBuilder<'a>(StructBuilder<'a>);

impl OwnedStruct for Opaque {
    type Reader<'a> = OpaqueReader<'a>;
    type Builder<'a> = OpaqueBuilder<'a>;
}

impl Introspect for Opaque {
    fn introspect() -> Type {
        TypeVariant::AnyPointer.into()
    }
}

impl<'a> From<StructReader<'a>> for OpaqueReader<'a> {
    fn from(reader: StructReader<'a>) -> Self {
        Self(reader)
    }
}

impl<'a> IntoInternalStructReader<'a> for OpaqueReader<'a> {
    fn into_internal_struct_reader(self) -> StructReader<'a> {
        self.0
    }
}

impl SetterInput<Opaque> for OpaqueReader<'_> {
    fn set_pointer_builder(
        mut pointer: PointerBuilder<'_>,
        input: Self,
        canonicalize: bool,
    ) -> Result<(), Error> {
        pointer.set_struct(&input.0, canonicalize)
    }
}

impl<'a> From<StructBuilder<'a>> for OpaqueBuilder<'a> {
    fn from(builder: StructBuilder<'a>) -> Self {
        Self(builder)
    }
}

impl HasStructSize for OpaqueBuilder<'_> {
    const STRUCT_SIZE: StructSize = Opaque::SIZE;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use capnp::capability_list;
    use capnp::message::Builder;
    use capnp::private::layout::CapTable;
    use capnp::traits::ImbueMut;
    use capnp::{any_pointer, any_pointer_list};

    use super::find;
    use crate::broken;

    fn cap(caps: &CapTable, place: usize) -> usize {
        caps.get(place).unwrap().as_ref().unwrap().get_ptr()
    }

    fn some_cap() -> Box<dyn capnp::private::capability::ClientHook> {
        broken::client(capnp::Error::failed("test".into()))
    }

    #[test]
    fn a_message_without_capabilities_has_no_place() {
        let mut message = Builder::new_default();
        assert!(find(message.init_root()).unwrap().is_none());
        let root: any_pointer::Builder<'_> = message.init_root();
        let mut list: any_pointer_list::Builder<'_> = root.initn_as(3);
        list.reborrow()
            .get(1)
            .set_as::<capnp::text::Owned>("text")
            .unwrap();
        assert!(
            find(message.get_root::<any_pointer::Builder<'_>>().unwrap())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn the_root_itself_may_be_the_place() {
        let mut message = Builder::new_default();
        let mut caps = CapTable::new();
        let mut root: any_pointer::Builder<'_> = message.init_root();
        root.imbue_mut(&mut caps);
        root.set_as_capability(some_cap());
        let mut place = find(message.get_root().unwrap()).unwrap().unwrap();
        assert_eq!(place.bare(&mut caps).unwrap().get_ptr(), cap(&caps, 0));
    }

    #[test]
    fn the_place_may_be_deep_in_lists() {
        let mut message = Builder::new_default();
        let mut caps = CapTable::new();
        let mut root: any_pointer::Builder<'_> = message.init_root();
        root.imbue_mut(&mut caps);
        let outer: any_pointer_list::Builder<'_> = root.initn_as(4);
        let mut inner: capability_list::Builder<'_, capnp::capability::Client> =
            outer.get(3).initn_as(2);
        inner.set(1, some_cap());
        let mut place = find(message.get_root().unwrap()).unwrap().unwrap();
        assert_eq!(place.bare(&mut caps).unwrap().get_ptr(), cap(&caps, 0));
    }
}
