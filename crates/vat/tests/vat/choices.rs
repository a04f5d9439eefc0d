//! Bytes as a list of choices: what generates sessions and histories. When they are used up every choice
//! is the first, so that a shorter list is a simpler case.

/// Choices that have not been made.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// One of the first `count` numbers; 0 if there are none.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// Whether a thing happens that does so once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// One of some things, if there are any.
    pub fn pick<'b, T>(&mut self, from: &'b [T]) -> Option<&'b T> {
        from.get(self.below(from.len()))
    }
}

/// The choices of a seed (splitmix64).
pub fn of_seed(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Leaves out whatever is not needed to fail.
pub fn shortest(mut bytes: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut part = bytes.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at + part <= bytes.len() {
            let mut fewer = bytes.clone();
            fewer.drain(at..at + part);
            if fails(&fewer) {
                bytes = fewer;
            } else {
                at += part.div_ceil(2);
            }
        }
        part /= 2;
    }
    for at in 0..bytes.len() {
        let before = std::mem::take(&mut bytes[at]);
        if before != 0 && !fails(&bytes) {
            bytes[at] = before;
        }
    }
    bytes
}
