//! The conversation with the host as a network that `capnp-rpc` can use: whole messages over
//! `wetware:rpc`.
//!
//! A message is handed to the host the moment it is sent, so that there is nothing to flush.
//! What arrives is taken in batches, and read where it lies. While the host has no room for a message,
//! sending it does not return: that is the back-pressure on a cell.
//!
//! `capnp-rpc` does not look at whether sending succeeded, so this module answers for the host where
//! a message is refused: a call that is too large fails with an error that says so, and a result
//! that is too large becomes one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use capnp::capability::Promise;
use capnp::message::{Builder, HeapAllocator, Reader, ReaderOptions, ReaderSegments};
use capnp::serialize::{self, BufferSegments};
use capnp::{Word, any_pointer};
use capnp_rpc::rpc_capnp::{exception, message, return_};
use futures::channel::oneshot;

use crate::bindings::wetware::rpc::rpc::{self, Connection};
use crate::error::{Error, Result};
use crate::reactor::Readiness;

/// The first segment of an outgoing message: room for a call with a few arguments. `capnp-rpc` asks for
/// 8 KiB, which it takes longer to clear than to fill; larger content goes into segments of its own.
const MOST_FIRST_WORDS: u32 = 64;
/// Smaller ones are not worth a second segment.
const LEAST_FIRST_WORDS: u32 = 8;
/// The scratch buffer is kept from message to message unless one made it larger than this.
const SCRATCH_BYTES: usize = 64 * 1024;

/// The other party: there is only one.
#[derive(Clone, Copy)]
pub(crate) struct Host;

/// A network of two, the guest and its host.
pub(crate) struct Network {
    link: Rc<Link>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Network {
    /// Takes the cell's conversation.
    ///
    /// # Errors
    /// [`Error::Taken`] the second time; [`Error::Disconnected`] where there is none.
    pub(crate) fn connect() -> Result<Self> {
        let connection = rpc::connect().map_err(|error| match error {
            rpc::Error::Taken => Error::Taken,
            _ => Error::Disconnected,
        })?;
        let (end, ended) = oneshot::channel();
        let link = Link {
            readiness: Readiness::new(connection.subscribe()),
            connection,
            scratch: RefCell::default(),
            batch: RefCell::default(),
            answered: RefCell::default(),
            receiver: RefCell::default(),
            closed: Cell::new(false),
            end: Cell::new(Some(end)),
        };
        Ok(Self {
            link: Rc::new(link),
            ended: Some(ended),
        })
    }
}

impl capnp_rpc::VatNetwork<Host> for Network {
    fn connect(&mut self, Host: Host) -> Option<Box<dyn capnp_rpc::Connection<Host>>> {
        Some(Box::new(Conversation(self.link.clone())))
    }

    fn accept(&mut self) -> Promise<Box<dyn capnp_rpc::Connection<Host>>, capnp::Error> {
        Promise::from_future(std::future::pending())
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), capnp::Error> {
        let ended = self.ended.take();
        Promise::from_future(async move {
            if let Some(ended) = ended {
                let _ = ended.await;
            }
            Ok(())
        })
    }
}

struct Conversation(Rc<Link>);

impl capnp_rpc::Connection<Host> for Conversation {
    fn get_peer_vat_id(&self) -> Host {
        Host
    }

    fn new_outgoing_message(&mut self, words: u32) -> Box<dyn capnp_rpc::OutgoingMessage> {
        Box::new(Outgoing {
            message: new_message(words),
            link: self.0.clone(),
        })
    }

    fn receive_incoming_message(
        &mut self,
    ) -> Promise<Option<Box<dyn capnp_rpc::IncomingMessage>>, capnp::Error> {
        let link = self.0.clone();
        Promise::from_future(poll_fn(move |cx| link.poll_receive(cx)))
    }

    fn shutdown(&mut self, _: capnp::Result<()>) -> Promise<(), capnp::Error> {
        self.0.closed.set(true);
        if let Some(end) = self.0.end.take() {
            let _ = end.send(());
        }
        Promise::ok(())
    }
}

/// The guest's end of the conversation. The readiness stands before the connection, whose child its
/// pollable is.
struct Link {
    readiness: Readiness,
    connection: Connection,
    /// Where outgoing messages are framed.
    scratch: RefCell<Vec<u8>>,
    /// What has arrived and was not yet asked for.
    batch: RefCell<Option<Batch>>,
    /// Answers that stand in for the host's, to calls that it was not able to take.
    answered: RefCell<VecDeque<Builder<HeapAllocator>>>,
    /// The task that waits for a message.
    receiver: RefCell<Option<Waker>>,
    closed: Cell<bool>,
    end: Cell<Option<oneshot::Sender<()>>>,
}

impl Link {
    fn send(&self, message: &Builder<HeapAllocator>) -> capnp::Result<()> {
        match self.hand_over(message) {
            Ok(()) => Ok(()),
            Err(rpc::Error::TooLarge(limit)) => {
                let reason = format!(
                    "the message is larger than the {limit} bytes that this cell may send at once: \
                     send the content in parts, over a ByteStream"
                );
                self.answer(message, &reason)?;
                Err(capnp::Error::failed(reason))
            }
            Err(rpc::Error::Closed) => {
                Err(capnp::Error::disconnected(Error::Disconnected.to_string()))
            }
            Err(error) => Err(capnp::Error::failed(format!(
                "the host refused a message: {error}"
            ))),
        }
    }

    fn hand_over(&self, message: &Builder<HeapAllocator>) -> Result<(), rpc::Error> {
        let mut scratch = self.scratch.take();
        scratch.clear();
        // Writing into a vector does not fail.
        let _ = serialize::write_message(&mut scratch, message);
        let outcome = self.connection.send(&scratch);
        if scratch.capacity() <= SCRATCH_BYTES {
            self.scratch.replace(scratch);
        }
        outcome
    }

    /// Lets the asker of a call that cannot be sent, or of a result that cannot be, know why.
    fn answer(&self, refused: &Builder<HeapAllocator>, reason: &str) -> capnp::Result<()> {
        let refused: message::Reader<'_> = refused.get_root_as_reader()?;
        let mut answer = new_message(MOST_FIRST_WORDS);
        let builder = answer.init_root::<message::Builder<'_>>().init_return();
        match refused.which()? {
            message::Call(call) => {
                write_failure(builder, call?.get_question_id(), reason, Finish::NotNeeded);
                self.answered.borrow_mut().push_back(answer);
                if let Some(receiver) = self.receiver.take() {
                    receiver.wake();
                }
            }
            message::Return(result) => {
                write_failure(builder, result?.get_answer_id(), reason, Finish::Expected);
                let _ = self.hand_over(&answer);
            }
            _ => {}
        }
        Ok(())
    }

    #[allow(clippy::type_complexity)]
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<capnp::Result<Option<Box<dyn capnp_rpc::IncomingMessage>>>> {
        loop {
            if let Some(answer) = self.answered.borrow_mut().pop_front() {
                return Poll::Ready(Ok(Some(Box::new(Answered(answer)))));
            }
            let mut batch = self.batch.borrow_mut();
            if let Some(message) = batch.as_mut().and_then(|batch| batch.next().transpose()) {
                return Poll::Ready(message.map(|message| Some(Box::new(message) as Box<_>)));
            }
            *batch = None;
            if self.closed.get() {
                return Poll::Ready(Ok(None));
            }
            if self.readiness.poll(cx).is_pending() {
                self.receiver.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            match self.connection.receive() {
                Ok(bytes) => *batch = Some(Batch::new(bytes)),
                Err(rpc::Error::Closed) => self.closed.set(true),
                Err(error) => {
                    let reason = format!("cannot receive from the host: {error}");
                    return Poll::Ready(Err(capnp::Error::failed(reason)));
                }
            }
        }
    }
}

struct Outgoing {
    message: Builder<HeapAllocator>,
    link: Rc<Link>,
}

impl capnp_rpc::OutgoingMessage for Outgoing {
    fn get_body(&mut self) -> capnp::Result<any_pointer::Builder<'_>> {
        self.message.get_root()
    }

    fn get_body_as_reader(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.message.get_root_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), capnp::Error>, Rc<Builder<HeapAllocator>>) {
        let Self { message, link } = *self;
        let sent = match link.send(&message) {
            Ok(()) => Promise::ok(()),
            Err(error) => Promise::err(error),
        };
        (sent, Rc::new(message))
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.message
    }

    fn size_in_words(&self) -> usize {
        self.message.size_in_words()
    }
}

/// An answer of our own making.
struct Answered(Builder<HeapAllocator>);

impl capnp_rpc::IncomingMessage for Answered {
    fn get_body(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.0.get_root_as_reader()
    }
}

/// A message of the host's, where it lies in its batch. It keeps the batch alive.
struct Incoming(Reader<BufferSegments<Tail>>);

impl capnp_rpc::IncomingMessage for Incoming {
    fn get_body(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.0.get_root()
    }
}

/// Framed messages, one straight after the other.
struct Batch(Tail);

impl Batch {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Tail {
            bytes: Rc::new(Aligned::new(bytes)),
            start: 0,
        })
    }

    fn next(&mut self) -> capnp::Result<Option<Incoming>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        // The options bound what one message may hold and how much of it may be read: 64 MiB.
        let options = ReaderOptions::new();
        let segments = BufferSegments::new(self.0.clone(), options)?;
        self.0.start = self.0.start.saturating_add(framed_bytes(&segments));
        Ok(Some(Incoming(Reader::new(segments, options))))
    }
}

/// The rest of a batch.
#[derive(Clone)]
struct Tail {
    bytes: Rc<Aligned>,
    start: usize,
}

impl Deref for Tail {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Bytes that start on a word's boundary, as messages have to. Those that the host hands over do,
/// with every allocator that we know; others are copied.
enum Aligned {
    Received(Vec<u8>),
    Copied(Vec<Word>),
}

impl Aligned {
    fn new(bytes: Vec<u8>) -> Self {
        if bytes.as_ptr().cast::<Word>().is_aligned() {
            return Self::Received(bytes);
        }
        let mut words = Word::allocate_zeroed_vec(bytes.len().div_ceil(size_of::<Word>()));
        for (to, from) in Word::words_to_bytes_mut(&mut words).iter_mut().zip(bytes) {
            *to = from;
        }
        Self::Copied(words)
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Received(bytes) => bytes,
            Self::Copied(words) => Word::words_to_bytes(words),
        }
    }
}

/// How long a message is in stream framing: a table of segment sizes, padded to a word, and the segments.
fn framed_bytes(segments: &impl ReaderSegments) -> usize {
    let count = segments.len();
    let table = (count / 2 + 1) * size_of::<Word>();
    let content: usize = (0..)
        .map_while(|index| segments.get_segment(index))
        .map(<[u8]>::len)
        .sum();
    table + content
}

fn new_message(words: u32) -> Builder<HeapAllocator> {
    let words = match words {
        0 => MOST_FIRST_WORDS,
        hint => hint.clamp(LEAST_FIRST_WORDS, MOST_FIRST_WORDS),
    };
    Builder::new(HeapAllocator::new().first_segment_words(words))
}

/// Whether whoever gets a `Return` is to send a `Finish`.
#[derive(PartialEq, Eq)]
enum Finish {
    Expected,
    NotNeeded,
}

fn write_failure(mut builder: return_::Builder<'_>, question: u32, reason: &str, finish: Finish) {
    builder.set_answer_id(question);
    builder.set_no_finish_needed(finish == Finish::NotNeeded);
    let mut exception = builder.init_exception();
    exception.set_type(exception::Type::Failed);
    exception.set_reason(reason);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn framed(texts: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in texts {
            // One word is too small for the text, so that the message has several segments.
            let mut message = Builder::new(HeapAllocator::new().first_segment_words(1));
            let mut exception = message.init_root::<exception::Builder<'_>>();
            exception.set_reason(*text);
            serialize::write_message(&mut bytes, &message).unwrap();
        }
        bytes
    }

    fn reasons(bytes: Vec<u8>) -> Vec<String> {
        let mut batch = Batch::new(bytes);
        let mut reasons = Vec::new();
        while let Some(Incoming(message)) = batch.next().unwrap() {
            let exception: exception::Reader<'_> = message.get_root().unwrap();
            reasons.push(exception.get_reason().unwrap().to_string().unwrap());
        }
        reasons
    }

    #[test]
    fn a_batch_gives_its_messages_in_order() {
        let long = "b".repeat(1000);
        let texts = ["a", &long, ""];
        assert_eq!(reasons(framed(&texts)), texts);
        assert_eq!(reasons(Vec::new()), Vec::<String>::new());
    }

    #[test]
    fn a_misaligned_batch_is_read_all_the_same() {
        let bytes = framed(&["one", "two"]);
        let words = bytes.len().div_ceil(8) + 1;
        let aligned = Aligned::Copied({
            let mut copy = Word::allocate_zeroed_vec(words);
            for (to, from) in Word::words_to_bytes_mut(&mut copy).iter_mut().zip(&bytes) {
                *to = *from;
            }
            copy
        });
        let tail = Tail {
            bytes: Rc::new(aligned),
            start: 0,
        };
        let first = BufferSegments::new(tail, ReaderOptions::new()).unwrap();
        assert_eq!(framed_bytes(&first) * 2, bytes.len());
    }

    #[test]
    fn a_batch_that_ends_within_a_message_is_an_error() {
        let mut bytes = framed(&["cut"]);
        bytes.truncate(bytes.len() - 8);
        assert!(Batch::new(bytes).next().is_err());
    }
}
