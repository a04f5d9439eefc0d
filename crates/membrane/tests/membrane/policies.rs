//! The policies that come with the crate.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use capnp::capability::FromClientHook;
use capnp::traits::HasTypeId;
use capnp::{Error, ErrorKind};
use membrane::policies::{
    All, AllowList, Audit, CONFLICT, Clock, ConcurrencyLimit, Counts, CurrentEpoch, EXPIRED,
    EpochGuard, Expiry, NOT_ALLOWED, OneWay, RATE_LIMITED, RateLimit, STALE_EPOCH, TOO_MANY_CALLS,
};
use membrane::{AllowAll, Call, Decision, Direction, Membrane, Policy};

use crate::node_capnp::{admin, node};
use crate::nodes::{World, ask, begin, is_reason, make, name, reason};

const NAME: (u64, u16) = (node::Client::TYPE_ID, 0);
const MAKE: (u64, u16) = (node::Client::TYPE_ID, 1);
const ASK: (u64, u16) = (node::Client::TYPE_ID, 5);
const SECOND: Duration = Duration::from_secs(1);

const INWARD: Call = Call {
    interface_id: 1,
    method_id: 2,
    direction: Direction::Inward,
};
const OUTWARD: Call = Call {
    direction: Direction::Outward,
    ..INWARD
};

/// A clock that goes when it is told.
#[derive(Clone)]
struct Hand(Rc<Cell<Instant>>);

impl Hand {
    fn new() -> Self {
        Self(Rc::new(Cell::new(Instant::now())))
    }

    fn clock(&self) -> Clock {
        let now = Rc::clone(&self.0);
        Clock::from_fn(move || now.get())
    }

    fn go(&self, by: Duration) {
        self.0.set(self.0.get() + by);
    }
}

fn allowed(policy: &dyn Policy) -> bool {
    !matches!(policy.check(INWARD), Decision::Refuse(_))
}

/// Fails unless the call is refused with a text that begins so.
fn refused(policy: &dyn Policy, word: &str, kind: ErrorKind) {
    let Decision::Refuse(error) = policy.check(INWARD) else {
        panic!("the call was allowed");
    };
    assert!(error.extra.starts_with(&format!("{word}: ")), "{error}");
    assert_eq!(error.kind, kind);
}

#[test]
fn the_words_that_refusals_begin_with_are_stable() {
    assert_eq!(
        [
            NOT_ALLOWED,
            RATE_LIMITED,
            TOO_MANY_CALLS,
            STALE_EPOCH,
            EXPIRED,
            CONFLICT
        ],
        [
            "notAllowed",
            "rateLimited",
            "tooManyCalls",
            "staleEpoch",
            "expired",
            "policyConflict"
        ]
    );
}

#[tokio::test]
async fn an_allow_list_lets_in_what_it_lists_and_nothing_else() {
    let (inside, outside) = (World::new(), World::new());
    let list = AllowList::new([NAME, MAKE, NAME, ASK]);
    assert!(list.contains(MAKE.0, MAKE.1));
    let membrane = Membrane::new(Rc::new(list));
    let wrapped: node::Client = membrane.wrap(inside.both("a")).cast_to();
    assert_eq!(name(&wrapped).await.unwrap(), "a");
    // Outward calls are not its business.
    assert_eq!(ask(&wrapped, &outside.node("b")).await.unwrap(), "b");
    // What is returned answers to the same list, whatever it is cast to.
    let made: admin::Client = make(&wrapped, "c").await.unwrap().cast_to();
    let started = inside.started.get();
    let error = made.erase_request().send().promise.await.err().unwrap();
    assert!(
        error
            .extra
            .starts_with("notAllowed: method 0 of interface @0x")
    );
    assert!(wrapped.hang_request().send().promise.await.is_err());
    assert!(wrapped.push_request().send().await.is_err());
    assert_eq!(inside.started.get(), started);
}

#[test]
fn an_allow_list_without_entries_refuses_all_and_its_owner_words_it() {
    let list = AllowList::new([]).refuse_with(|call| {
        Error::failed(format!(
            "denied: method {}: ask the operator",
            call.method_id
        ))
    });
    refused(&list, "denied", ErrorKind::Failed);
    assert!(matches!(list.check(OUTWARD), Decision::Allow));
}

#[test]
fn a_rate_limit_lets_a_burst_through_and_then_one_each_interval() {
    let hand = Hand::new();
    let limit = RateLimit::by_clock(SECOND, 3, hand.clock());
    let spent = |n: u32| (0..n).for_each(|_| assert!(allowed(&limit)));
    spent(3);
    refused(&limit, RATE_LIMITED, ErrorKind::Overloaded);
    hand.go(SECOND / 2);
    refused(&limit, RATE_LIMITED, ErrorKind::Overloaded);
    // Being refused takes nothing, and half an interval is not lost.
    hand.go(SECOND / 2);
    spent(1);
    refused(&limit, RATE_LIMITED, ErrorKind::Overloaded);
    hand.go(SECOND * 5 / 2);
    spent(2);
    refused(&limit, RATE_LIMITED, ErrorKind::Overloaded);
    // No more than a burst, however long the pause.
    hand.go(SECOND * 1_000_000);
    spent(3);
    refused(&limit, RATE_LIMITED, ErrorKind::Overloaded);
}

#[test]
fn a_rate_limit_has_no_numbers_that_break_it() {
    let hand = Hand::new();
    for (interval, burst, allows) in [
        (Duration::ZERO, 1, true),
        (Duration::ZERO, 0, false),
        (Duration::MAX, 0, false),
        (Duration::MAX, u32::MAX, true),
        (Duration::from_nanos(1), u32::MAX, true),
    ] {
        let limit = RateLimit::by_clock(interval, burst, hand.clock());
        for _ in 0..3 {
            assert_eq!(allowed(&limit), allows);
            hand.go(SECOND * 10);
        }
    }
}

#[tokio::test]
async fn a_concurrency_limit_counts_calls_that_are_under_way() {
    let world = World::new();
    let limit = Rc::new(ConcurrencyLimit::new(2));
    let membrane = Membrane::new(limit.clone());
    let other = Membrane::new(limit.clone());
    let wrapped = membrane.wrap(world.node("a"));
    let shared = other.wrap(world.node("b"));
    let one = begin(wrapped.hang_request().send().promise);
    let two = begin(shared.hang_request().send().promise);
    let error = name(&wrapped).await.err().unwrap();
    assert!(error.extra.starts_with("tooManyCalls: 2 calls"));
    assert_eq!(error.kind, ErrorKind::Overloaded);
    assert_eq!(limit.under_way(), 2);
    drop(one);
    assert_eq!(name(&wrapped).await.unwrap(), "a");
    let one = begin(wrapped.hang_request().send().promise);
    membrane.revoke(reason());
    assert!(is_reason(one.await));
    assert_eq!(name(&shared).await.unwrap(), "b");
    world.open_gates();
    two.await.unwrap();
    assert_eq!(limit.under_way(), 0);
    refused(
        &ConcurrencyLimit::new(0),
        TOO_MANY_CALLS,
        ErrorKind::Overloaded,
    );
}

#[tokio::test]
async fn an_audit_sees_each_call_with_its_decision() {
    let world = World::new();
    let counts = Rc::new(Counts::default());
    let list: Rc<dyn Policy> = Rc::new(AllowList::new([MAKE, NAME]));
    let membrane = Membrane::new(Rc::new(Audit::new(list, counts.clone())));
    let wrapped = membrane.wrap(world.node("a"));
    let made = make(&wrapped, "b").await.unwrap();
    name(&made).await.unwrap();
    assert!(ask(&wrapped, &made).await.is_err());
    assert_eq!(
        (counts.allowed(), counts.refused(), counts.replaced()),
        (2, 1, 0)
    );

    let seen = Rc::new(Cell::new(None));
    let sink = {
        let seen = Rc::clone(&seen);
        move |call: Call, decision: &Decision| seen.set(Some((call, format!("{decision:?}"))))
    };
    let audit = Audit::new(Rc::new(AllowAll), Rc::new(sink));
    assert!(allowed(&audit));
    assert_eq!(seen.take(), Some((INWARD, "Allow".into())));
}

#[tokio::test]
async fn an_epoch_guard_refuses_once_the_epoch_has_moved_on() {
    let world = World::new();
    let current = CurrentEpoch::new(7);
    let membrane = Membrane::new(Rc::new(EpochGuard::new(&current)));
    let wrapped = membrane.wrap(world.node("a"));
    let call = begin(wrapped.hang_request().send().promise);
    assert_eq!(name(&wrapped).await.unwrap(), "a");
    let elsewhere = current.clone();
    std::thread::spawn(move || elsewhere.advance_to(8))
        .join()
        .unwrap();
    current.advance_to(3);
    assert_eq!(current.get(), 8);
    let error = name(&wrapped).await.err().unwrap();
    assert_eq!(
        error.extra,
        "staleEpoch: this reference was granted in epoch 7, and it is epoch 8"
    );
    assert_eq!(error.kind, ErrorKind::Disconnected);
    // What was under way goes on.
    world.open_gates();
    call.await.unwrap();
    refused(
        &EpochGuard::of(7, &current),
        STALE_EPOCH,
        ErrorKind::Disconnected,
    );
    assert!(allowed(&EpochGuard::of(9, &current)));
    assert_eq!(EpochGuard::new(&current).epoch(), 8);
}

#[test]
fn an_expired_reference_is_refused_from_its_last_moment_on() {
    let hand = Hand::new();
    let expiry = Expiry::by_clock(SECOND * 10, hand.clock());
    hand.go(SECOND * 10 - Duration::from_nanos(1));
    assert!(allowed(&expiry));
    hand.go(Duration::from_nanos(1));
    refused(&expiry, EXPIRED, ErrorKind::Disconnected);
    refused(
        &Expiry::after(Duration::ZERO),
        EXPIRED,
        ErrorKind::Disconnected,
    );
    assert!(allowed(&Expiry::after(Duration::MAX)));
}

#[test]
fn all_asks_in_order_and_stops_at_the_first_refusal() {
    let hand = Hand::new();
    let (one, two) = (Rc::new(Counts::default()), Rc::new(Counts::default()));
    let limit = Rc::new(RateLimit::by_clock(SECOND, 1, hand.clock()));
    let all = All::new([
        Rc::new(Audit::new(Rc::new(AllowAll), one.clone())) as Rc<dyn Policy>,
        limit,
        Rc::new(Audit::new(Rc::new(AllowAll), two.clone())),
    ]);
    assert!(allowed(&all));
    refused(&all, RATE_LIMITED, ErrorKind::Overloaded);
    assert_eq!((one.allowed(), two.allowed()), (2, 1));
    assert!(allowed(&All::new([])));
}

#[test]
fn all_keeps_every_guard_and_gives_them_back_on_refusal() {
    for limits in 0..4 {
        let limits: Vec<_> = (0..limits)
            .map(|_| Rc::new(ConcurrencyLimit::new(1)))
            .collect();
        let refuses = Rc::new(ConcurrencyLimit::new(1));
        let policies = limits.iter().chain([&refuses]).cloned();
        let all = All::new(policies.map(|limit| limit as Rc<dyn Policy>));
        let decision = all.check(INWARD);
        assert!(limits.iter().all(|limit| limit.under_way() == 1));
        drop(decision);
        assert!(limits.iter().all(|limit| limit.under_way() == 0));
        let held = refuses.check(INWARD);
        refused(&all, TOO_MANY_CALLS, ErrorKind::Overloaded);
        assert!(limits.iter().all(|limit| limit.under_way() == 0));
        drop(held);
    }
}

/// Replaces every target.
struct Instead(node::Client);

impl Policy for Instead {
    fn check(&self, _call: Call) -> Decision {
        Decision::replace(self.0.clone())
    }
}

#[tokio::test]
async fn all_lets_one_policy_replace_the_target_and_not_two() {
    let world = World::new();
    let instead = || Rc::new(Instead(world.node("stand-in"))) as Rc<dyn Policy>;
    let limit = Rc::new(ConcurrencyLimit::new(1));
    let membrane = Membrane::new(Rc::new(All::new([instead(), limit.clone()])));
    let wrapped = membrane.wrap(world.node("a"));
    let call = begin(wrapped.hang_request().send().promise);
    assert_eq!(limit.under_way(), 1);
    drop(call);
    assert_eq!(name(&wrapped).await.unwrap(), "stand-in");
    assert_eq!(limit.under_way(), 0);
    refused(
        &All::new([instead(), instead()]),
        CONFLICT,
        ErrorKind::Failed,
    );
}

#[test]
fn one_way_asks_about_one_direction() {
    let policy = Rc::new(AllowList::new([]));
    for (direction, refuses) in [(Direction::Inward, true), (Direction::Outward, false)] {
        let one_way = OneWay::new(direction, policy.clone());
        assert_eq!(allowed(&one_way), !refuses);
        assert!(matches!(one_way.check(OUTWARD), Decision::Allow));
    }
}
