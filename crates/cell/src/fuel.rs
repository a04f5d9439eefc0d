//! The tank: how a running guest burns no more fuel than its ledger has.
//!
//! What a guest may burn before it has to ask again is drawn from the ledger first, a small part of
//! it at a time; the rest stays there, to be set aside for children at any moment, while the guest
//! runs too. Wasmtime keeps the guest's count in a local variable and stores it when the guest calls,
//! returns, or has burnt what it was dealt; at a tick, or when a memory grows, the stored count is an old
//! one, and overwriting it has no effect. So the count is never overwritten: it starts far above any
//! budget, only differences are read off it, and an old one merely shows less for the time being.
//!
//! A guest whose deal is burnt is dealt the next one, or ended. Wasmtime looks at loops and at the
//! entries of functions only, so the last deal is exceeded by the rest of one stretch of straight
//! code, and by no more.

use crate::budget::Budget;
use crate::control::Shared;
use crate::host::State;
use crate::limits::Limits;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wasmtime::{CallHook, Store, StoreContextMut, Trap};

/// Where the store's count begins: centuries of instructions.
const FULL: u64 = 1 << 62;

/// The most that is dealt at a time: some hundred microseconds of instructions. Each deal has the
/// guest give way, and what is dealt cannot be set aside for a child.
const MAX_DEAL: u64 = 1_000_000;

/// Deals into which a small budget is divided.
const DEALS: u64 = 16;

/// What a guest may burn now, and where more comes from.
pub(crate) struct Tank {
    budget: Budget,
    /// What is left of [`Limits::fuel`].
    own: Option<u64>,
    own_limit: u64,
    /// Drawn and, as far as is known, not burnt.
    held: u64,
    burnt: u64,
    deal: u64,
    /// What Wasmtime deals when the last deal is burnt.
    dealt: u64,
    /// The store's count when it was last read, and when the last deal is burnt.
    count: u64,
    floor: u64,
    shared: Arc<Shared>,
}

impl Tank {
    /// Whether a cell with these bounds needs a tank.
    pub(crate) fn is_needed(limits: &Limits, budget: &Budget) -> bool {
        limits.fuel.is_some() || budget.ledger().is_some()
    }

    pub(crate) fn new(limits: &Limits, budget: Budget, shared: Arc<Shared>) -> Self {
        let ledger = budget.ledger().map_or(u64::MAX, |ledger| ledger.left());
        let whole = limits.fuel.unwrap_or(u64::MAX).min(ledger);
        let deal = (whole / DEALS).clamp(1, MAX_DEAL);
        let mut tank = Self {
            own: limits.fuel,
            own_limit: limits.fuel.unwrap_or_default(),
            budget,
            held: 0,
            burnt: 0,
            deal,
            dealt: deal,
            count: FULL,
            floor: FULL,
            shared,
        };
        tank.held = tank.draw(deal);
        tank.dealt = tank.held.max(1);
        tank.floor = FULL - tank.dealt;
        tank
    }

    /// Has a store burn what is in this tank.
    pub(crate) fn install(self, store: &mut Store<State>) -> wasmtime::Result<()> {
        store.set_fuel(FULL)?;
        store.fuel_async_yield_interval(Some(self.dealt))?;
        store.data_mut().tank = Some(self);
        store.call_hook(|context, hook| match hook {
            CallHook::CallingHost => left_guest(context, true),
            CallHook::ReturningFromWasm => left_guest(context, false),
            CallHook::CallingWasm | CallHook::ReturningFromHost => Ok(()),
        });
        Ok(())
    }

    /// The bound that the guest has met when it is out of fuel.
    pub(crate) fn limit(&self) -> u64 {
        match (self.own, self.budget.ledger()) {
            (None, Some(ledger)) => ledger.granted(),
            (Some(left), Some(ledger)) if left > 0 => ledger.granted(),
            _ => self.own_limit,
        }
    }

    /// Puts back what is in the tank, when the guest has ended in a call or by returning and its count
    /// is known. After any other end what it held counts as burnt: it may well be.
    pub(crate) fn put_back(&mut self) {
        let held = std::mem::take(&mut self.held);
        if let Some(ledger) = self.budget.ledger() {
            ledger.put(held);
        }
    }

    fn draw(&mut self, wanted: u64) -> u64 {
        let wanted = wanted.min(self.own.unwrap_or(u64::MAX));
        let drawn = match self.budget.ledger() {
            Some(ledger) => ledger.draw(wanted),
            None => wanted,
        };
        if let Some(own) = &mut self.own {
            *own -= drawn;
        }
        drawn
    }

    /// Accounts for what was burnt since the last time, and draws as much again.
    fn settle(&mut self, count: u64) {
        let burnt = self.count.saturating_sub(count);
        self.count = count;
        let wanted = burnt.saturating_add(self.deal).saturating_sub(self.held);
        self.held += self.draw(wanted);
        let paid = burnt.min(self.held);
        self.held -= paid;
        self.burnt += paid;
        self.shared.fuel_used.store(self.burnt, Ordering::Relaxed);
    }
}

impl Drop for Tank {
    fn drop(&mut self) {
        let burnt = self.burnt + self.held;
        self.shared.fuel_used.store(burnt, Ordering::Relaxed);
    }
}

/// The guest has called its host, burnt its deal or returned; `goes_on` unless it returned.
fn left_guest(mut context: StoreContextMut<'_, State>, goes_on: bool) -> wasmtime::Result<()> {
    let count = context.get_fuel()?;
    let Some(tank) = &mut context.data_mut().tank else {
        return Ok(());
    };
    tank.settle(count);
    if !goes_on || count > tank.floor {
        return Ok(());
    }
    if tank.held == 0 {
        return Err(Trap::OutOfFuel.into());
    }
    let deal = tank.held.min(tank.deal);
    tank.floor = count.saturating_sub(deal);
    // Wasmtime gives way after each deal, and then deals what it is told here. Should this be no more
    // than a memory that grows just after the deal was burnt, the guest is not dealt it but charged
    // for it: that costs it one deal, the last one.
    tank.shared.paused_by_tick.store(true, Ordering::Relaxed);
    if deal != tank.dealt {
        tank.dealt = deal;
        context.fuel_async_yield_interval(Some(deal))?;
    }
    Ok(())
}
