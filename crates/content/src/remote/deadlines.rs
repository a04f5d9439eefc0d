//! How long each part of a request may take.

use std::time::Duration;

/// The least that a body must bring in each [`Deadlines::progress`] to count as moving, in bytes. Far
/// below the slowest line that anybody has, and far above a server that sends a byte now and then to
/// keep us waiting.
pub(super) const LEAST_PROGRESS_BYTES: u64 = 4 * 1024;

/// How long each part of a request may take. A small call ends within [`call`](Self::call); a stream
/// may take long as long as it moves. The daemon is given three quarters of the bound, so that it gives up
/// by itself, and says so, before we do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// To look up the name, and then again to connect, TLS included.
    pub connect: Duration,
    /// From the request to the head of the answer. A daemon that does not have a block looks for it
    /// among its peers in this time.
    pub answer: Duration,
    /// In which a body must move: at least 4 KiB come, or what is sent be taken.
    pub progress: Duration,
    /// For the whole of a small call.
    pub call: Duration,
    /// For the whole of a stream. A backstop: one that does not move ends much earlier.
    pub stream: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            // A local daemon connects in microseconds; a far gateway with TLS within three round trips.
            connect: Duration::from_secs(5),
            // Kubo finds a provider in the public network within some tens of seconds, or hardly ever.
            answer: Duration::from_secs(60),
            // Longer than a retransmission after a lost link, shorter than a user's patience.
            progress: Duration::from_secs(20),
            // A block of 2 MiB over 32 KiB a second, after the answer came late.
            call: Duration::from_secs(120),
            stream: Duration::from_secs(24 * 60 * 60),
        }
    }
}
