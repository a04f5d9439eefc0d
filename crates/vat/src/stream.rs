//! Connections over byte streams: sockets, pipes, streams of other protocols.
//!
//! [`connect`] gives a [`Connection`] and a future, the *exchange*, that carries messages both ways in
//! the standard stream framing; [`serve`] is both in one. The exchange ends when the connection does,
//! and the connection when the exchange is dropped, when a stream ends or fails, or when the peer breaks
//! a rule.
//!
//! Memory for what comes in grows with what has arrived, never with what a header announces. A peer that
//! makes this side hold too much is not read from for a while: too many bytes in flight, or too many
//! answers that it does not read. It is held back and not stopped, because what would make room (a
//! `Finish`, say) may be in what it has sent already. What that cannot cure the connection's limits end.
//! A peer that begins a message and does not end it is hung up on after [`UNFINISHED`].

mod incoming;
mod queue;
mod splitter;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use capnp::Error;
use capnp::capability::Client;
use futures::future::{Either, OptionFuture, select};
use futures::io::{AsyncRead, AsyncWrite};

use crate::connection::{Connection, Inbox};
use crate::limits::Limits;
use incoming::Incoming;
use queue::{Outgoing, Queue};

/// How long a connection that has ended may take to write what is queued (the reason, at the last) and
/// to see the peer hang up. Enough for a few round trips; a peer that does not read costs no more.
pub const FAREWELL: Duration = Duration::from_secs(1);

/// How long a peer is held back before a little of what it sent is taken in all the same. Long enough
/// to slow a peer down to some 6 MB/s, short enough not to be felt by one that only has to say what it
/// has finished with.
pub const HOLD_BACK: Duration = Duration::from_millis(10);

/// How long a peer may take to send the rest of a message that it has begun. What has arrived of it is held
/// meanwhile. Enough for the longest message over a poor network; a peer that needs longer is stuck or means ill.
pub const UNFINISHED: Duration = Duration::from_secs(60);

/// Joins this vat to a peer over a byte stream. `bootstrap` is what the peer gets when it asks.
///
/// The exchange carries the messages, and has to be polled until it ends; beside it somebody has to
/// [`drive`](crate::drive) the thread's vat. It gives its thread back after some dozens of messages.
/// When the connection ends it still writes what is queued, for at most [`FAREWELL`], and closes the
/// writer. Dropping it ends the connection, and what is queued is lost.
///
/// This crate has no clock: `sleep` is the runtime's, for instance `tokio::time::sleep`.
pub fn connect<R, W, S>(
    reader: R,
    writer: W,
    sleep: impl Fn(Duration) -> S,
    limits: Limits,
    bootstrap: Option<Client>,
) -> (Connection, impl Future<Output = ()>)
where
    R: AsyncRead,
    W: AsyncWrite,
    S: Future<Output = ()>,
{
    let queue = Rc::new(Queue::default());
    let incoming = Incoming::new(&limits);
    let connection = Connection::new(queue::Sender::new(&queue), limits, bootstrap);
    let end = End {
        inbox: connection.inbox(),
        queue,
    };
    let exchange = exchange(reader, writer, sleep, incoming, end);
    (connection, exchange)
}

/// As [`connect`], for a side that only answers. Returns why the connection ended.
pub async fn serve<R, W, S>(
    reader: R,
    writer: W,
    sleep: impl Fn(Duration) -> S,
    limits: Limits,
    bootstrap: Client,
) -> Error
where
    R: AsyncRead,
    W: AsyncWrite,
    S: Future<Output = ()>,
{
    let (connection, exchange) = connect(reader, writer, sleep, limits, Some(bootstrap));
    exchange.await;
    connection.ended().await
}

/// What the clock is needed for.
enum Timer {
    HoldBack,
    Unfinished,
}

/// Polls one of the timers, which may be to begin again.
type Timers<'a> = dyn FnMut(Timer, &mut Context<'_>, bool) -> Poll<()> + 'a;

/// This end of a connection. Ends it when dropped.
struct End {
    inbox: Inbox,
    queue: Rc<Queue>,
}

impl End {
    /// The stream cannot go on.
    fn broken(&self, what: &str, why: &dyn std::fmt::Display) {
        self.inbox
            .close(Error::disconnected(format!("{what}: {why}")));
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.queue.abandon();
        self.inbox.close(Error::disconnected(
            "nobody carries the connection's messages any more".into(),
        ));
    }
}

async fn exchange<S: Future<Output = ()>>(
    reader: impl AsyncRead,
    writer: impl AsyncWrite,
    sleep: impl Fn(Duration) -> S,
    mut incoming: Incoming,
    end: End,
) {
    let mut reader = pin!(reader);
    let mut writer = pin!(writer);
    let mut outgoing = Outgoing::default();
    {
        let mut held = pin!(OptionFuture::<S>::from(None));
        let mut late = pin!(OptionFuture::<S>::from(None));
        poll_fn(|context| {
            let mut timers = |timer: Timer, context: &mut Context<'_>, begin: bool| {
                let (mut running, duration) = match timer {
                    Timer::HoldBack => (held.as_mut(), HOLD_BACK),
                    Timer::Unfinished => (late.as_mut(), UNFINISHED),
                };
                if begin {
                    running.set(Some(sleep(duration)).into());
                }
                running.poll(context).map(drop)
            };
            poll_open(
                &end,
                &mut incoming,
                &mut outgoing,
                reader.as_mut(),
                writer.as_mut(),
                &mut timers,
                context,
            )
        })
        .await;
    }
    let farewell = poll_fn(|context| {
        let written = outgoing.poll_close(&end.queue, writer.as_mut(), context);
        let heard = incoming.poll_drain(reader.as_mut(), context);
        match written {
            Poll::Ready(Ok(())) => heard,
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    });
    match select(pin!(farewell), pin!(sleep(FAREWELL))).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}

/// Carries messages while the connection is open. Ready when it has ended.
fn poll_open<W: AsyncWrite>(
    end: &End,
    incoming: &mut Incoming,
    outgoing: &mut Outgoing,
    mut reader: Pin<&mut impl AsyncRead>,
    mut writer: Pin<&mut W>,
    timers: &mut Timers<'_>,
    context: &mut Context<'_>,
) -> Poll<()> {
    end.queue.forget_waker();
    let received = incoming.poll_receive(&end.inbox, &end.queue, reader.as_mut(), timers, context);
    if let Poll::Ready(Err(error)) = received {
        end.broken("nothing more comes from the peer", &error);
    }
    if let Poll::Ready(Err(error)) = outgoing.poll_write(&end.queue, writer.as_mut(), context) {
        end.broken("the peer cannot be written to", &error);
        end.queue.abandon();
    }
    if end.queue.is_closed() {
        return Poll::Ready(());
    }
    end.queue.wake_when_sent(context);
    if incoming.may_go_on(&end.queue) {
        context.waker().wake_by_ref();
    }
    Poll::Pending
}
