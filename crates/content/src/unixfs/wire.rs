//! The little of protocol buffers that dag-pb and UnixFS need: varints and byte strings.
//!
//! Our own because dag-pb is stricter than protocol buffers and in another order (links before data),
//! and because a general decoder lets two bytes of input become a hundred in memory. Refused: varints
//! that are too long or not the shortest, lengths beyond the end, groups, and field number 0.

/// What is wrong with some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The value of a field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Eight or four bytes; nothing here uses them, newer writers may.
    Fixed,
}

/// Reads fields off the front of a message.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next field and its number; `None` at the end.
    pub(crate) fn next_field(&mut self) -> Result<Option<(u64, Field<'a>)>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return Err(Malformed("a field has an unknown wire type")),
        };
        match tag >> 3 {
            0 => Err(Malformed("a field has number 0")),
            number => Ok(Some((number, field))),
        }
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self
                .0
                .split_first()
                .ok_or(Malformed("a number is cut off"))?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest {
                    Ok(value)
                } else {
                    Err(Malformed("a number is padded"))
                };
            }
        }
        Err(Malformed("a number is over 64 bits"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.0.split_at_checked(length))
            .ok_or(Malformed("a length leads beyond the end"))?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Takes the value of a field that may occur once.
pub(crate) fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed("a field occurs twice")),
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_varint_field(out: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(out, number << 3);
    put_varint(out, value);
}

pub(crate) fn put_bytes_field(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_padded_and_cut_numbers_are_refused() {
        let too_long = [[0xff; 9].as_slice(), &[0x02]].concat();
        for bytes in [&too_long[..], &[0x80, 0x00], &[0x80], &[], &[0xff; 11]] {
            assert!(Reader::new(bytes).varint().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn lengths_beyond_the_end_groups_and_field_zero_are_refused() {
        for bytes in [
            &[0x0a, 2, 0][..],
            &[0x0b],
            &[0x0c],
            &[0x02, 0],
            &[0x09, 0],
            &[0x0f],
        ] {
            assert!(Reader::new(bytes).next_field().is_err(), "{bytes:?}");
        }
        let mut endless = vec![0x0a];
        put_varint(&mut endless, u64::MAX);
        assert!(Reader::new(&endless).next_field().is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(value in any::<u64>()) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
        }
    }
}
