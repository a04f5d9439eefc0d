//! A connection that is watched while the body of an answer comes: for how long it stands still, and for
//! what stands behind the last chunk.
//!
//! Both are out of reach from outside of the HTTP client. Its bound on each read holds for the wait for
//! the head of the answer too, which may be much longer; and it skips trailers, where Kubo says why it
//! stopped in the middle of a stream that began well (`X-Stream-Error`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// How much of the end of an answer is kept, in bytes: the last chunk's end and the trailers, of which
/// an honest server sends one, with one message.
const TAIL_BYTES: usize = 4 * 1024;

/// The trailer in which Kubo says why it gave up.
const ERROR_TRAILER: &str = "x-stream-error";

/// What one request and its connection know of each other.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    progress: Duration,
    in_body: AtomicBool,
    tail: Mutex<Vec<u8>>,
}

impl Watch {
    pub(super) fn new(progress: Duration) -> Self {
        Self(Arc::new(Shared {
            progress,
            in_body: AtomicBool::new(false),
            tail: Mutex::default(),
        }))
    }

    /// From now on each read waits no longer than the progress deadline.
    pub(super) fn body_begins(&self) {
        self.0.in_body.store(true, Ordering::Relaxed);
    }

    /// What the trailer of the answer says went wrong, once the body has ended.
    pub(super) fn trailing_error(&self) -> Option<String> {
        let tail = self.0.tail.lock().unwrap_or_else(PoisonError::into_inner);
        trailing_error(&tail)
    }

    fn saw(&self, bytes: &[u8]) {
        let mut tail = self.0.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = bytes
            .get(bytes.len().saturating_sub(TAIL_BYTES)..)
            .unwrap_or_default();
        let surplus = (tail.len() + kept.len()).saturating_sub(TAIL_BYTES);
        tail.drain(..surplus);
        tail.extend_from_slice(kept);
    }
}

/// No chunk of a body can hide a trailer from here, or forge one: what follows the last `0` line of a
/// chunked answer is its trailers, and a trailer has no such line.
fn trailing_error(tail: &[u8]) -> Option<String> {
    const LAST_CHUNK: &[u8] = b"\r\n0\r\n";
    let at = tail
        .windows(LAST_CHUNK.len())
        .rposition(|window| window == LAST_CHUNK)?;
    let trailers = tail.get(at + LAST_CHUNK.len()..)?;
    let trailers = String::from_utf8_lossy(trailers);
    trailers.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case(ERROR_TRAILER)
            .then(|| value.trim().to_owned())
    })
}

impl<In: Transport> Connector<In> for Watch {
    type Out = Watched<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(|inner| Watched {
            inner,
            watch: self.clone(),
        }))
    }
}

#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    watch: Watch,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if self.watch.0.in_body.load(Ordering::Relaxed) {
            timeout.per_read = Some(self.watch.0.progress.into());
        }
        let before = self.inner.buffers().input().len();
        let moved = self.inner.await_input(timeout)?;
        if let Some(fresh) = self.inner.buffers().input().get(before..) {
            self.watch.saw(fresh);
        }
        Ok(moved)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trailer_is_found_behind_the_last_chunk_however_the_bytes_came() {
        let answer = b"5\r\nhello\r\n0\r\nX-Stream-Error: no such block\r\n\r\n";
        for piece in 1..answer.len() {
            let watch = Watch::new(Duration::ZERO);
            for bytes in answer.chunks(piece) {
                watch.saw(bytes);
            }
            assert_eq!(watch.trailing_error().as_deref(), Some("no such block"));
        }
    }

    #[test]
    fn a_body_that_looks_like_a_trailer_is_none_and_the_tail_is_bounded() {
        let watch = Watch::new(Duration::ZERO);
        watch.saw(&vec![b'x'; 10 * TAIL_BYTES]);
        watch.saw(b"\r\n0\r\nX-Stream-Error: forged\r\n\r\n\r\n0\r\n\r\n");
        assert_eq!(watch.trailing_error(), None);
        assert!(
            watch
                .0
                .tail
                .lock()
                .is_ok_and(|tail| tail.len() <= TAIL_BYTES)
        );
    }
}
