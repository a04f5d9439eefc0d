//! One running component, from its first instruction to its end.
//!
//! A cell is a future. Whoever polls it runs the guest, a tick at a time; whoever drops it ends the
//! guest, wherever it is. It gives its thread back when the guest waits and at the latest a tick or
//! two after it was polled, behind everybody else who is ready. How it ended is published only when
//! everything that it held is gone: memory, streams, its end of the conversation.

use crate::budget::{Budget, Charge, Deadline, Resource};
use crate::control::Shared;
use crate::engine::{Place, Ticker};
use crate::exit::Exit;
use crate::fuel::Tank;
use crate::host::{self, Conversation, State, Wasi};
use crate::limits::{Limiter, Limits};
use crate::load::Code;
use crate::program::Program;
use crate::queue::ReadEnd;
use crate::recipient::Recipient;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep_until};
use wasmtime::{Store, UpdateDeadline};

/// One running component.
pub struct Cell {
    start: Start,
    owner: Owner,
}

/// What a cell begins with.
pub(crate) struct Start {
    pub(crate) program: Program,
    pub(crate) wasi: Wasi,
    pub(crate) incoming: ReadEnd,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
}

/// Publishes the end, at the latest when it is dropped.
pub(crate) struct Owner {
    shared: Arc<Shared>,
    place: Option<Place>,
    /// One of the cells that the budgets above may have.
    descent: Option<Charge>,
}

impl Owner {
    pub(crate) fn new(shared: Arc<Shared>, place: Place, descent: Option<Charge>) -> Self {
        Self {
            shared,
            place: Some(place),
            descent,
        }
    }

    fn end(&mut self, exit: Exit) {
        self.place = None;
        self.descent = None;
        self.shared.end(exit);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end(self.shared.verdict());
    }
}

impl Cell {
    pub(crate) fn new(start: Start, owner: Owner) -> Self {
        Self { start, owner }
    }

    /// Runs the cell to its end, and hands what it says to `recipient`. The thread that polls this
    /// first is the cell's, and a Tokio runtime with timers has to be there; other cells and other work
    /// may be beside it. Dropping it ends the cell, as does dropping the cell unrun.
    ///
    /// The future is not `Send`, whatever the recipient is, so that it stays on that thread.
    pub fn run(self, recipient: impl Recipient) -> impl Future<Output = Exit> {
        let Cell { start, owner } = self;
        let life = Life {
            start,
            recipient: Box::new(recipient),
            owner,
        };
        life.run()
    }
}

/// A cell with everything that it needs to run. Dropped at any point, the owner goes last, so that the
/// end is published after everything else has gone.
struct Life {
    start: Start,
    recipient: Box<dyn Recipient>,
    owner: Owner,
}

impl Life {
    async fn run(self) -> Exit {
        let Life {
            start,
            recipient,
            mut owner,
        } = self;
        let exit = {
            let shared = owner.shared.clone();
            let ticker = start.program.engine().ticker().clone();
            let budget = start.budget.clone();
            let own = start.limits.wall_time.and_then(Deadline::after);
            let deadline = own
                .into_iter()
                .chain(budget.deadline())
                .min_by_key(|deadline| deadline.at);
            let guest = start.run(recipient, shared.clone(), ticker.clone());
            let supervised = Supervised {
                alarm: deadline.map(Alarm::new),
                pause: None,
                guest: Box::pin(guest),
                budget,
                shared,
                ticker,
            };
            supervised.await
        };
        owner.end(exit.clone());
        exit
    }
}

/// Rings at the deadline.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    limit: Duration,
}

impl Alarm {
    fn new(deadline: Deadline) -> Self {
        Self {
            sleep: Box::pin(sleep_until(deadline.at.into())),
            limit: deadline.limit,
        }
    }
}

/// The guest, polled under supervision.
struct Supervised<G> {
    guest: Pin<Box<G>>,
    alarm: Option<Alarm>,
    /// Made when the guest is first made to wait for its share of the processor.
    pause: Option<Pin<Box<Sleep>>>,
    budget: Budget,
    shared: Arc<Shared>,
    ticker: Arc<Ticker>,
}

impl<G: Future<Output = Exit>> Future for Supervised<G> {
    type Output = Exit;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Exit> {
        let this = self.get_mut();
        let shared = &*this.shared;
        shared.task.register(cx.waker());
        if shared.killed.load(Ordering::Acquire) {
            return Poll::Ready(shared.verdict());
        }
        if let Some(alarm) = &mut this.alarm
            && alarm.sleep.as_mut().poll(cx).is_ready()
        {
            let limit = alarm.limit;
            return Poll::Ready(Exit::OutOfTime { limit });
        }
        // Again after each pause: others on the same share may have been quicker.
        while let Some(until) = this.budget.waits_until() {
            let until = until.into();
            let pause = this
                .pause
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            pause.as_mut().reset(until);
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        shared.paused_by_tick.store(false, Ordering::Relaxed);
        shared
            .poll_began
            .store(this.ticker.ticks(), Ordering::Relaxed);
        let began = Instant::now();
        let polled = {
            let _executing = this.ticker.enter();
            this.guest.as_mut().poll(cx)
        };
        let took = began.elapsed();
        this.budget.ran(began, took);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        shared.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        if polled.is_pending() && !shared.paused_by_tick.load(Ordering::Relaxed) {
            // It waits for something, so it has survived whatever it was refused.
            shared.growth_refused.store(false, Ordering::Relaxed);
        }
        polled
    }
}

impl Start {
    async fn run(
        self,
        recipient: Box<dyn Recipient>,
        shared: Arc<Shared>,
        ticker: Arc<Ticker>,
    ) -> Exit {
        let Start {
            program,
            wasi,
            incoming,
            limits,
            budget,
        } = self;
        let metered = Tank::is_needed(&limits, &budget);
        let code = match program.code(metered, &budget).await {
            Ok(code) => code,
            Err(error) => {
                return Exit::Failed {
                    message: error.to_string(),
                };
            }
        };
        // Outlives the store, so that memory is given back only when it has gone.
        let memory = Arc::new(budget.open(Resource::Memory));
        let limiter = Limiter::new(&limits, memory.clone(), shared.clone());
        let conversation =
            Conversation::new(incoming, recipient, limits.message_bytes, shared.clone());
        let engine = code.pre.engine();
        let mut store = match host::store(engine, wasi, conversation, &limits, limiter) {
            Ok(store) => store,
            Err(error) => {
                return Exit::Failed {
                    message: format!("{error:#}"),
                };
            }
        };
        give_way(&mut store, shared.clone(), ticker);
        if metered
            && let Err(error) = Tank::new(&limits, budget, shared.clone()).install(&mut store)
        {
            return Exit::Failed {
                message: format!("{error:#}"),
            };
        }
        let mut began = false;
        let outcome = call(&mut store, &code, &mut began).await;
        let tank = store.data_mut().tank.as_mut();
        let fuel = tank.as_ref().map(|tank| tank.limit()).unwrap_or_default();
        let exit = match outcome {
            Ok(Ok(())) => Exit::Exited(0),
            Ok(Err(())) => Exit::Exited(1),
            Err(error) => Exit::from_error(&error, &limits, &shared, fuel, began),
        };
        if let (Exit::Exited(_), Some(tank)) = (&exit, tank) {
            tank.put_back();
        }
        exit
    }
}

/// Has the guest give way at each tick, unless its turn has only just begun.
fn give_way(store: &mut Store<State>, shared: Arc<Shared>, ticker: Arc<Ticker>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        // A guest that waited while others ran is behind the epoch; its turn begins now.
        if ticker.ticks() == shared.poll_began.load(Ordering::Relaxed) {
            return Ok(UpdateDeadline::Continue(1));
        }
        shared.paused_by_tick.store(true, Ordering::Relaxed);
        // Tokio's own way of yielding: behind all others, and after a look at timers and sockets.
        let yielded = Box::pin(tokio::task::yield_now());
        Ok(UpdateDeadline::YieldCustom(1, yielded))
    });
}

/// Instantiates the component and runs it. `began` tells the one from the other when it fails.
async fn call(
    store: &mut Store<State>,
    code: &Code,
    began: &mut bool,
) -> wasmtime::Result<Result<(), ()>> {
    let command = code.pre.instantiate_async(&mut *store).await?;
    *began = true;
    command.wasi_cli_run().call_run(store).await
}
