//! Messages that follow the schema, or nearly: each field has a value that its method may like, or one from
//! the edge of its type, or of another type altogether.

use capnp::introspect::{Type, TypeVariant};
use capnp::private::layout::{
    ElementSize, PointerBuilder, PointerReader, PointerType, PrimitiveElement, StructBuilder,
    StructReader, StructSize,
};
use capnp::traits::{FromPointerBuilder as _, FromPointerReader as _};
use capnp::{struct_list, text};

use crate::choices::Choices;
use crate::client::Held;
use crate::raw::{Element, Shape, Slot};
use crate::world::World;

/// How deeply structs are put into structs.
const DEPTH: u32 = 6;

/// Bytes that one message may come to, about. Well below what a connection takes, most often.
const ROOM: usize = 1 << 20;

/// What is put into messages that is not made up.
pub trait Supply {
    /// A capability, which should be of this interface if one is said.
    /// Where one has to be given, there is one.
    fn capability(
        &self,
        interface: Option<u64>,
        is_needed: bool,
        choices: &mut Choices<'_>,
    ) -> Option<Held>;
}

/// Fills a message.
pub struct Maker<'a, 'b> {
    pub choices: &'a mut Choices<'b>,
    pub world: &'a World,
    pub supply: &'a dyn Supply,
    pub room: usize,
    /// Whether it is about content.
    pub of_content: bool,
    /// Whether all of it is such as a method may like.
    pub tame: bool,
    /// The capability that was put in last.
    pub last: Option<Held>,
}

impl<'a, 'b> Maker<'a, 'b> {
    pub fn new(choices: &'a mut Choices<'b>, world: &'a World, supply: &'a dyn Supply) -> Self {
        let tame = !choices.once_in(3);
        Self {
            choices,
            world,
            tame,
            of_content: false,
            supply,
            room: ROOM,
            last: None,
        }
    }

    /// Whether something is done that is out of the ordinary, once in so many times.
    fn wild(&mut self, times: usize) -> bool {
        !self.tame && self.choices.once_in(times)
    }

    /// Puts a struct of this type where the pointer is.
    pub fn structure(&mut self, pointer: PointerBuilder<'_>, ty: Type, depth: u32) {
        let shape = Shape::of(ty);
        let size = self.size(&shape);
        self.fields(pointer.init_struct(size), &shape, size, depth);
    }

    /// The size that the schema says, most often.
    fn size(&mut self, shape: &Shape) -> StructSize {
        let mut size = shape.size;
        if self.wild(20) {
            size.data = self.choices.below(6) as u16;
        }
        if self.wild(20) {
            size.pointers = self.choices.below(8) as u16;
        }
        size
    }

    fn fields(&mut self, mut to: StructBuilder<'_>, shape: &Shape, size: StructSize, depth: u32) {
        let mut member = None;
        if let Some((offset, count)) = shape.union {
            let tag = match self.wild(6) {
                true => self.choices.byte().into(),
                // The first one is the refusal.
                false if self.tame => 1 + self.choices.below(usize::from(count).min(3) - 1) as u16,
                false => self.choices.below(count.into()) as u16,
            };
            if (offset + 1) * 16 <= usize::from(size.data) * 64 {
                to.set_data_field::<u16>(offset, tag);
            }
            member = Some(tag);
        }
        for slot in &shape.fields {
            if slot.member.is_none() || slot.member == member {
                self.field(to.reborrow(), slot, size, depth);
            }
        }
    }

    fn field(&mut self, to: StructBuilder<'_>, slot: &Slot, size: StructSize, depth: u32) {
        if slot.ty.is_pointer_type() {
            if slot.offset < size.pointers.into() {
                self.pointer(to.get_pointer_field(slot.offset), slot, depth);
            }
            return;
        }
        let number = self.number(slot.name);
        let bits = usize::from(size.data) * 64;
        let fits = |width: usize| (slot.offset + 1) * width <= bits;
        match slot.ty.which() {
            TypeVariant::Void => {}
            TypeVariant::Bool if fits(1) => to.set_bool_field(slot.offset, number & 1 == 1),
            TypeVariant::UInt16 | TypeVariant::Enum(_) if fits(16) => {
                to.set_data_field(slot.offset, number as u16);
            }
            TypeVariant::UInt32 | TypeVariant::Int32 if fits(32) => {
                to.set_data_field(slot.offset, number as u32);
            }
            TypeVariant::UInt64 if fits(64) => to.set_data_field(slot.offset, number),
            TypeVariant::Bool
            | TypeVariant::UInt16
            | TypeVariant::Enum(_)
            | TypeVariant::UInt32
            | TypeVariant::Int32
            | TypeVariant::UInt64 => {}
            other => panic!("the contract has no {other:?}"),
        }
    }

    fn number(&mut self, name: &str) -> u64 {
        if self.wild(3) {
            const EDGES: [u64; 14] = [
                0,
                1,
                2,
                255,
                65_535,
                65_536,
                i32::MAX as u64,
                1 << 31,
                u32::MAX as u64,
                1 << 32,
                i64::MAX as u64,
                1 << 63,
                u64::MAX - 1,
                u64::MAX,
            ];
            return *self.choices.pick(&EDGES).unwrap();
        }
        let usual: &[u64] = match name {
            "interface" => {
                let methods = &self.world.methods;
                return self.choices.pick(methods).unwrap().id.interface;
            }
            "ordinal" => &[0, 1, 2, 3, 4, 5, 6],
            "lifetimeSecs" | "ttlSecs" => &[0, 0, 1, 60],
            "limit" => &[0, 0, 1, 7, 4096],
            "offset" => &[0, 0, 1, 262_144, 699_999, 700_000],
            "bytes" if self.of_content => &[0, 0, 1, 7, 300_000],
            "after" => &[0, 0, 1],
            "maxBytes" => &[1, 16, 4096, 1 << 20],
            "memoryBytes" => &[0, 0, 0, 1 << 20, 16 << 20],
            "fuel" => &[0, 0, 0, 0, 1000, 100_000_000],
            "wallTimeMillis" => &[0, 0, 0, 1, 30, 1000],
            "cpuPercent" => &[0, 0, 0, 1, 50, 200],
            "messageBytes" => &[0, 0, 0, 100, 65_536],
            "calls" | "streams" | "cells" | "depth" => &[0, 0, 0, 1, 3, 10],
            "tmpBytes" => &[0, 0, 1, 65_536],
            "varBytes" => &[0, 0, 0, 1],
            "afterSeq" => &[0, 1, 2],
            _ => &[0, 1, 7],
        };
        *self.choices.pick(usual).unwrap()
    }

    fn pointer(&mut self, mut to: PointerBuilder<'_>, slot: &Slot, depth: u32) {
        if self.wild(20) || depth == 0 {
            return;
        }
        if self.wild(30) {
            return self.anything(to);
        }
        match slot.ty.which() {
            TypeVariant::Text => self.text(&mut to, slot.name),
            TypeVariant::Data => {
                let data = self.data(slot.name);
                to.set_data(&data);
            }
            TypeVariant::Struct(_) => {
                // Bounds that are left out are the usual ones.
                if slot.name != "limits" || self.choices.once_in(if self.tame { 8 } else { 3 }) {
                    self.structure(to, slot.ty, depth - 1);
                }
            }
            TypeVariant::List(element) => self.list(to, slot.name, element, depth - 1),
            TypeVariant::Capability | TypeVariant::AnyPointer => {
                let held = self
                    .supply
                    .capability(slot.interface, self.tame, self.choices);
                if let Some(held) = &held {
                    to.set_capability(held.cap.hook.add_ref());
                }
                self.last = held;
            }
            other => panic!("the contract has no {other:?}"),
        }
    }

    /// What is of no type that is asked for.
    fn anything(&mut self, mut to: PointerBuilder<'_>) {
        match self.choices.below(5) {
            0 => to.set_data(b"no terminator"),
            1 => to.set_text(text::Reader(b"\xff\xfe\0")),
            2 => {
                let size = StructSize {
                    data: self.choices.below(4) as u16,
                    pointers: self.choices.below(4) as u16,
                };
                to.init_struct(size);
            }
            3 => {
                // Elements of no size cost nothing, and may be as many as one likes.
                to.init_list(ElementSize::Void, (1 << 29) - 1);
            }
            _ => {
                if let Some(held) = self.supply.capability(None, false, self.choices) {
                    to.set_capability(held.cap.hook);
                }
            }
        }
    }

    fn list(&mut self, mut to: PointerBuilder<'_>, name: &str, element: Type, depth: u32) {
        let most = self.room / 64;
        let usual = if matches!(name, "args" | "env") { 3 } else { 4 };
        let count = match self.wild(12) {
            true => *self.choices.pick(&[255, 1024, 1025, 5000]).unwrap_or(&0),
            false => self.choices.below(usual),
        };
        let count = count.min(most) as u32;
        match element.which() {
            TypeVariant::Struct(_) => {
                let shape = Shape::of(element);
                let size = self.size(&shape);
                self.take(count as usize * 8 * size.total() as usize);
                to.reborrow().init_struct_list(count, size);
                let Ok(mut list) = struct_list::Builder::<Element>::get_from_pointer(to, None)
                else {
                    return;
                };
                for index in 0..list.len() {
                    self.fields(list.reborrow().get(index).0, &shape, size, depth);
                }
            }
            TypeVariant::Text | TypeVariant::Data => {
                let mut list = to.init_list(ElementSize::Pointer, count);
                for index in 0..count {
                    let mut to = list.reborrow().get_pointer_element(index);
                    match element.which() {
                        TypeVariant::Text => self.text(&mut to, name),
                        _ => {
                            let data = self.data(name);
                            to.set_data(&data);
                        }
                    }
                }
            }
            TypeVariant::UInt8 => {
                let list = to.init_list(ElementSize::Byte, count);
                for index in 0..count {
                    u8::set(&list, index, self.choices.byte());
                }
            }
            other => panic!("the contract has no list of {other:?}"),
        }
    }

    fn text(&mut self, to: &mut PointerBuilder<'_>, name: &str) {
        if self.wild(6) {
            let wild: &[&[u8]] = &[
                b"",
                b"\0",
                b"nul\0inside",
                b"\xff\xfe\x80",
                b"\xed\xa0\x80",
                "\u{202e}\u{fffd}\u{10ffff}".as_bytes(),
                b"=",
                b"/../../../etc/passwd",
                b"\x1b[31m\n\r\t",
            ];
            let wild = *self.choices.pick(wild).unwrap();
            self.take(wild.len());
            return to.set_text(text::Reader(wild));
        }
        if self.wild(12) {
            let length = [256, 257, 1024, 1025, 100_000, 500_000];
            let length = *self.choices.pick(&length).unwrap();
            let length = self.take(length);
            return to.set_text(text::Reader(&vec![b'x'; length]));
        }
        if self.of_content {
            let usual = self.of_content(name);
            self.take(usual.len());
            return to.set_text(text::Reader(usual.as_bytes()));
        }
        let usual: &[&str] = match name {
            "path" if self.tame => &self.world.paths[..self.world.there],
            "path" => &self.world.paths,
            "cwd" if self.tame => &["", "/"],
            "cwd" => &["/", "/bin"],
            "env" => &["NAME=value", "RUST_BACKTRACE=1", "A==", "B="],
            "args" => &["name", "1", "0", "/bin/plain.wasm", "3"],
            "name" => &["host", "executor", "ipfs", "one", "two", "executor"],
            _ => &["hello", "text", ""],
        };
        let usual = *self.choices.pick(usual).unwrap();
        self.take(usual.len());
        to.set_text(text::Reader(usual.as_bytes()));
    }

    /// A text that a method of content has a use for.
    fn of_content(&mut self, name: &str) -> String {
        let usual: &[&str] = match name {
            // What an adder has at a path, or a node to be found.
            "path" | "subtree" if !self.choices.once_in(4) => {
                let content = &self.world.content;
                let paths = match name {
                    "subtree" => std::slice::from_ref(&content.subtree),
                    _ => &content.paths[..],
                };
                return self.choices.pick(paths).unwrap().clone();
            }
            "name" if self.choices.once_in(4) => return self.world.content.name.clone(),
            "path" => &["", "a", "a/b", "c", "c/d/e", "a/../b"],
            "codec" | "inputCodec" | "storeCodec" => {
                &["", "", "raw", "dag-pb", "dag-cbor", "dag-json", "dag-xml"]
            }
            "pin" | "pins" | "subtree" => &["", "", "", "mine"],
            "topic" => &["a", "a", "b", "c"],
            "target" => &["a", "a/b", "../a", "/etc/passwd"],
            "after" => &["", "", "00000100", "a", "t"],
            "key" | "from" | "to" => &["", "mine", "mine", "b", "b"],
            _ => &[
                "", "mine", "mine", "t", "t", "t", "a", "b", "link", "00000017", "large",
            ],
        };
        (*self.choices.pick(usual).unwrap()).to_owned()
    }

    fn data(&mut self, name: &str) -> Vec<u8> {
        let data = match name {
            "wasm" | "bytes" => self.component(),
            "peerId" | "peer" | "addrs" if !self.wild(3) => {
                let of = match name {
                    "addrs" => &self.world.addrs,
                    _ => &self.world.peers,
                };
                self.choices.pick(of).cloned().unwrap_or_default()
            }
            "cid" | "child" if !self.wild(3) => {
                let cids = &self.world.content.cids;
                self.choices.pick(cids).cloned().unwrap_or_default()
            }
            "record" if !self.wild(3) => self.world.content.record.clone(),
            "data" if self.of_content && !self.wild(3) => {
                let data = &self.world.content.data;
                self.choices.pick(data).cloned().unwrap_or_default()
            }
            _ => match self.wild(6) {
                true => vec![7; *self.choices.pick(&[65_536, 65_537, 500_000]).unwrap()],
                false => {
                    let length = self.choices.below(40);
                    (0..length).map(|_| self.choices.byte()).collect()
                }
            },
        };
        let length = self.take(data.len());
        data[..length].to_vec()
    }

    /// A component, a damaged one, or none.
    fn component(&mut self) -> Vec<u8> {
        let mut component = self
            .choices
            .pick(&self.world.components)
            .cloned()
            .unwrap_or_default();
        match self.choices.below(if self.tame { 1 } else { 4 }) {
            1 => {
                let at = component.len() * self.choices.below(256) / 256;
                component.truncate(at);
            }
            2 => {
                for _ in 0..self.choices.below(8) {
                    let at = component.len() * self.choices.below(256) / 256;
                    let at = at + self.choices.below(256);
                    if let Some(byte) = component.get_mut(at) {
                        *byte ^= self.choices.byte();
                    }
                }
            }
            _ => {}
        }
        component
    }

    /// So many bytes, or as many as there are left.
    fn take(&mut self, bytes: usize) -> usize {
        let taken = bytes.min(self.room);
        self.room -= taken;
        taken
    }
}

/// The deepest that messages are made.
pub fn deep() -> u32 {
    DEPTH
}

/// Finds every capability in a message of this type, with the interface that the schema says it has.
pub fn capabilities(
    from: PointerReader<'_>,
    ty: Type,
    depth: u32,
    found: &mut impl FnMut(Box<dyn capnp::private::capability::ClientHook>, Option<u64>),
) {
    if depth == 0 || !matches!(from.get_pointer_type(), Ok(PointerType::Struct)) {
        return;
    }
    if let Ok(fields) = from.get_struct(None) {
        within(fields, &Shape::of(ty), depth, found);
    }
}

fn within(
    from: StructReader<'_>,
    shape: &Shape,
    depth: u32,
    found: &mut impl FnMut(Box<dyn capnp::private::capability::ClientHook>, Option<u64>),
) {
    for slot in &shape.fields {
        if !slot.ty.is_pointer_type() {
            continue;
        }
        let pointer = from.get_pointer_field(slot.offset);
        if let Ok(PointerType::Capability) = pointer.get_pointer_type() {
            if let Ok(cap) = pointer.get_capability() {
                found(cap, slot.interface);
            }
            continue;
        }
        match slot.ty.which() {
            TypeVariant::Struct(_) => capabilities(pointer, slot.ty, depth - 1, found),
            TypeVariant::List(element) if matches!(element.which(), TypeVariant::Struct(_)) => {
                let list = struct_list::Reader::<Element>::get_from_pointer(&pointer, None);
                let shape = Shape::of(element);
                for element in list.into_iter().flat_map(|list| list.iter()) {
                    within(element.0, &shape, depth - 1, found);
                }
            }
            _ => {}
        }
    }
}
