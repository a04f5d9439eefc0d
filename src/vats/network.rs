//! Cap'n Proto's vat network over a [`Transport`]: whole messages in, whole messages out.
//!
//! One of these is one connection between two vats. It refuses what the transport refuses, and then
//! ends the connection: the caller on the other side sees why. It never reports a failure through
//! the RPC system's own tasks, because that prints on standard output, which belongs to the guest.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use capnp::capability::Promise;
use capnp::message::{Builder, HeapAllocator, Reader, ReaderOptions};
use capnp::serialize::{self, BufferSegments};
use capnp_rpc::rpc_twoparty_capnp::Side;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::task::AtomicWaker;

use super::transport::Transport;

/// The first segment of a message whose size is not known: enough for a call or an answer with a few
/// fields. The library's own default clears 8 KiB for each message.
const FIRST_SEGMENT_WORDS: u32 = 64;

/// How deeply a peer's message may nest. Cap'n Proto's own default.
const NESTING_LIMIT: i32 = 64;

/// How much of a message may be read, 64 MiB. Each pointer that is followed counts, so that a small
/// message cannot be made to look endless. Cap'n Proto's own default.
const TRAVERSAL_WORDS: usize = 8 << 20;

/// A network of two: this vat and the one at the other end of a transport.
pub struct Network<T: Transport> {
    side: Side,
    shared: Rc<Shared<T>>,
    accepted: bool,
    driver: Option<oneshot::Receiver<()>>,
}

/// Closes a connection when it is dropped: the other side is told, and nothing more is sent.
pub struct Closer<T: Transport>(Rc<Shared<T>>);

impl<T: Transport> Drop for Closer<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Shared<T> {
    /// Gone once the connection is shut down, which closes the transport.
    transport: RefCell<Option<T>>,
    /// Why the connection is ending, once a message could not be sent.
    failure: RefCell<Option<capnp::Error>>,
    finished: RefCell<Option<oneshot::Sender<()>>>,
    /// Whoever waits for a message, to be told when the transport goes from under it.
    receiving: AtomicWaker,
}

impl<T> Shared<T> {
    /// Closes the transport and wakes whoever waits for a message.
    fn close(&self) {
        drop(self.transport.borrow_mut().take());
        self.receiving.wake();
    }
}

impl<T: Transport> Network<T> {
    /// A network whose own side is `side`.
    pub fn new(transport: T, side: Side) -> Self {
        let (finished, driver) = oneshot::channel();
        Self {
            side,
            shared: Rc::new(Shared {
                transport: RefCell::new(Some(transport)),
                failure: RefCell::new(None),
                finished: RefCell::new(Some(finished)),
                receiving: AtomicWaker::new(),
            }),
            accepted: false,
            driver: Some(driver),
        }
    }

    /// What closes this connection when it is dropped. The RPC system that the network is given to cannot
    /// be relied on for that: a call that is never answered keeps the system's state, and all it holds,
    /// alive after the system itself.
    pub fn closer(&self) -> Closer<T> {
        Closer(self.shared.clone())
    }

    fn connection(&self) -> Box<dyn capnp_rpc::Connection<Side>> {
        let peer = match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        Box::new(Connection {
            peer,
            shared: self.shared.clone(),
        })
    }
}

impl<T: Transport> capnp_rpc::VatNetwork<Side> for Network<T> {
    fn connect(&mut self, host_id: Side) -> Option<Box<dyn capnp_rpc::Connection<Side>>> {
        (host_id != self.side).then(|| self.connection())
    }

    fn accept(&mut self) -> Promise<Box<dyn capnp_rpc::Connection<Side>>, capnp::Error> {
        if std::mem::replace(&mut self.accepted, true) {
            return Promise::from_future(futures::future::pending());
        }
        Promise::ok(self.connection())
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), capnp::Error> {
        match self.driver.take() {
            Some(driver) => Promise::from_future(driver.map(|_| Ok(()))),
            None => Promise::ok(()),
        }
    }
}

struct Connection<T> {
    peer: Side,
    shared: Rc<Shared<T>>,
}

impl<T: Transport> capnp_rpc::Connection<Side> for Connection<T> {
    fn get_peer_vat_id(&self) -> Side {
        self.peer
    }

    fn new_outgoing_message(
        &mut self,
        first_segment_word_size: u32,
    ) -> Box<dyn capnp_rpc::OutgoingMessage> {
        let words = match first_segment_word_size {
            0 => FIRST_SEGMENT_WORDS,
            hint => hint,
        };
        Box::new(Outgoing {
            message: Builder::new(HeapAllocator::new().first_segment_words(words)),
            shared: self.shared.clone(),
        })
    }

    fn receive_incoming_message(
        &mut self,
    ) -> Promise<Option<Box<dyn capnp_rpc::IncomingMessage>>, capnp::Error> {
        let shared = self.shared.clone();
        Promise::from_future(async move {
            let received = poll_fn(|context| {
                shared.receiving.register(context.waker());
                match shared.transport.borrow_mut().as_mut() {
                    Some(transport) => transport.poll_receive(context),
                    None => std::task::Poll::Ready(None),
                }
            })
            .await;
            if let Some(failure) = shared.failure.borrow_mut().take() {
                return Err(failure);
            }
            received.map(Incoming::parse).transpose()
        })
    }

    fn shutdown(&mut self, _result: capnp::Result<()>) -> Promise<(), capnp::Error> {
        self.shared.close();
        if let Some(finished) = self.shared.finished.borrow_mut().take() {
            // The system may have gone first; then nobody waits.
            let _ = finished.send(());
        }
        Promise::ok(())
    }
}

struct Incoming(Reader<BufferSegments<Vec<u8>>>);

impl Incoming {
    fn parse(message: Vec<u8>) -> capnp::Result<Box<dyn capnp_rpc::IncomingMessage>> {
        let mut options = ReaderOptions::new();
        options
            .nesting_limit(NESTING_LIMIT)
            .traversal_limit_in_words(Some(TRAVERSAL_WORDS));
        let segments = BufferSegments::new(message, options)?;
        Ok(Box::new(Self(Reader::new(segments, options))))
    }
}

impl capnp_rpc::IncomingMessage for Incoming {
    fn get_body(&self) -> capnp::Result<capnp::any_pointer::Reader<'_>> {
        self.0.get_root()
    }
}

struct Outgoing<T> {
    message: Builder<HeapAllocator>,
    shared: Rc<Shared<T>>,
}

impl<T: Transport> capnp_rpc::OutgoingMessage for Outgoing<T> {
    fn get_body(&mut self) -> capnp::Result<capnp::any_pointer::Builder<'_>> {
        self.message.get_root()
    }

    fn get_body_as_reader(&self) -> capnp::Result<capnp::any_pointer::Reader<'_>> {
        self.message.get_root_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), capnp::Error>, Rc<Builder<HeapAllocator>>) {
        let framed = serialize::write_message_to_words(&self.message);
        let sent = match self.shared.transport.borrow_mut().as_mut() {
            Some(transport) => transport.send(framed),
            None => Err(capnp::Error::disconnected(
                "the connection is closed".into(),
            )),
        };
        let promise = match sent {
            Ok(()) => Promise::ok(()),
            Err(error) => {
                // A message that is lost breaks every promise that was to follow from it, so the
                // connection ends here, and the side that receives says why.
                self.shared
                    .failure
                    .borrow_mut()
                    .get_or_insert(error.clone());
                self.shared.close();
                Promise::err(error)
            }
        };
        (promise, Rc::new(self.message))
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.message
    }

    fn size_in_words(&self) -> usize {
        self.message.size_in_words()
    }
}
