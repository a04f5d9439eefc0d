//! What a `ByteStream` of content is over, a file or a CAR that is made as it is read; and a stream of somebody else's
//! that is read here.
//!
//! Nothing is read ahead of whoever reads, and no thread waits for them. One piece of work goes on at a time for each
//! stream; an error ends it, and is told again to whoever asks again, so that no end is taken for a whole. A thread
//! that waits for somebody else's stream waits for a bounded time.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use content::ContentError;
use content::read::File;
use schema::system_capnp::byte_stream::Client;
use tokio::sync::{Mutex, mpsc};

use super::failed;
use crate::ipfs::Places;
use crate::rpc::byte_stream::{self, Carrier};

/// What gives bytes, and may block while it does.
type Source = Box<dyn FnMut(usize) -> Result<Bytes, ContentError> + Send>;

/// Content that is read.
pub struct Reading {
    places: Places,
    state: Mutex<State>,
}

enum State {
    Open(Source),
    /// Out for a piece of work. Left so by a read that was given up.
    Away,
    Failed(String),
    Closed,
}

impl Reading {
    /// What `source` gives, until it gives nothing.
    pub fn new(
        places: Places,
        source: impl FnMut(usize) -> Result<Bytes, ContentError> + Send + 'static,
    ) -> Self {
        Self {
            places,
            state: Mutex::new(State::Open(Box::new(source))),
        }
    }

    /// So many bytes of a file, from an offset on.
    pub fn file(places: Places, file: File, mut offset: u64, mut left: u64) -> Self {
        Self::new(places, move |max_bytes| {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(max_bytes);
            let mut buffer = vec![0; wanted];
            let read = file.read_at(offset, &mut buffer)?;
            buffer.truncate(read);
            offset = offset.saturating_add(read as u64);
            left = left.saturating_sub(read as u64);
            Ok(buffer.into())
        })
    }
}

impl Carrier for Reading {
    async fn read(&self, max_bytes: usize) -> capnp::Result<Bytes> {
        let mut state = self.state.lock().await;
        let mut source = match std::mem::replace(&mut *state, State::Away) {
            State::Open(source) => source,
            State::Closed => {
                *state = State::Closed;
                return Ok(Bytes::new());
            }
            State::Failed(why) => {
                let error = failed("read", &why);
                *state = State::Failed(why);
                return Err(error);
            }
            State::Away => {
                return Err(failed(
                    "read",
                    "an earlier read of this stream was given up half-way",
                ));
            }
        };
        let read = self.places.run(move || {
            let bytes = source(max_bytes)?;
            Ok((source, bytes))
        });
        match read.await {
            Ok((_, bytes)) if bytes.is_empty() => {
                *state = State::Closed;
                Ok(bytes)
            }
            Ok((source, bytes)) => {
                *state = State::Open(source);
                Ok(bytes)
            }
            Err(error) => {
                let why = error.to_string();
                let error = failed("read", &why);
                *state = State::Failed(why);
                Err(error)
            }
        }
    }

    async fn write(&self, _data: &[u8]) -> capnp::Result<()> {
        Err(byte_stream::for_reading_only())
    }

    async fn close(&self) -> capnp::Result<()> {
        *self.state.lock().await = State::Closed;
        Ok(())
    }
}

/// How long whoever is read from may take for the next piece: a thread waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pieces that wait to be read.
const QUEUED: usize = 2;

/// The bytes of a piece.
const PIECE_BYTES: usize = 256 * 1024;

enum Piece {
    Bytes(Bytes),
    End,
}

/// A pipe from a task that waits for somebody else to a thread that reads.
pub fn pipe() -> (Feeder, Fed) {
    let (pieces, queue) = mpsc::channel(QUEUED);
    let fed = Fed {
        queue,
        current: Bytes::new(),
        over: false,
    };
    let patience = PATIENCE;
    (Feeder { pieces, patience }, fed)
}

/// The end that is written to.
pub struct Feeder {
    pieces: mpsc::Sender<Piece>,
    /// How long the next piece may take.
    patience: Duration,
}

impl Feeder {
    /// Reads a stream to its end. Returns early when nobody reads any more.
    pub async fn feed(self, stream: Client) -> capnp::Result<()> {
        let pieces = self.pieces.clone();
        tokio::select! {
            fed = self.feed_all(stream) => fed,
            () = pieces.closed() => Ok(()),
        }
    }

    async fn feed_all(self, stream: Client) -> capnp::Result<()> {
        let too_slow = |_| {
            let patience = self.patience;
            capnp::Error::failed(format!(
                "the stream gave less than {PIECE_BYTES} bytes in {patience:?}"
            ))
        };
        loop {
            let piece = tokio::time::timeout(self.patience, piece(&stream)).await;
            let (bytes, over) = piece.map_err(too_slow)??;
            for piece in [Some(Piece::Bytes(bytes)), over.then_some(Piece::End)] {
                let Some(piece) = piece else {
                    continue;
                };
                if self.pieces.send(piece).await.is_err() {
                    return Ok(());
                }
            }
            if over {
                return Ok(());
            }
        }
    }
}

/// The next bytes of a stream, less than a whole piece only at its end, and whether that is reached.
async fn piece(stream: &Client) -> capnp::Result<(Bytes, bool)> {
    let mut piece = BytesMut::new();
    loop {
        let wanted = PIECE_BYTES.saturating_sub(piece.len());
        if wanted == 0 {
            return Ok((piece.freeze(), false));
        }
        let mut request = stream.read_request();
        request
            .get()
            .set_max_bytes(u32::try_from(wanted).unwrap_or(u32::MAX));
        let answer = request.send().promise.await?;
        let bytes = answer.get()?.get_data()?;
        if bytes.is_empty() {
            return Ok((piece.freeze(), true));
        }
        if bytes.len() > wanted {
            return Err(capnp::Error::failed(format!(
                "the stream gave {} bytes, and was asked for {wanted}",
                bytes.len()
            )));
        }
        piece.extend_from_slice(bytes);
    }
}

/// The end that is read.
pub struct Fed {
    queue: mpsc::Receiver<Piece>,
    current: Bytes,
    over: bool,
}

/// An end is an end only if it was told: one that comes because the other side has gone is an error.
impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.over {
            match self.queue.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => self.over = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = buffer.len().min(self.current.len());
        if let Some(free) = buffer.get_mut(..count) {
            self.current.copy_to_slice(free);
        }
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use capnp::capability::Rc;
    use cell::{Budget, Resource};
    use tokio::task::{LocalSet, spawn_blocking};

    use super::*;
    use crate::rpc::byte_stream::ByteStream;

    /// Gives so many bytes at a time, so often; then nothing, or no answer.
    struct Sender {
        bytes: usize,
        times: std::cell::Cell<usize>,
        ends: bool,
    }

    impl Carrier for Sender {
        async fn read(&self, _max_bytes: usize) -> capnp::Result<Bytes> {
            match self.times.get().checked_sub(1) {
                Some(left) => {
                    self.times.set(left);
                    Ok(vec![7; self.bytes].into())
                }
                None if self.ends => Ok(Bytes::new()),
                None => std::future::pending().await,
            }
        }

        async fn write(&self, _data: &[u8]) -> capnp::Result<()> {
            Err(byte_stream::for_reading_only())
        }

        async fn close(&self) -> capnp::Result<()> {
            Ok(())
        }
    }

    /// What comes of feeding this to somebody who reads so many bytes: what the feeder says, and the reader.
    async fn fed(sender: Sender, limit: u64) -> (capnp::Result<()>, io::Result<usize>) {
        fed_within(sender, limit, PATIENCE).await
    }

    async fn fed_within(
        sender: Sender,
        limit: u64,
        patience: Duration,
    ) -> (capnp::Result<()>, io::Result<usize>) {
        let counted = Budget::default().open(Resource::Streams);
        let stream = crate::rpc::client(Rc::new(ByteStream::new(sender, counted)));
        LocalSet::new()
            .run_until(vat::run_until(async move {
                let (mut feeder, fed) = pipe();
                feeder.patience = patience;
                let read = spawn_blocking(move || fed.take(limit).read_to_end(&mut Vec::new()));
                let (fed, read) = futures::future::join(feeder.feed(stream), read).await;
                (fed, read.unwrap())
            }))
            .await
    }

    fn sender(bytes: usize, times: usize, ends: bool) -> Sender {
        let times = times.into();
        Sender { bytes, times, ends }
    }

    #[tokio::test]
    async fn all_that_a_stream_gives_arrives() {
        for (bytes, times) in [(1, 0), (1, 3), (1024, 700), (PIECE_BYTES, 3)] {
            let (fed, read) = fed(sender(bytes, times, true), u64::MAX).await;
            fed.unwrap();
            assert_eq!(read.unwrap(), bytes * times);
        }
    }

    #[tokio::test]
    async fn a_stream_that_gives_more_than_was_asked_for_is_refused() {
        let (fed, read) = fed(sender(PIECE_BYTES + 1, 1, true), u64::MAX).await;
        let refused = fed.unwrap_err().extra;
        assert!(refused.contains("was asked for 262144"), "{refused}");
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_stream_that_is_read_no_more() {
        let (fed, read) = fed(sender(PIECE_BYTES, 1, false), 10).await;
        fed.unwrap();
        assert_eq!(read.unwrap(), 10);
    }

    #[tokio::test]
    async fn a_stream_that_trickles_does_not_hold_whoever_reads_it() {
        let (fed, read) =
            fed_within(sender(1, 5, false), u64::MAX, Duration::from_millis(10)).await;
        let refused = fed.unwrap_err().extra;
        assert!(refused.contains("less than 262144 bytes"), "{refused}");
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
