//! Where one message ends and the next begins.

use crate::limits::{Limits, MAX_SEGMENTS};
use crate::message::{FramingError, table_bytes};

/// What is read at once, in bytes, and what a connection keeps for that.
pub(super) const READ_BYTES: usize = 16 << 10;

const WORD_BYTES: usize = 8;

/// Bytes that have come in, cut into framed messages.
///
/// Its memory is at most twice what has arrived of the message that is not whole yet, and that is at
/// most the longest message that is taken.
pub(super) struct Splitter {
    buffer: Vec<u8>,
    /// What is in the buffer: `begin..end`.
    begin: usize,
    end: usize,
    /// The length of the first message, once its table is whole.
    length: Option<usize>,
    message_bytes: usize,
}

impl Splitter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            buffer: Vec::new(),
            begin: 0,
            end: 0,
            length: None,
            message_bytes: limits.message_bytes,
        }
    }

    /// Whether nothing of a message has arrived that is not whole.
    pub(super) fn is_between_messages(&self) -> bool {
        self.begin == self.end
    }

    /// Where more is to be read into. Never empty.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let held = self.end.saturating_sub(self.begin);
        if held == 0 && self.buffer.len() > READ_BYTES {
            self.buffer = Vec::new();
        } else if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
        }
        (self.begin, self.end) = (0, held);
        let room = self.buffer.len().saturating_sub(held);
        if room == 0 {
            let more = held.max(READ_BYTES);
            self.buffer.resize(held.saturating_add(more), 0);
        }
        self.buffer.get_mut(held..).unwrap_or_default()
    }

    /// So many bytes have been read into the space.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.buffer.len());
    }

    /// The length of the first message, if all of it is here.
    pub(super) fn whole(&mut self) -> Result<Option<usize>, FramingError> {
        let held = self.held();
        let length = match self.length {
            Some(length) => length,
            None => match framed_bytes(held, self.message_bytes)? {
                Some(length) => *self.length.insert(length),
                None => return Ok(None),
            },
        };
        Ok((length <= self.held().len()).then_some(length))
    }

    /// Takes the first bytes out.
    pub(super) fn take(&mut self, bytes: usize) -> &[u8] {
        let begin = self.begin;
        self.begin = begin.saturating_add(bytes).min(self.end);
        self.length = None;
        self.buffer.get(begin..self.begin).unwrap_or_default()
    }

    fn held(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }
}

/// How long the message is with which some bytes begin, as far as they say.
fn framed_bytes(held: &[u8], limit: usize) -> Result<Option<usize>, FramingError> {
    let mut numbers = held
        .as_chunks::<4>()
        .0
        .iter()
        .map(|four| usize::try_from(u32::from_le_bytes(*four)).unwrap_or(usize::MAX));
    let Some(last) = numbers.next() else {
        return Ok(None);
    };
    let segments = last.saturating_add(1);
    if segments > MAX_SEGMENTS {
        return Err(FramingError::TooManySegments { segments });
    }
    let mut bytes = table_bytes(segments);
    for _ in 0..segments {
        let Some(words) = numbers.next() else {
            return Ok(None);
        };
        bytes = bytes.saturating_add(words.saturating_mul(WORD_BYTES));
        if bytes > limit {
            return Err(FramingError::TooLarge { bytes, limit });
        }
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn feed(splitter: &mut Splitter, mut bytes: &[u8], at_once: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let space = splitter.space();
            let count = at_once.min(space.len()).min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            splitter.filled(count);
            bytes = &bytes[count..];
            while let Some(length) = splitter.whole().unwrap() {
                messages.push(splitter.take(length).to_vec());
            }
        }
        messages
    }

    fn framed(segments: &[usize]) -> Vec<u8> {
        let mut message = u32::try_from(segments.len() - 1)
            .unwrap()
            .to_le_bytes()
            .to_vec();
        for words in segments {
            message.extend(u32::try_from(*words).unwrap().to_le_bytes());
        }
        message.resize(message.len().next_multiple_of(8), 0);
        message.resize(message.len() + segments.iter().sum::<usize>() * 8, 7);
        message
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let messages = [
            framed(&[1]),
            framed(&[0]),
            framed(&[3, 0, 5]),
            framed(&[5000]),
            framed(&[1; 512]),
            framed(&[2, 2]),
        ];
        for at_once in [1, 3, 4, 7, 8, 9, 1000, 100_000] {
            let mut splitter = Splitter::new(&Limits::default());
            assert_eq!(feed(&mut splitter, &messages.concat(), at_once), messages);
            assert!(splitter.is_between_messages());
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_by_its_table_alone() {
        let limits = Limits::default();
        let mut splitter = Splitter::new(&limits);
        let mut header = 511_u32.to_le_bytes().to_vec();
        header.extend([0xff; 4]);
        splitter.space()[..8].copy_from_slice(&header);
        splitter.filled(8);
        assert!(matches!(
            splitter.whole(),
            Err(FramingError::TooLarge { .. })
        ));
        assert!(splitter.buffer.len() <= READ_BYTES);
    }

    #[test]
    fn a_table_that_is_too_long_is_refused_by_its_count_alone() {
        let mut splitter = Splitter::new(&Limits::default());
        splitter.space()[..4].copy_from_slice(&512_u32.to_le_bytes());
        splitter.filled(4);
        assert_eq!(
            splitter.whole(),
            Err(FramingError::TooManySegments { segments: 513 })
        );
    }

    #[test]
    fn memory_grows_with_what_has_arrived() {
        let mut splitter = Splitter::new(&Limits::default());
        let message = framed(&[1 << 19]);
        for (arrived, chunk) in (0_usize..).zip(message[..1 << 20].chunks(1 << 10)) {
            assert!(feed(&mut splitter, chunk, usize::MAX).is_empty());
            let arrived = (arrived + 1) << 10;
            assert!(splitter.buffer.len() <= (2 * arrived).max(READ_BYTES));
        }
        feed(&mut splitter, &message[1 << 20..], usize::MAX);
        assert!(splitter.is_between_messages());
        splitter.space();
        assert_eq!(splitter.buffer.len(), READ_BYTES);
    }
}
