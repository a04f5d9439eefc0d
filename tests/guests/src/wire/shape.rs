//! Parameters of shapes that no schema has, word by word.

use super::Cap;

/// Pointers that a shaped struct has: as many as the longest list of parameters.
const POINTERS: u64 = 5;

/// Words of data that it has: more than any method's parameters.
const DATA: u64 = 3;

/// Parameters that no schema describes.
#[derive(Clone, Copy)]
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    /// What the parameters are.
    content: Content,
    /// The capabilities beside them.
    pub caps: &'static [Cap],
}

#[derive(Clone, Copy)]
enum Content {
    /// This pointer.
    Pointer(u64),
    /// A struct whose data is all ones, and each of whose pointers is this one.
    Struct(fn(u64) -> u64),
}

const fn shape(name: &'static str, content: Content) -> Shape {
    Shape {
        name,
        content,
        caps: &[],
    }
}

/// A pointer to a list, so many words behind itself.
const fn list(words: u64, element: u64, count: u64) -> u64 {
    (words << 2) | 1 | ((count << 3 | element) << 32)
}

/// A pointer to a struct, so many words behind itself.
const fn structure(words: u64, data: u64, pointers: u64) -> u64 {
    ((words << 2) & 0xffff_ffff) | (data << 32) | (pointers << 48)
}

const fn capability(index: u64) -> u64 {
    3 | index << 32
}

const fn far(segment: u64) -> u64 {
    2 | segment << 32
}

/// As many elements as a list can have.
const MANY: u64 = (1 << 29) - 1;

/// All shapes. Each is sent to each method.
pub const SHAPES: &[Shape] = &[
    shape("absent", Content::Pointer(0)),
    shape("a list", Content::Pointer(list(0, 2, 8))),
    shape(
        "an empty struct",
        Content::Pointer(structure(u64::MAX, 0, 0)),
    ),
    shape("a capability", Content::Pointer(capability(0))),
    shape("far away", Content::Pointer(far(77))),
    shape("beyond the end", Content::Pointer(structure(1 << 20, 9, 9))),
    shape("null pointers", Content::Struct(|_| 0)),
    shape("texts", Content::Struct(|behind| list(behind, 2, 2))),
    shape(
        "texts without an end",
        Content::Struct(|behind| list(behind, 2, 8)),
    ),
    shape(
        "texts beyond the end",
        Content::Struct(|behind| list(behind, 2, MANY)),
    ),
    shape(
        "lists of nothing",
        Content::Struct(|behind| list(behind, 0, MANY)),
    ),
    shape(
        "lists of pointers",
        Content::Struct(|behind| list(behind, 6, 2)),
    ),
    shape(
        "lists of structs",
        Content::Struct(|behind| list(behind, 7, 1)),
    ),
    shape("structs", Content::Struct(|behind| structure(behind, 1, 1))),
    shape("themselves", Content::Struct(|_| structure(u64::MAX, 0, 1))),
    shape("far pointers", Content::Struct(|_| far(77))),
    shape(
        "capabilities without a table",
        Content::Struct(|_| capability(9999)),
    ),
    Shape {
        name: "null capabilities",
        content: Content::Struct(|_| capability(0)),
        caps: &[Cap::Null],
    },
    Shape {
        name: "promised by a call that was never made",
        content: Content::Struct(|_| capability(0)),
        caps: &[Cap::Answer(1 << 30)],
    },
    Shape {
        name: "capabilities of the guest",
        content: Content::Struct(|_| capability(0)),
        caps: &[Cap::Own(77)],
    },
];

/// Puts parameters into a framed call of one segment that has none.
pub fn put(call: &[u8], shape: Shape) -> Vec<u8> {
    put_words(call, |distance| match shape.content {
        Content::Pointer(pointer) => {
            let to_list = if pointer & 3 == 1 { distance << 2 } else { 0 };
            (pointer | to_list, BEHIND.to_vec())
        }
        Content::Struct(pointer) => {
            let mut words = vec![u64::MAX; DATA as usize];
            words.extend((0..POINTERS).map(|index| pointer(POINTERS - index - 1)));
            words.extend(BEHIND);
            (structure(distance, DATA, POINTERS), words)
        }
    })
}

/// Puts parameters into a framed call: a struct whose pointer at this place is to a list of so many
/// pointers, all to the same text of so many bytes.
pub fn put_amplifying(call: &[u8], place: u64, count: u64, text: u64) -> Vec<u8> {
    put_words(call, |distance| {
        let mut words = vec![0; place as usize];
        words.push(list(0, 6, count));
        words.extend((0..count).map(|index| list(count - index - 1, 2, text)));
        let text_words = text.div_ceil(8);
        words.extend(vec![
            u64::from_le_bytes(*b"xxxxxxxx");
            text_words as usize - 1
        ]);
        words.push(u64::from_le_bytes(*b"xxx\0\0\0\0\0"));
        (structure(distance, 0, place + 1), words)
    })
}

/// What the pointers of shapes are to: a tag of one struct of one word, then letters.
const BEHIND: [u64; 2] = [structure(1, 1, 0), u64::from_le_bytes(*b"x\0xxxxxx")];

/// Puts a pointer into the place of a framed call's parameters, and words behind the call. What makes
/// them is told how far one is from the other.
fn put_words(call: &[u8], make: impl FnOnce(u64) -> (u64, Vec<u64>)) -> Vec<u8> {
    let mut words: Vec<u64> = call
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect();
    assert_eq!(words[0] & 0xffff_ffff, 0, "one segment");
    // Message, its call, the call's parameters, and of these the first pointer.
    let message = behind(&words, 1, 0);
    let call = behind(&words, message, 0);
    let slot = behind(&words, call, 1);
    let (pointer, more) = make((words.len() - slot - 1) as u64);
    words[slot] = pointer;
    words.extend(more);
    words[0] = ((words.len() - 1) as u64) << 32;
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The place of a pointer of the struct that the pointer at a place is to.
fn behind(words: &[u64], place: usize, index: usize) -> usize {
    let pointer = words[place];
    let offset = (pointer as u32 as i32) >> 2;
    let data = (pointer >> 32) as u16 as usize;
    place + 1 + offset as usize + data + index
}
