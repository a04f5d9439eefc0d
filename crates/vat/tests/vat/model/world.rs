//! What is: objects, programs, and connections whose messages are delivered by hand.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use capnp::Error;
use capnp::capability::FromClientHook as _;
use futures::channel::oneshot;
use vat::{Closed, Connection, Limits, Outbox};

use crate::lab_capnp::lab;

/// Turns after which a thread that is not idle never will be.
const MOST_STEPS: usize = 20_000;

/// What the objects of a history have seen.
#[derive(Default)]
pub struct Seen {
    pub alive: RefCell<Vec<bool>>,
    /// The number of the last call that each object got through each reference.
    last: RefCell<HashMap<(usize, u32), u32>>,
    /// What went wrong.
    pub faults: RefCell<Vec<String>>,
    /// Capabilities given to the programs, with the number of the call that did.
    pub given: RefCell<Vec<(usize, usize, lab::Client)>>,
    objects: RefCell<Vec<Weak<Object>>>,
}

/// The content of a call: through which reference it was made, and as which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub reference: u32,
    pub number: u32,
}

impl Stamp {
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = self.reference.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            reference: word(0)?,
            number: word(4)?,
        })
    }
}

/// The reference of calls that have no order.
pub const UNORDERED: u32 = u32::MAX;

struct Object {
    id: usize,
    host: usize,
    seen: Rc<Seen>,
    kept: RefCell<Option<lab::Client>>,
    promise: RefCell<Option<oneshot::Sender<Result<lab::Client, Error>>>>,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.seen.alive.borrow_mut()[self.id] = false;
    }
}

impl Seen {
    pub fn object(self: &Rc<Self>, host: usize) -> lab::Client {
        let mut alive = self.alive.borrow_mut();
        let object = Rc::new(Object {
            id: alive.len(),
            host,
            seen: self.clone(),
            kept: RefCell::default(),
            promise: RefCell::default(),
        });
        alive.push(true);
        self.objects.borrow_mut().push(Rc::downgrade(&object));
        vat::new_client_from_rc(object)
    }

    /// Empties all objects, so that no circle is left.
    pub fn empty(&self) {
        let objects = self.objects.take();
        for object in objects.iter().filter_map(Weak::upgrade) {
            let kept = object.kept.take();
            drop(kept);
            let promise = object.promise.take();
            drop(promise);
        }
        drop(objects);
        let given = self.given.take();
        drop(given);
    }

    fn fault(&self, fault: String) {
        self.faults.borrow_mut().push(fault);
    }
}

impl lab::Server for Object {
    /// Answers with the object's number and what it was given.
    async fn echo(
        self: Rc<Self>,
        params: lab::EchoParams,
        mut results: lab::EchoResults,
    ) -> Result<(), Error> {
        let data = params.get()?.get_data()?;
        let stamp = Stamp::read(data).ok_or_else(|| Error::failed("no stamp".into()))?;
        if stamp.reference != UNORDERED {
            let before = self
                .seen
                .last
                .borrow_mut()
                .insert((self.id, stamp.reference), stamp.number);
            if before.is_some_and(|before| before >= stamp.number) {
                self.seen.fault(format!(
                    "object {}: call {} through reference {} arrived after call {}",
                    self.id,
                    stamp.number,
                    stamp.reference,
                    before.unwrap_or_default()
                ));
            }
        }
        results.get().set_data(&answer(self.id, data));
        Ok(())
    }

    async fn later(
        self: Rc<Self>,
        params: lab::LaterParams,
        mut results: lab::LaterResults,
    ) -> Result<(), Error> {
        tokio::task::yield_now().await;
        results
            .get()
            .set_data(&answer(self.id, params.get()?.get_data()?));
        Ok(())
    }

    async fn identity(
        self: Rc<Self>,
        params: lab::IdentityParams,
        mut results: lab::IdentityResults,
    ) -> Result<(), Error> {
        results.get().set_lab(params.get()?.get_lab()?);
        Ok(())
    }

    async fn several(
        self: Rc<Self>,
        params: lab::SeveralParams,
        mut results: lab::SeveralResults,
    ) -> Result<(), Error> {
        let labs = params.get()?.get_labs()?;
        let mut reversed = results.get().init_labs(labs.len());
        for index in 0..labs.len() {
            let lab = labs.get(labs.len() - 1 - index)?;
            reversed.set(index, lab.into_client_hook());
        }
        Ok(())
    }

    async fn keep(
        self: Rc<Self>,
        params: lab::KeepParams,
        _: lab::KeepResults,
    ) -> Result<(), Error> {
        let before = self.kept.replace(Some(params.get()?.get_lab()?));
        drop(before);
        Ok(())
    }

    async fn kept(
        self: Rc<Self>,
        _: lab::KeptParams,
        mut results: lab::KeptResults,
    ) -> Result<(), Error> {
        let kept = self.kept.borrow().clone();
        results
            .get()
            .set_lab(kept.ok_or_else(|| Error::failed("nothing is kept".into()))?);
        Ok(())
    }

    async fn drop(self: Rc<Self>, _: lab::DropParams, _: lab::DropResults) -> Result<(), Error> {
        let before = self.kept.take();
        std::mem::drop(before);
        Ok(())
    }

    /// Gives a capability to the program of the object's host.
    async fn ask(
        self: Rc<Self>,
        params: lab::AskParams,
        mut results: lab::AskResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let data = params.get_data()?;
        let stamp = Stamp::read(data).ok_or_else(|| Error::failed("no stamp".into()))?;
        let given = (self.host, stamp.number as usize, params.get_lab()?);
        self.seen.given.borrow_mut().push(given);
        results.get().set_data(&answer(self.id, data));
        Ok(())
    }

    async fn forward(
        self: Rc<Self>,
        params: lab::ForwardParams,
        results: lab::ForwardResults,
    ) -> Result<(), Error> {
        let mut request = params.get()?.get_lab()?.echo_request();
        request.get().set_data(params.get()?.get_data()?);
        results.hook.tail_call(request.hook).await
    }

    async fn promise(
        self: Rc<Self>,
        _: lab::PromiseParams,
        mut results: lab::PromiseResults,
    ) -> Result<(), Error> {
        let (fulfiller, promise) = oneshot::channel();
        let before = self.promise.replace(Some(fulfiller));
        std::mem::drop(before);
        results.get().set_lab(vat::new_future_client(async move {
            promise
                .await
                .unwrap_or_else(|_| Err(Error::failed("the promise was given up".into())))
        }));
        Ok(())
    }

    async fn fulfil(
        self: Rc<Self>,
        params: lab::FulfilParams,
        _: lab::FulfilResults,
    ) -> Result<(), Error> {
        let fulfiller = self.promise.take();
        let fulfiller = fulfiller.ok_or_else(|| Error::failed("no promise".into()))?;
        let _ = fulfiller.send(Ok(params.get()?.get_lab()?));
        Ok(())
    }

    async fn break_(
        self: Rc<Self>,
        _: lab::BreakParams,
        _: lab::BreakResults,
    ) -> Result<(), Error> {
        let fulfiller = self.promise.take();
        let fulfiller = fulfiller.ok_or_else(|| Error::failed("no promise".into()))?;
        let _ = fulfiller.send(Err(Error::failed("broken".into())));
        Ok(())
    }
}

/// What an object answers.
pub fn answer(object: usize, data: &[u8]) -> Vec<u8> {
    let mut answer = object.to_le_bytes().to_vec();
    answer.extend_from_slice(data);
    answer
}

/// The messages on their way in one direction.
pub type Wire = Rc<RefCell<VecDeque<Vec<u8>>>>;

struct Out(Wire);

impl Outbox for Out {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        self.0.borrow_mut().push_back(message);
        Ok(())
    }

    fn backlog(&self) -> usize {
        0
    }
}

/// One end of a connection.
pub struct End {
    pub party: usize,
    pub peer: usize,
    pub connection: Connection,
    arriving: Wire,
}

/// Joins all parties with each other.
pub fn join(roots: &[lab::Client]) -> Vec<End> {
    let mut ends = Vec::new();
    for party in 0..roots.len() {
        for peer in 0..party {
            let (there, back) = (Wire::default(), Wire::default());
            for (party, peer, out, arriving) in
                [(party, peer, &there, &back), (peer, party, &back, &there)]
            {
                ends.push(End {
                    party,
                    peer,
                    connection: Connection::new(
                        Out(out.clone()),
                        Limits::default(),
                        Some(roots[party].client.clone()),
                    ),
                    arriving: arriving.clone(),
                });
            }
        }
    }
    ends
}

impl End {
    pub fn waits(&self) -> bool {
        !self.arriving.borrow().is_empty()
    }

    /// Delivers one message.
    pub fn deliver(&self) -> Result<(), String> {
        let message = self.arriving.borrow_mut().pop_front();
        let Some(message) = message else {
            return Ok(());
        };
        self.connection.inbox().receive(&message).map_err(|_| {
            let ended = std::pin::pin!(self.connection.ended());
            let reason = match ended.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(reason) => reason.to_string(),
                Poll::Pending => "no reason".into(),
            };
            format!(
                "{} ended its connection to {}: {reason}",
                self.party, self.peer
            )
        })
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the thread's vat until it is idle.
pub fn run_vat() -> Result<(), String> {
    thread_local! {
        static DRIVER: RefCell<Pin<Box<dyn Future<Output = std::convert::Infallible>>>> =
            RefCell::new(Box::pin(vat::drive()));
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut steps = 0;
    while woken.0.swap(false, Ordering::Relaxed) {
        let _: Poll<_> = DRIVER.with_borrow_mut(|driver| driver.as_mut().poll(&mut context));
        steps += 1;
        if steps > MOST_STEPS {
            return Err("the vat does not become idle".into());
        }
    }
    Ok(())
}
