//! Cap'n Proto's pointers as they are: what a message can hold beyond what its schema allows.

use capnp::Word;
use capnp::introspect::{Introspect, Type, TypeVariant};
use capnp::private::layout::{
    PointerBuilder, PointerReader, StructBuilder, StructReader, StructSize,
};
use capnp::schema::{Field, StructSchema};
use capnp::schema_capnp::{field, node, type_};
use capnp::traits::{
    FromPointerBuilder, FromPointerReader, HasStructSize, IntoInternalStructReader, OwnedStruct,
    SetterInput,
};

/// A pointer to be set.
pub struct Out<'a>(pub PointerBuilder<'a>);

impl<'a> FromPointerBuilder<'a> for Out<'a> {
    fn init_pointer(builder: PointerBuilder<'a>, _length: u32) -> Self {
        Self(builder)
    }

    fn get_from_pointer(
        builder: PointerBuilder<'a>,
        _default: Option<&'a [Word]>,
    ) -> capnp::Result<Self> {
        Ok(Self(builder))
    }
}

/// A pointer that was received.
pub struct In<'a>(pub PointerReader<'a>);

impl<'a> FromPointerReader<'a> for In<'a> {
    fn get_from_pointer(
        reader: &PointerReader<'a>,
        _default: Option<&'a [Word]>,
    ) -> capnp::Result<Self> {
        Ok(Self(*reader))
    }
}

/// An element of a list of structs, of whatever size the list gives it.
pub struct Element;
pub struct Filling<'a>(pub StructBuilder<'a>);
pub struct Filled<'a>(pub StructReader<'a>);

impl Introspect for Element {
    fn introspect() -> Type {
        TypeVariant::AnyPointer.into()
    }
}

impl OwnedStruct for Element {
    type Reader<'a> = Filled<'a>;
    type Builder<'a> = Filling<'a>;
}

impl HasStructSize for Filling<'_> {
    const STRUCT_SIZE: StructSize = StructSize {
        data: 0,
        pointers: 0,
    };
}

impl<'a> From<StructBuilder<'a>> for Filling<'a> {
    fn from(builder: StructBuilder<'a>) -> Self {
        Self(builder)
    }
}

impl<'a> From<StructReader<'a>> for Filled<'a> {
    fn from(reader: StructReader<'a>) -> Self {
        Self(reader)
    }
}

impl<'a> IntoInternalStructReader<'a> for Filled<'a> {
    fn into_internal_struct_reader(self) -> StructReader<'a> {
        self.0
    }
}

impl SetterInput<Element> for Filled<'_> {
    fn set_pointer_builder(
        mut to: PointerBuilder<'_>,
        input: Self,
        canonicalize: bool,
    ) -> capnp::Result<()> {
        to.set_struct(&input.0, canonicalize)
    }
}

/// What a schema says about a struct.
pub struct Shape {
    pub size: StructSize,
    /// Where the union's tag is, in 16 bits, and how many members there are.
    pub union: Option<(usize, u16)>,
    pub fields: Vec<Slot>,
}

/// A field, and where it is.
pub struct Slot {
    pub name: &'static str,
    pub ty: Type,
    pub offset: usize,
    /// Its tag, in a union.
    pub member: Option<u16>,
    /// Which interface it is of, for a capability.
    pub interface: Option<u64>,
}

impl Shape {
    /// The shape of this type, which must be a struct's.
    pub fn of(ty: Type) -> Self {
        let TypeVariant::Struct(raw) = ty.which() else {
            panic!("{ty:?} is no struct");
        };
        let schema = StructSchema::from(raw);
        let node::Struct(proto) = schema.get_proto().which().unwrap() else {
            panic!("no struct's schema");
        };
        let fields = schema.get_fields().unwrap();
        Self {
            size: StructSize {
                data: proto.get_data_word_count(),
                pointers: proto.get_pointer_count(),
            },
            union: (proto.get_discriminant_count() > 0).then(|| {
                let offset = proto.get_discriminant_offset();
                (offset as usize, proto.get_discriminant_count())
            }),
            fields: (0..fields.len())
                .map(|index| Slot::of(fields.get(index)))
                .collect(),
        }
    }
}

impl Slot {
    fn of(field: Field) -> Self {
        let proto = field.get_proto();
        let field::Slot(slot) = proto.which().unwrap() else {
            panic!("a group: the contract has none");
        };
        let interface = match slot.get_type().unwrap().which().unwrap() {
            type_::Interface(interface) => Some(interface.get_type_id()),
            _ => None,
        };
        let member = proto.get_discriminant_value();
        Self {
            name: proto.get_name().unwrap().to_str().unwrap(),
            ty: field.get_type(),
            offset: slot.get_offset() as usize,
            member: (member != field::NO_DISCRIMINANT).then_some(member),
            interface,
        }
    }
}
