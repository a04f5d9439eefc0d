//! What one connection may make this vat hold, and why.
//!
//! Every table, queue and message that a peer can make grow has its limit here. A limit that is hit
//! fails the one call that hit it, with an exception of type `overloaded` that names the limit; where
//! there is no call to fail, it ends the connection with an `Abort` that names it. It never touches
//! another connection.

use capnp::message::ReaderOptions;

/// Segments that one message may have. Cap'n Proto's own readers draw the line here too; writers that
/// are not out to hurt anybody stay far below it.
pub const MAX_SEGMENTS: usize = 512;

/// How many bytes of an exception's text are kept, from whichever side it comes: errors are cloned to
/// everybody who waits for them.
pub const MAX_REASON_BYTES: usize = 4096;

/// How many promises that have resolved to promises are followed in a row. Those of one vat are
/// shortened as they are followed, so that only a chain made on purpose is as long as this.
pub const MAX_HOPS: usize = 1024;

/// Words that may be read from any message, however small, beside its own size.
const SPARE_WORDS: usize = 1024;

/// What one connection may make this vat hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes with its framing, in either direction. Default 8 MiB: bulk goes
    /// through streams. A larger one that comes in ends the connection; of those that go out the call
    /// or the answer fails.
    pub message_bytes: usize,
    /// How deeply pointers may nest in a message. Default 64, Cap'n Proto's own.
    pub nesting: u32,
    /// How often its own size a message may be read in all, plus 8 KiB. Default 16: servers may look
    /// at their parameters a few times, but a small message whose pointers all name one large object
    /// must not be copied out at a thousand times its size.
    pub rereads: usize,
    /// Capabilities in one message. Default 256: more than any interface passes at a time.
    pub message_capabilities: u32,
    /// Steps from a result to the capability in it that a pipelined call names. Default 32: results
    /// nest by hand-written structs.
    pub path_steps: u32,
    /// Calls from the peer that have not been finished. Default 1,024, at some 1.5 KiB each and
    /// their parameters.
    pub answers: usize,
    /// Parameters of calls that have not been answered, and results that have not been released, in
    /// bytes. Default 8 MiB. Beyond it the peer is held back (see [`Inbox::poll_room`]); beyond twice
    /// as much its calls fail.
    ///
    /// [`Inbox::poll_room`]: crate::Inbox::poll_room
    pub bytes_in_flight: usize,
    /// How many calls in a row may each be made on the promised result of the one before, while
    /// none has returned. Default 128: programs that are written by hand chain a few.
    pub pipeline_depth: u32,
    /// Calls to the peer that it has not answered, or of which it has not been told that they are
    /// finished. Default 1,024.
    pub questions: usize,
    /// Messages that wait for the peer to read them, in bytes. Default 16 MiB. Beyond it calls to the
    /// peer fail, and so do results; beyond twice as much the connection ends, because what is left is
    /// messages that the protocol cannot do without.
    pub outgoing_bytes: usize,
    /// Capabilities that the peer holds here. Default 4,096.
    pub exports: usize,
    /// Capabilities that are held from the peer. Default 4,096.
    pub imports: usize,
    /// Promises that have resolved to something here, and whose last calls the peer has not sent back
    /// yet. Default 256.
    pub embargoes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 8 << 20,
            nesting: 64,
            rereads: 16,
            message_capabilities: 256,
            path_steps: 32,
            answers: 1024,
            bytes_in_flight: 8 << 20,
            pipeline_depth: 128,
            questions: 1024,
            outgoing_bytes: 16 << 20,
            exports: 4096,
            imports: 4096,
            embargoes: 256,
        }
    }
}

impl Limits {
    /// How a message of so many words is read.
    pub(crate) fn reader_options(&self, words: usize) -> ReaderOptions {
        let mut options = ReaderOptions::new();
        options
            .nesting_limit(i32::try_from(self.nesting).unwrap_or(i32::MAX))
            .traversal_limit_in_words(Some(
                words
                    .saturating_mul(self.rereads)
                    .saturating_add(SPARE_WORDS),
            ));
        options
    }
}
