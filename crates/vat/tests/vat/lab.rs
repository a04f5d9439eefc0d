//! The object that all tests call: one method for each thing that can happen to a capability.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use capnp::Error;
use capnp::capability::{Promise, Request};
use capnp::private::capability::ClientHook;
use futures::channel::oneshot;

use crate::lab_capnp::lab;

/// How capabilities are made, so that the same object can be served by this engine and by another.
pub trait Maker: 'static {
    fn client(server: Lab<Self>) -> lab::Client
    where
        Self: Sized;
    fn future(client: oneshot::Receiver<Result<lab::Client, Error>>) -> lab::Client;
    /// Answers a call with another.
    fn pass_on(
        request: Request<lab::echo_params::Owned, lab::echo_results::Owned>,
        results: lab::ForwardResults,
    ) -> Promise<(), Error>;
}

/// By this engine.
pub struct Vat;

impl Maker for Vat {
    fn client(server: Lab<Self>) -> lab::Client {
        vat::new_client(server)
    }

    fn future(client: oneshot::Receiver<Result<lab::Client, Error>>) -> lab::Client {
        vat::new_future_client(async move { client.await.unwrap_or_else(|_| Err(gone())) })
    }

    fn pass_on(
        request: Request<lab::echo_params::Owned, lab::echo_results::Owned>,
        results: lab::ForwardResults,
    ) -> Promise<(), Error> {
        results.hook.tail_call(request.hook)
    }
}

/// By `capnp-rpc`.
pub struct CapnpRpc;

impl Maker for CapnpRpc {
    fn client(server: Lab<Self>) -> lab::Client {
        capnp_rpc::new_client(server)
    }

    fn future(client: oneshot::Receiver<Result<lab::Client, Error>>) -> lab::Client {
        capnp_rpc::new_future_client(async move { client.await.unwrap_or_else(|_| Err(gone())) })
    }

    /// It has no tail calls that would always work.
    fn pass_on(
        request: Request<lab::echo_params::Owned, lab::echo_results::Owned>,
        mut results: lab::ForwardResults,
    ) -> Promise<(), Error> {
        Promise::from_future(async move {
            let response = request.send().promise.await?;
            results.get().set_data(response.get()?.get_data()?);
            Ok(())
        })
    }
}

fn gone() -> Error {
    Error::failed("the promise was given up".into())
}

/// What can be seen of an object from outside.
#[derive(Default)]
pub struct Seen {
    pub calls: Cell<u32>,
    pub pushed: Cell<u64>,
    /// Objects that are alive.
    pub alive: Cell<usize>,
    /// Methods that are running.
    pub running: Cell<usize>,
    /// What the objects keep.
    kept: RefCell<Vec<Weak<Kept>>>,
}

/// A capability that an object keeps.
type Kept = RefCell<Option<lab::Client>>;

impl Seen {
    /// Takes from all objects what they keep, so that no circle of them is left.
    pub fn empty(&self) {
        for kept in self.kept.take().iter().filter_map(Weak::upgrade) {
            let before = kept.take();
            drop(before);
        }
    }
}

pub struct Lab<M> {
    pub seen: Rc<Seen>,
    next: Cell<u32>,
    kept: Rc<Kept>,
    promise: RefCell<Option<oneshot::Sender<Result<lab::Client, Error>>>>,
    waiting: RefCell<Vec<oneshot::Sender<()>>>,
    maker: std::marker::PhantomData<M>,
}

impl<M: Maker> Lab<M> {
    pub fn new(seen: &Rc<Seen>) -> Self {
        seen.alive.set(seen.alive.get() + 1);
        let kept = Rc::default();
        seen.kept.borrow_mut().push(Rc::downgrade(&kept));
        Self {
            seen: seen.clone(),
            next: Cell::new(0),
            kept,
            promise: RefCell::default(),
            waiting: RefCell::default(),
            maker: std::marker::PhantomData,
        }
    }

    pub fn client(seen: &Rc<Seen>) -> lab::Client {
        M::client(Self::new(seen))
    }
}

impl<M> Drop for Lab<M> {
    fn drop(&mut self) {
        self.seen.alive.set(self.seen.alive.get() - 1);
    }
}

/// Counts a method that is running.
struct Running(Rc<Seen>);

impl Running {
    fn new(seen: &Rc<Seen>) -> Self {
        seen.running.set(seen.running.get() + 1);
        Self(seen.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
    }
}

impl<M: Maker> lab::Server for Lab<M> {
    async fn nothing(
        self: Rc<Self>,
        _: lab::NothingParams,
        _: lab::NothingResults,
    ) -> Result<(), Error> {
        self.seen.calls.set(self.seen.calls.get() + 1);
        Ok(())
    }

    async fn echo(
        self: Rc<Self>,
        params: lab::EchoParams,
        mut results: lab::EchoResults,
    ) -> Result<(), Error> {
        self.seen.calls.set(self.seen.calls.get() + 1);
        results.get().set_data(params.get()?.get_data()?);
        Ok(())
    }

    async fn next(
        self: Rc<Self>,
        params: lab::NextParams,
        mut results: lab::NextResults,
    ) -> Result<(), Error> {
        let number = self.next.get();
        self.next.set(number + 1);
        let expected = params.get()?.get_expected();
        if number != expected {
            return Err(Error::failed(format!(
                "call {expected} arrived as number {number}"
            )));
        }
        results.get().set_number(number);
        Ok(())
    }

    async fn later(
        self: Rc<Self>,
        params: lab::LaterParams,
        mut results: lab::LaterResults,
    ) -> Result<(), Error> {
        let _running = Running::new(&self.seen);
        tokio::task::yield_now().await;
        results.get().set_data(params.get()?.get_data()?);
        Ok(())
    }

    async fn make(
        self: Rc<Self>,
        _: lab::MakeParams,
        mut results: lab::MakeResults,
    ) -> Result<(), Error> {
        self.seen.calls.set(self.seen.calls.get() + 1);
        results.get().set_lab(Self::client(&self.seen));
        Ok(())
    }

    async fn never(
        self: Rc<Self>,
        _: lab::NeverParams,
        _results: lab::NeverResults,
    ) -> Result<(), Error> {
        let _running = Running::new(&self.seen);
        std::future::pending().await
    }

    async fn identity(
        self: Rc<Self>,
        params: lab::IdentityParams,
        mut results: lab::IdentityResults,
    ) -> Result<(), Error> {
        results.get().set_lab(params.get()?.get_lab()?);
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
        let kept = kept.ok_or_else(|| Error::failed("nothing is kept".into()))?;
        results.get().set_lab(kept);
        Ok(())
    }

    async fn drop(self: Rc<Self>, _: lab::DropParams, _: lab::DropResults) -> Result<(), Error> {
        let kept = self.kept.take();
        std::mem::drop(kept);
        Ok(())
    }

    async fn ask(
        self: Rc<Self>,
        params: lab::AskParams,
        mut results: lab::AskResults,
    ) -> Result<(), Error> {
        let _running = Running::new(&self.seen);
        let mut request = params.get()?.get_lab()?.echo_request();
        request.get().set_data(params.get()?.get_data()?);
        let response = request.send().promise.await?;
        results.get().set_data(response.get()?.get_data()?);
        Ok(())
    }

    async fn forward(
        self: Rc<Self>,
        params: lab::ForwardParams,
        results: lab::ForwardResults,
    ) -> Result<(), Error> {
        let _running = Running::new(&self.seen);
        let mut request = params.get()?.get_lab()?.echo_request();
        request.get().set_data(params.get()?.get_data()?);
        M::pass_on(request, results).await
    }

    async fn promise(
        self: Rc<Self>,
        _: lab::PromiseParams,
        mut results: lab::PromiseResults,
    ) -> Result<(), Error> {
        let (fulfiller, promise) = oneshot::channel();
        let before = self.promise.replace(Some(fulfiller));
        std::mem::drop(before);
        results.get().set_lab(M::future(promise));
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
        params: lab::BreakParams,
        _: lab::BreakResults,
    ) -> Result<(), Error> {
        let fulfiller = self.promise.take();
        let fulfiller = fulfiller.ok_or_else(|| Error::failed("no promise".into()))?;
        let reason = params.get()?.get_reason()?.to_string()?;
        let _ = fulfiller.send(Err(Error::failed(reason)));
        Ok(())
    }

    async fn fail(
        self: Rc<Self>,
        params: lab::FailParams,
        _: lab::FailResults,
    ) -> Result<(), Error> {
        Err(Error::failed(params.get()?.get_reason()?.to_string()?))
    }

    async fn push(self: Rc<Self>, params: lab::PushParams) -> Result<(), Error> {
        let bytes = params.get()?.get_data()?.len() as u64;
        if bytes == 0 {
            return Err(Error::failed("nothing was pushed".into()));
        }
        tokio::task::yield_now().await;
        self.seen.pushed.set(self.seen.pushed.get() + bytes);
        Ok(())
    }

    async fn pushed(
        self: Rc<Self>,
        _: lab::PushedParams,
        mut results: lab::PushedResults,
    ) -> Result<(), Error> {
        results.get().set_bytes(self.seen.pushed.get());
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

    async fn wait(
        self: Rc<Self>,
        _: lab::WaitParams,
        mut results: lab::WaitResults,
    ) -> Result<(), Error> {
        let _running = Running::new(&self.seen);
        let (release, released) = oneshot::channel();
        self.waiting.borrow_mut().push(release);
        let _ = released.await;
        results.get().set_lab(Self::client(&self.seen));
        Ok(())
    }

    async fn release(
        self: Rc<Self>,
        _: lab::ReleaseParams,
        _: lab::ReleaseResults,
    ) -> Result<(), Error> {
        let waiting = self.waiting.take();
        for release in waiting {
            let _ = release.send(());
        }
        Ok(())
    }
}

use capnp::capability::FromClientHook as _;

/// A hook's identity.
pub fn identity(client: &lab::Client) -> (usize, usize) {
    let hook: &dyn ClientHook = client.as_client_hook();
    (hook.get_brand(), hook.get_ptr())
}
