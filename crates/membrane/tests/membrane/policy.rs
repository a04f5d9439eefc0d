//! What policies see, and that nothing gets round them.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp::traits::HasTypeId;
use membrane::{Call, Decision, Direction, Membrane, Policy};

use crate::node_capnp::{admin, node};
use crate::nodes::{World, ask, is_reason, make, name, open_membrane, reason};

const NAME: u16 = 0;
const MAKE: u16 = 1;
const ASK: u16 = 5;

/// Refuses the calls that a function picks, and remembers them all.
struct Watch<F> {
    refuse: F,
    seen: RefCell<Vec<Call>>,
}

impl<F: Fn(Call) -> bool + 'static> Watch<F> {
    fn new(refuse: F) -> (Rc<Self>, Membrane) {
        let policy = Rc::new(Self {
            refuse,
            seen: RefCell::default(),
        });
        let membrane = Membrane::new(policy.clone());
        (policy, membrane)
    }

    fn seen(&self) -> Vec<(u16, Direction)> {
        let seen = self.seen.take();
        seen.iter()
            .map(|call| (call.method_id, call.direction))
            .collect()
    }
}

impl<F: Fn(Call) -> bool> Policy for Watch<F> {
    fn check(&self, call: Call) -> Decision {
        self.seen.borrow_mut().push(call);
        if (self.refuse)(call) {
            Decision::Refuse(Error::unimplemented("not granted".into()))
        } else {
            Decision::Allow
        }
    }
}

#[tokio::test]
async fn a_refused_call_does_not_start_and_fails_with_the_refusal() {
    let world = World::new();
    let (_, membrane) = Watch::new(|call| call.method_id == NAME);
    let wrapped = membrane.wrap(world.node("a"));
    let error = name(&wrapped).await.err().unwrap();
    assert_eq!(error.kind, capnp::ErrorKind::Unimplemented);
    assert_eq!(error.extra, "not granted");
    assert_eq!(world.started.get(), 0);
    // What is reached through it is refused too.
    let made = make(&wrapped, "b").await.unwrap();
    assert!(name(&made).await.is_err());
    assert_eq!(world.started.get(), 1);
}

#[tokio::test]
async fn a_pipelined_call_on_a_refused_call_fails_with_the_refusal() {
    let world = World::new();
    let (_, membrane) = Watch::new(|call| call.method_id == MAKE);
    let wrapped = membrane.wrap(world.node("a"));
    let sent = wrapped.make_request().send();
    let error = name(&sent.pipeline.get_node()).await.err().unwrap();
    assert_eq!(error.extra, "not granted");
    assert_eq!(world.started.get(), 0);
}

#[tokio::test]
async fn a_cast_does_not_get_round_the_policy() {
    let world = World::new();
    let (_, membrane) = Watch::new(|call| call.interface_id == admin::Client::TYPE_ID);
    let wrapped: node::Client = membrane.wrap(world.both("a")).cast_to();
    assert_eq!(name(&wrapped).await.unwrap(), "a");
    let admin: admin::Client = wrapped.clone().cast_to();
    assert!(admin.erase_request().send().promise.await.is_err());
    let made: admin::Client = make(&wrapped, "b").await.unwrap().cast_to();
    assert!(made.erase_request().send().promise.await.is_err());
    assert_eq!(world.started.get(), 2);
}

#[tokio::test]
async fn a_policy_sees_each_call_once_with_its_direction() {
    let (inside, outside) = (World::new(), World::new());
    let (policy, membrane) = Watch::new(|_| false);
    let wrapped = membrane.wrap(inside.node("inside"));
    ask(&wrapped, &outside.node("mine")).await.unwrap();
    assert_eq!(
        policy.seen(),
        [(ASK, Direction::Inward), (NAME, Direction::Outward)]
    );
    // The inside calls its own object: nothing crosses.
    let made = make(&wrapped, "made").await.unwrap();
    ask(&wrapped, &made).await.unwrap();
    assert_eq!(
        policy.seen(),
        [(MAKE, Direction::Inward), (ASK, Direction::Inward)]
    );
}

#[tokio::test]
async fn what_goes_outward_can_be_refused_alone() {
    let (inside, outside) = (World::new(), World::new());
    let (_, membrane) = Watch::new(|call| call.direction == Direction::Outward);
    let wrapped = membrane.wrap(inside.node("inside"));
    let error = ask(&wrapped, &outside.node("mine")).await.err().unwrap();
    assert_eq!(error.extra, "not granted");
    assert_eq!((inside.started.get(), outside.started.get()), (1, 0));
}

#[tokio::test]
async fn a_membrane_in_a_membrane_attenuates_further() {
    let world = World::new();
    let (_, inner) = Watch::new(|call| call.method_id == NAME);
    let (_, outer) = Watch::new(|call| call.method_id == MAKE);
    let once = inner.wrap(world.node("a"));
    let twice = outer.wrap(once.clone());
    assert!(name(&twice).await.is_err());
    assert!(make(&twice, "b").await.is_err());
    assert!(make(&once, "b").await.is_ok());
    inner.revoke(reason());
    assert!(is_reason(twice.hang_request().send().promise.await));
}

#[tokio::test]
async fn a_policy_may_revoke() {
    struct Fuse(RefCell<Option<Membrane>>);
    impl Policy for Fuse {
        fn check(&self, _call: Call) -> Decision {
            if let Some(membrane) = self.0.take() {
                membrane.revoke(reason());
            }
            Decision::Allow
        }
    }
    let world = World::new();
    let fuse = Rc::new(Fuse(RefCell::default()));
    let membrane = Membrane::new(fuse.clone());
    let wrapped = membrane.wrap(world.node("a"));
    fuse.0.replace(Some(membrane));
    assert!(is_reason(name(&wrapped).await));
    assert_eq!((world.started.get(), world.live.get()), (0, 0));
}

#[tokio::test]
async fn allow_all_allows() {
    let world = World::new();
    let wrapped = open_membrane().wrap(world.both("a"));
    let admin: admin::Client = wrapped.cast_to();
    assert!(admin.erase_request().send().promise.await.is_ok());
}
