//! Messages as they travel: framed bytes in, framed bytes out, and the buffers in between.
//!
//! What comes in is copied once, into a buffer that is used again, and checked to be exactly one
//! message in the standard stream framing; what its segments hold is checked by whoever reads it.
//! What goes out is built in segments of about the right size, because clearing the usual 8 KiB takes
//! longer than a call.

use std::cell::RefCell;

use capnp::message::{Builder, HeapAllocator, Reader, ReaderSegments};
use capnp::{MessageSize, Word};

use crate::limits::{Limits, MAX_SEGMENTS};

/// Words of a call or an answer beside its parameters or results: the message, the call, its target
/// and payload, and a few capabilities.
const ENVELOPE_WORDS: u64 = 32;

/// The largest first segment that is allocated on a hint, in words (1 MiB): a hint is only that.
const MAX_HINT_WORDS: u64 = 1 << 17;

/// Buffers that a thread keeps for later, and the largest that it keeps, in words (128 KiB).
const SPARE_BUFFERS: usize = 16;
const SPARE_BUFFER_WORDS: usize = 16 << 10;

const WORD_BYTES: usize = 8;

/// A message that is being written.
pub(crate) type Outgoing = Builder<HeapAllocator>;

/// An empty message with room for an envelope and what the hint says.
pub(crate) fn outgoing(hint: Option<MessageSize>) -> Outgoing {
    let content = hint.map_or(0, |size| size.word_count);
    let words = content.saturating_add(ENVELOPE_WORDS).min(MAX_HINT_WORDS);
    let words = u32::try_from(words).unwrap_or(u32::MAX);
    Builder::new(HeapAllocator::new().first_segment_words(words))
}

/// The length of a message when it is framed, in bytes.
pub(crate) fn framed_bytes(message: &Outgoing) -> usize {
    let segments = message.get_segments_for_output();
    let content: usize = segments.iter().map(|segment| segment.len()).sum();
    table_bytes(segments.len()).saturating_add(content)
}

/// A message in the standard stream framing.
pub(crate) fn frame(message: &Outgoing) -> Vec<u8> {
    let segments = message.get_segments_for_output();
    let mut framed = Vec::with_capacity(framed_bytes(message));
    let last = u32::try_from(segments.len().saturating_sub(1)).unwrap_or(u32::MAX);
    framed.extend_from_slice(&last.to_le_bytes());
    for segment in segments.iter() {
        let words = u32::try_from(segment.len() / WORD_BYTES).unwrap_or(u32::MAX);
        framed.extend_from_slice(&words.to_le_bytes());
    }
    framed.resize(table_bytes(segments.len()), 0);
    for segment in segments.iter() {
        framed.extend_from_slice(segment);
    }
    framed
}

/// The segment table: a count, then a size for each, padded to a whole word.
pub(crate) fn table_bytes(segments: usize) -> usize {
    segments
        .saturating_mul(4)
        .saturating_add(4)
        .next_multiple_of(WORD_BYTES)
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    #[error("a message of {bytes} bytes; at most {limit} are accepted")]
    TooLarge { bytes: usize, limit: usize },
    #[error("a message of {segments} segments; at most {MAX_SEGMENTS} are accepted")]
    TooManySegments { segments: usize },
    #[error("{bytes} bytes that are not exactly one framed message")]
    NotOneMessage { bytes: usize },
}

/// A message that came in.
pub(crate) type Incoming = Reader<Segments>;

/// Copies one framed message.
pub(crate) fn incoming(bytes: &[u8], limits: &Limits) -> Result<Incoming, FramingError> {
    if bytes.len() > limits.message_bytes {
        return Err(FramingError::TooLarge {
            bytes: bytes.len(),
            limit: limits.message_bytes,
        });
    }
    let table = Table::read(bytes)?;
    let words = bytes.len() / WORD_BYTES;
    let segments = Segments {
        buffer: Buffer::copy(bytes),
        table,
    };
    Ok(Reader::new(segments, limits.reader_options(words)))
}

/// The segments of a message in a buffer.
pub(crate) struct Segments {
    buffer: Buffer,
    table: Table,
}

/// Where segments begin and end, in bytes of the framed message.
enum Table {
    One(usize, usize),
    Many(Vec<(usize, usize)>),
}

impl Table {
    fn read(bytes: &[u8]) -> Result<Self, FramingError> {
        let wrong = FramingError::NotOneMessage { bytes: bytes.len() };
        let number = |at: usize| -> Result<usize, FramingError> {
            let four = bytes.get(at..at.saturating_add(4)).ok_or(wrong)?;
            let four: [u8; 4] = four.try_into().map_err(|_| wrong)?;
            usize::try_from(u32::from_le_bytes(four)).map_err(|_| wrong)
        };
        let count = number(0)?.saturating_add(1);
        if count > MAX_SEGMENTS {
            return Err(FramingError::TooManySegments { segments: count });
        }
        let mut start = table_bytes(count);
        let mut place = |index: usize| {
            let length = number(4 + 4 * index)?
                .checked_mul(WORD_BYTES)
                .ok_or(wrong)?;
            let begin = start;
            start = start.checked_add(length).ok_or(wrong)?;
            Ok((begin, start))
        };
        let table = if count == 1 {
            let (begin, end) = place(0)?;
            Self::One(begin, end)
        } else {
            Self::Many((0..count).map(place).collect::<Result<_, _>>()?)
        };
        if start == bytes.len() {
            Ok(table)
        } else {
            Err(wrong)
        }
    }

    fn get(&self, id: u32) -> Option<(usize, usize)> {
        match self {
            Self::One(begin, end) => (id == 0).then_some((*begin, *end)),
            Self::Many(places) => places.get(usize::try_from(id).ok()?).copied(),
        }
    }
}

impl ReaderSegments for Segments {
    fn get_segment(&self, id: u32) -> Option<&[u8]> {
        let (begin, end) = self.table.get(id)?;
        self.buffer.bytes().get(begin..end)
    }

    fn len(&self) -> usize {
        match &self.table {
            Table::One(..) => 1,
            Table::Many(places) => places.len(),
        }
    }
}

thread_local! {
    static SPARE: RefCell<Vec<Vec<Word>>> = const { RefCell::new(Vec::new()) };
}

/// A spare buffer that is large enough, and not so large that a small message keeps much more than it is
/// counted for.
fn take_spare(spare: &mut Vec<Vec<Word>>, words: usize) -> Option<Vec<Word>> {
    let most = words.max(ENVELOPE_WORDS as usize).saturating_mul(4);
    let place = spare
        .iter()
        .rposition(|buffer| (words..=most).contains(&buffer.len()))?;
    Some(spare.swap_remove(place))
}

/// Aligned memory that goes back to its thread's spare buffers. It may be longer than its message.
struct Buffer(Vec<Word>);

impl Buffer {
    fn copy(bytes: &[u8]) -> Self {
        let words = bytes.len().div_ceil(WORD_BYTES);
        let mut buffer = SPARE
            .try_with(|spare| take_spare(&mut spare.borrow_mut(), words))
            .ok()
            .flatten()
            // Not one that is grown: what is in it would be copied along.
            .unwrap_or_else(|| Word::allocate_zeroed_vec(words.max(ENVELOPE_WORDS as usize)));
        if let Some(place) = Word::words_to_bytes_mut(&mut buffer).get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        Self(buffer)
    }

    fn bytes(&self) -> &[u8] {
        Word::words_to_bytes(&self.0)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.len() > SPARE_BUFFER_WORDS {
            return;
        }
        // A thread that is ending keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_BUFFERS {
                spare.push(buffer);
            }
        });
    }
}
