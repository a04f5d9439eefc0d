//! Cap'n Proto's standard stream framing, as far as it takes to tell where a message ends.
//!
//! A message is a table (a little-endian `u32` with the number of segments less one, then a `u32`
//! size in 8-byte words for each, padded to a whole word) followed by the segments. The bytes come
//! from a guest, so nothing here believes them: a message of more than [`MAX_SEGMENTS`] segments or
//! of more bytes than the caller allows is refused as soon as its table says so, and memory grows
//! with what has arrived, never with what was announced. What is inside of the segments is none of
//! this module's business.

use thiserror::Error;

/// Segments that one message may have. Cap'n Proto's own readers draw the line here too; writers
/// that are not out to hurt anybody stay far below it.
pub const MAX_SEGMENTS: u64 = 512;

const WORD_BYTES: u64 = 8;

/// A partial message's buffer is reserved in steps of at most this many bytes.
const RESERVE_BYTES: usize = 64 << 10;

/// A buffer that has grown beyond this many bytes is given back after its message. Most messages are
/// small, and a stream that is cut up is so again and again.
const KEPT_BYTES: usize = 4 << 10;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// The table announces more segments than [`MAX_SEGMENTS`].
    #[error("a message of {segments} segments; at most {MAX_SEGMENTS} are accepted")]
    TooManySegments {
        /// How many it announces.
        segments: u64,
    },
    /// The table announces more bytes than are allowed.
    #[error("a message of {bytes} bytes; at most {limit} are accepted")]
    TooLarge {
        /// How many bytes it announces, with the table.
        bytes: u64,
        /// How many are allowed.
        limit: usize,
    },
    /// The bytes are not exactly one message: some are missing, or some are left over.
    #[error("{given} bytes that are not exactly one framed message")]
    NotOneMessage {
        /// How many bytes there are.
        given: usize,
    },
}

/// How long the message is that begins with `bytes`, its table included. `None` while the table
/// itself is incomplete.
///
/// # Errors
/// The table announces too many segments, or more than `limit` bytes.
pub fn message_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, FramingError> {
    let Some(last_segment) = read_u32(bytes, 0) else {
        return Ok(None);
    };
    let segments = u64::from(last_segment) + 1;
    if segments > MAX_SEGMENTS {
        return Err(FramingError::TooManySegments { segments });
    }
    let table = (4 + 4 * segments).next_multiple_of(WORD_BYTES);
    let mut total = table;
    for segment in 0..segments {
        let Some(words) = read_u32(bytes, 4 + 4 * segment as usize) else {
            return Ok(None);
        };
        total += u64::from(words) * WORD_BYTES;
        if total > limit as u64 {
            return Err(FramingError::TooLarge {
                bytes: total,
                limit,
            });
        }
    }
    Ok(Some(total as usize))
}

/// Checks that `bytes` are exactly one message.
///
/// # Errors
/// They are more or fewer than that, or break a bound.
pub fn check_one_message(bytes: &[u8], limit: usize) -> Result<(), FramingError> {
    match message_length(bytes, limit)? {
        Some(length) if length == bytes.len() => Ok(()),
        _ => Err(FramingError::NotOneMessage { given: bytes.len() }),
    }
}

/// Cuts a stream of bytes into messages, wherever its chunks happen to end.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    partial: Vec<u8>,
}

impl Splitter {
    /// A splitter for messages of at most `limit` bytes each, their tables included.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            partial: Vec::new(),
        }
    }

    /// Takes the next bytes of the stream and hands each message that they complete to `message`: a
    /// whole one straight from `chunk`, one that came in pieces from a buffer.
    ///
    /// # Errors
    /// The stream breaks a bound, or `message` failed. It cannot be continued after that: where the
    /// next message would begin is unknown.
    pub fn feed<E: From<FramingError>>(
        &mut self,
        mut chunk: &[u8],
        mut message: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !chunk.is_empty() {
            if self.partial.is_empty()
                && let Some(length) = message_length(chunk, self.limit)?
                && let Some((whole, rest)) = chunk.split_at_checked(length)
            {
                message(whole)?;
                chunk = rest;
                continue;
            }
            let missing = match message_length(&self.partial, self.limit)? {
                Some(length) => length - self.partial.len(),
                None => self.missing_table(),
            };
            let (now, rest) = chunk.split_at(missing.min(chunk.len()));
            self.partial.reserve(missing.min(RESERVE_BYTES));
            self.partial.extend_from_slice(now);
            chunk = rest;
            if message_length(&self.partial, self.limit)? == Some(self.partial.len()) {
                let whole = std::mem::take(&mut self.partial);
                message(&whole)?;
                if whole.capacity() <= KEPT_BYTES {
                    self.partial = whole;
                    self.partial.clear();
                }
            }
        }
        Ok(())
    }

    /// Whether the stream so far ends with a whole message.
    pub fn is_at_boundary(&self) -> bool {
        self.partial.is_empty()
    }

    /// How many more bytes it takes to know the message's length, or at least more of its table.
    fn missing_table(&self) -> usize {
        let table = match read_u32(&self.partial, 0) {
            None => 4,
            Some(last_segment) => 8 + 4 * last_segment as usize,
        };
        table.saturating_sub(self.partial.len()).max(1)
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 64 << 10;

    fn framed(segments: &[Vec<u8>]) -> Vec<u8> {
        let mut out = (segments.len() as u32 - 1).to_le_bytes().to_vec();
        for segment in segments {
            out.extend((segment.len() as u32 / 8).to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(8), 0);
        for segment in segments {
            out.extend(segment);
        }
        out
    }

    fn any_message() -> impl Strategy<Value = Vec<u8>> {
        let segment = (0usize..20, any::<u8>()).prop_map(|(words, fill)| vec![fill; words * 8]);
        prop::collection::vec(segment, 1..9).prop_map(|segments| framed(&segments))
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_wherever_the_chunks_end(
            messages in prop::collection::vec(any_message(), 0..6),
            cuts in prop::collection::vec(1usize..70, 1..40),
        ) {
            let stream = messages.concat();
            let mut splitter = Splitter::new(LIMIT);
            let mut out = Vec::new();
            let mut rest = stream.as_slice();
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                splitter
                    .feed(chunk, |message| {
                        out.push(message.to_vec());
                        Ok::<_, FramingError>(())
                    })
                    .unwrap();
                rest = tail;
            }
            prop_assert!(splitter.is_at_boundary());
            prop_assert_eq!(out, messages);
        }

        #[test]
        fn hostile_bytes_never_cost_more_memory_than_arrived(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            cut in 1usize..90,
        ) {
            let mut splitter = Splitter::new(LIMIT);
            for chunk in bytes.chunks(cut) {
                if splitter.feed(chunk, |_| Ok::<_, FramingError>(())).is_err() {
                    break;
                }
            }
            prop_assert!(splitter.partial.capacity() <= 2 * RESERVE_BYTES);
        }

        #[test]
        fn one_message_is_told_from_less_and_from_more(message in any_message(), cut in 1usize..8) {
            prop_assert_eq!(check_one_message(&message, LIMIT), Ok(()));
            let short = &message[..message.len() - cut];
            prop_assert_eq!(
                check_one_message(short, LIMIT),
                Err(FramingError::NotOneMessage { given: short.len() })
            );
            let mut long = message.clone();
            long.push(0);
            prop_assert!(check_one_message(&long, LIMIT).is_err());
        }
    }

    #[test]
    fn too_many_segments_are_refused_by_the_first_word() {
        assert_eq!(
            message_length(&u32::MAX.to_le_bytes(), LIMIT),
            Err(FramingError::TooManySegments { segments: 1 << 32 })
        );
        assert_eq!(message_length(&511u32.to_le_bytes(), LIMIT), Ok(None));
        assert!(message_length(&512u32.to_le_bytes(), LIMIT).is_err());
    }

    #[test]
    fn an_announcement_beyond_the_limit_is_refused_before_its_bytes_come() {
        let mut splitter = Splitter::new(LIMIT);
        let huge = [0u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
        assert!(matches!(
            splitter.feed(&huge, |_| Ok(())),
            Err(FramingError::TooLarge { limit: LIMIT, .. })
        ));
    }
}
