//! One running component, from its first instruction to its end.
//!
//! A cell is a future. Whoever polls it runs the guest, a tick at a time; whoever drops it ends the
//! guest, wherever it is. It gives its thread back when the guest waits and at the latest a tick or
//! two after it was polled, behind everybody else who is ready. How it ended is published only when
//! everything that it held is gone: memory, streams, its end of the conversation.

use crate::control::Shared;
use crate::engine::{Place, Ticker};
use crate::exit::Exit;
use crate::host::{self, Conversation, State};
use crate::limits::{Limiter, Limits};
use crate::load::Code;
use crate::program::Program;
use crate::queue::ReadEnd;
use crate::recipient::Recipient;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::Sleep;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

/// One running component.
pub struct Cell {
    start: Start,
    owner: Owner,
}

/// What a cell begins with.
pub(crate) struct Start {
    pub(crate) program: Program,
    pub(crate) wasi: WasiCtx,
    pub(crate) incoming: ReadEnd,
    pub(crate) limits: Limits,
}

/// Publishes the end, at the latest when it is dropped.
struct Owner {
    shared: Arc<Shared>,
    place: Option<Place>,
}

impl Owner {
    fn end(&mut self, exit: Exit) {
        self.place = None;
        self.shared.end(exit);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end(Exit::Killed);
    }
}

impl Cell {
    pub(crate) fn new(start: Start, shared: Arc<Shared>, place: Place) -> Self {
        let owner = Owner {
            shared,
            place: Some(place),
        };
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
            let wall_time = start.limits.wall_time;
            let guest = start.run(recipient, shared.clone(), ticker.clone());
            let supervised = Supervised {
                alarm: wall_time.map(|limit| Box::pin(tokio::time::sleep(limit))),
                guest: Box::pin(guest),
                shared,
                ticker,
            };
            match supervised.await {
                End::Exit(exit) => exit,
                End::Alarm => Exit::OutOfTime {
                    limit: wall_time.unwrap_or_default(),
                },
            }
        };
        owner.end(exit.clone());
        exit
    }
}

enum End {
    Exit(Exit),
    Alarm,
}

/// The guest, polled under supervision.
struct Supervised<G> {
    guest: Pin<Box<G>>,
    alarm: Option<Pin<Box<Sleep>>>,
    shared: Arc<Shared>,
    ticker: Arc<Ticker>,
}

impl<G: Future<Output = Exit>> Future for Supervised<G> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        let shared = &*this.shared;
        shared.task.register(cx.waker());
        if shared.killed.load(Ordering::Acquire) {
            return Poll::Ready(End::Exit(Exit::Killed));
        }
        if let Some(alarm) = &mut this.alarm
            && alarm.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(End::Alarm);
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
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        shared.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        if polled.is_pending() && !shared.paused_by_tick.load(Ordering::Relaxed) {
            // It waits for something, so it has survived whatever it was refused.
            shared.growth_refused.store(false, Ordering::Relaxed);
        }
        polled.map(End::Exit)
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
        } = self;
        let code = match program.code(limits.fuel.is_some()).await {
            Ok(code) => code,
            Err(error) => {
                return Exit::Failed {
                    message: error.to_string(),
                };
            }
        };
        let limiter = Limiter::new(&limits, shared.clone());
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
        give_way(&mut store, shared.clone(), ticker, limits.fuel);
        let mut began = false;
        let outcome = call(&mut store, &code, &mut began).await;
        if let Some(budget) = limits.fuel {
            let left = store.get_fuel().unwrap_or_default();
            let used = budget.saturating_sub(left);
            shared.fuel_used.store(used, Ordering::Relaxed);
        }
        match outcome {
            Ok(Ok(())) => Exit::Exited(0),
            Ok(Err(())) => Exit::Exited(1),
            Err(error) => {
                let refused = shared.growth_refused.load(Ordering::Relaxed);
                Exit::from_error(&error, &limits, refused, began)
            }
        }
    }
}

/// Has the guest give way at each tick, unless its turn has only just begun.
fn give_way(
    store: &mut Store<State>,
    shared: Arc<Shared>,
    ticker: Arc<Ticker>,
    budget: Option<u64>,
) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |context| {
        if let Some(budget) = budget {
            let used = budget.saturating_sub(context.get_fuel()?);
            shared.fuel_used.store(used, Ordering::Relaxed);
        }
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
