use super::*;
use proptest::prelude::*;

fn memory(bytes: u64) -> Allotment {
    Allotment {
        memory_bytes: Some(bytes),
        ..Allotment::default()
    }
}

fn fuel(units: u64) -> Allotment {
    Allotment {
        fuel: Some(units),
        ..Allotment::default()
    }
}

fn share(percent: u32) -> Allotment {
    Allotment {
        cpu_share: NonZeroU32::new(percent),
        ..Allotment::default()
    }
}

fn inherit() -> Allotment {
    Allotment::default()
}

#[test]
fn the_bound_of_the_first_holds_for_the_fifth_generation() {
    let root = Budget::root(&memory(100));
    let mut leaf = root.clone();
    for _ in 0..5 {
        leaf = leaf.child(&inherit()).unwrap();
    }
    let held = leaf.charge(Resource::Memory, 60).unwrap();
    let aunt = root.child(&inherit()).unwrap();
    let hers = aunt.charge(Resource::Memory, 30).unwrap();
    let refused = held.grow(11).unwrap_err();
    assert_eq!(
        refused,
        Exhausted {
            bound: Bound::Held(Resource::Memory),
            asked: 11,
            left: 10,
            limit: 100
        }
    );
    assert_eq!(
        refused.to_string(),
        "limit: memory: 11 bytes were asked for, 10 are left to this cell"
    );
    assert_eq!((held.amount(), leaf.left(Resource::Memory)), (60, Some(10)));
    drop(hers);
    held.grow(11).unwrap();
    assert_eq!(root.used().memory_bytes, 71);
    held.shrink(1);
    assert_eq!(root.used().memory_bytes, 70);
    drop(leaf);
    assert_eq!(root.used().memory_bytes, 70);
    drop(held);
    assert_eq!(root.used().memory_bytes, 0);
    assert_eq!(root.used().peak_memory_bytes, 90);
}

#[test]
fn a_child_is_refused_more_than_is_left_to_its_parent() {
    let root = Budget::root(&Allotment {
        memory_bytes: Some(1000),
        streams: Some(5),
        cells: Some(3),
        tmp_bytes: Some(10),
        var_bytes: Some(20),
        files: Some(7),
        content_bytes: Some(30),
        ..Allotment::default()
    });
    let _held = root.charge(Resource::Memory, 400).unwrap();
    let refused = root.child(&memory(601)).unwrap_err();
    assert_eq!((refused.left, refused.limit), (600, 1000));
    let child = root.child(&memory(600)).unwrap();
    assert_eq!(child.left(Resource::Memory), Some(600));
    assert_eq!(child.left(Resource::Var), Some(20));
    for (asked, resource) in [
        (
            Allotment {
                streams: Some(6),
                ..inherit()
            },
            Resource::Streams,
        ),
        (
            Allotment {
                cells: Some(4),
                ..inherit()
            },
            Resource::Cells,
        ),
        (
            Allotment {
                tmp_bytes: Some(11),
                ..inherit()
            },
            Resource::Tmp,
        ),
        (
            Allotment {
                var_bytes: Some(21),
                ..inherit()
            },
            Resource::Var,
        ),
        (
            Allotment {
                files: Some(8),
                ..inherit()
            },
            Resource::Files,
        ),
        (
            Allotment {
                content_bytes: Some(31),
                ..inherit()
            },
            Resource::Content,
        ),
    ] {
        let refused = child.child(&asked).unwrap_err();
        assert_eq!(refused.bound, Bound::Held(resource));
        assert!(refused.to_string().starts_with(LIMIT_PREFIX), "{refused}");
    }
    let unbounded = Budget::default();
    assert_eq!(unbounded.left(Resource::Memory), None);
    let _all = unbounded.charge(Resource::Memory, u64::MAX).unwrap();
    assert!(unbounded.charge(Resource::Memory, 1).is_err());
}

#[test]
fn what_was_spent_stays_taken_when_whoever_spent_it_has_gone() {
    let root = Budget::root(&Allotment {
        content_bytes: Some(100),
        ..Allotment::default()
    });
    for left in [60, 20] {
        let child = root.child(&inherit()).unwrap();
        let charge = child.charge(Resource::Content, 30).unwrap();
        charge.grow(10).unwrap();
        charge.spend();
        drop((charge, child));
        assert_eq!(root.left(Resource::Content), Some(left));
    }
    assert!(root.charge(Resource::Content, 21).is_err());
}

#[test]
fn generations_are_counted_down_and_never_more_than_the_chain_may_have() {
    let root = Budget::root(&Allotment {
        depth: Some(2),
        ..inherit()
    });
    let refused = root.child(&Allotment {
        depth: Some(2),
        ..inherit()
    });
    assert_eq!(refused.unwrap_err().left, 1);
    let child = root.child(&inherit()).unwrap();
    let grandchild = child.child(&inherit()).unwrap();
    let refused = grandchild.child(&inherit()).unwrap_err();
    assert_eq!(refused.bound, Bound::Depth);
    let last = child
        .child(&Allotment {
            depth: Some(0),
            ..inherit()
        })
        .unwrap();
    assert!(last.child(&inherit()).is_err());

    let mut deep = Budget::root(&Allotment {
        depth: Some(u32::MAX),
        ..inherit()
    });
    for _ in 0..MAX_GENERATIONS {
        deep = deep.child(&inherit()).unwrap();
    }
    assert!(deep.child(&inherit()).is_err());
}

#[test]
fn fuel_for_a_child_leaves_the_parent_and_what_is_unused_returns() {
    let root = Budget::root(&fuel(1000));
    let left = |budget: &Budget| budget.used().fuel_left.unwrap();
    let refused = root.child(&fuel(1001)).unwrap_err();
    assert_eq!((refused.asked, refused.left), (1001, 1000));
    let child = root.child(&fuel(700)).unwrap();
    let half = root.child(&inherit()).unwrap();
    assert_eq!((left(&root), left(&child), left(&half)), (150, 700, 150));
    let grandchild = child.child(&inherit()).unwrap();
    assert_eq!((left(&child), left(&grandchild)), (350, 350));
    assert_eq!(grandchild.ledger().unwrap().draw(100), 100);
    // Whoever is dropped first, everything comes home: a child keeps its parent.
    drop(child);
    assert_eq!(left(&root), 150);
    drop(grandchild);
    assert_eq!(left(&root), 750);
    drop(half);
    assert_eq!(left(&root), 900);

    let all = root.child(&fuel(900)).unwrap();
    assert_eq!(root.child(&inherit()).unwrap_err().bound, Bound::Fuel);
    drop(all);
    // Nothing is set aside where the parent's is not counted.
    let free = Budget::default();
    let _metered = free.child(&fuel(5)).unwrap();
    assert_eq!(free.used().fuel_left, None);
}

#[test]
fn a_refused_child_takes_no_fuel_with_it() {
    let root = Budget::root(&Allotment {
        cpu_share: NonZeroU32::new(20),
        ..fuel(10)
    });
    let refused = root.child(&Allotment {
        cpu_share: NonZeroU32::new(30),
        ..fuel(5)
    });
    assert_eq!(refused.unwrap_err().bound, Bound::CpuShare);
    assert_eq!(root.used().fuel_left, Some(10));
}

#[test]
fn the_processor_is_shared_up_the_chain() {
    let root = Budget::root(&share(10));
    let child = root.child(&inherit()).unwrap();
    let sibling = root.child(&share(10)).unwrap();
    assert!(child.waits_until().is_none());
    child.ran(Instant::now(), Duration::from_secs(1));
    let until = child.waits_until().unwrap();
    assert!(until > Instant::now() + Duration::from_secs(5));
    assert_eq!(sibling.waits_until(), Some(until));
    // A child that runs into its own share does not hold up anybody else.
    let poor = Budget::default().child(&share(1)).unwrap();
    poor.ran(Instant::now(), Duration::from_secs(1));
    assert!(poor.waits_until().is_some());
    assert!(poor.parent().unwrap().waits_until().is_none());
}

#[test]
fn a_deadline_is_the_earliest_up_the_chain() {
    let time = |seconds| Allotment {
        wall_time: Some(Duration::from_secs(seconds)),
        ..inherit()
    };
    let root = Budget::root(&time(100));
    let limit = |budget: &Budget| budget.deadline().unwrap().limit;
    assert_eq!(limit(&root.child(&time(1000)).unwrap()).as_secs(), 100);
    assert_eq!(limit(&root.child(&time(10)).unwrap()).as_secs(), 10);
    assert_eq!(limit(&root.child(&inherit()).unwrap()).as_secs(), 100);
    assert!(Budget::root(&time(u64::MAX)).deadline().is_none());
}

#[test]
fn threads_never_exceed_a_bound_together_and_a_refused_charge_harms_nobody() {
    const BOUND: u64 = 64;
    let root = Budget::root(&memory(BOUND));
    let narrow = root.child(&inherit()).unwrap();
    std::thread::scope(|threads| {
        for _ in 0..3 {
            let budget = narrow.child(&inherit()).unwrap();
            let root = &root;
            threads.spawn(move || {
                for round in 0..20_000 {
                    // Three times 20 fit at any time, whatever is refused beside them.
                    let held = budget.charge(Resource::Memory, round % 20).unwrap();
                    assert!(held.grow(BOUND + 1).is_err());
                    held.grow(1).unwrap();
                    assert!(root.used().memory_bytes <= BOUND);
                }
            });
        }
    });
    assert_eq!(narrow.used().memory_bytes, 0);
    assert_eq!(root.used().memory_bytes, 0);
    assert!(root.used().peak_memory_bytes <= BOUND);
}

#[test]
fn threads_that_set_fuel_aside_and_return_it_neither_make_nor_lose_any() {
    let root = Budget::root(&fuel(1000));
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                for round in 0..5_000 {
                    let Ok(child) = root.child(&fuel(round % 700)) else {
                        continue;
                    };
                    let grandchild = child.child(&inherit());
                    drop(child);
                    drop(grandchild);
                }
            });
        }
    });
    assert_eq!(root.used().fuel_left, Some(1000));
}

/// What may happen to a tree of budgets, each step about the budgets or charges there are by then.
#[derive(Clone, Debug)]
enum Step {
    Child {
        of: usize,
        memory: Option<u64>,
        fuel: Option<u64>,
    },
    DropBudget(usize),
    Charge {
        to: usize,
        amount: u64,
    },
    Grow {
        charge: usize,
        amount: u64,
    },
    Shrink {
        charge: usize,
        amount: u64,
    },
    DropCharge(usize),
    Burn {
        of: usize,
        amount: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let some = 0..20usize;
    let amount = 0..200u64;
    prop_oneof![
        (
            some.clone(),
            prop::option::of(amount.clone()),
            prop::option::of(amount.clone())
        )
            .prop_map(|(of, memory, fuel)| Step::Child { of, memory, fuel }),
        some.clone().prop_map(Step::DropBudget),
        (some.clone(), amount.clone()).prop_map(|(to, amount)| Step::Charge { to, amount }),
        (some.clone(), amount.clone()).prop_map(|(charge, amount)| Step::Grow { charge, amount }),
        (some.clone(), amount.clone()).prop_map(|(charge, amount)| Step::Shrink { charge, amount }),
        some.clone().prop_map(Step::DropCharge),
        (some, amount).prop_map(|(of, amount)| Step::Burn { of, amount }),
    ]
}

proptest! {
    #[test]
    fn in_any_tree_no_bound_is_exceeded_and_everything_comes_home(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        const MEMORY: u64 = 500;
        const FUEL: u64 = 1000;
        let root = Budget::root(&Allotment { memory_bytes: Some(MEMORY), ..fuel(FUEL) });
        // Each budget with its bound, and with its place in the tree.
        let mut budgets = vec![(root.clone(), MEMORY)];
        let mut charges: Vec<Charge> = Vec::new();
        let mut burnt = 0;
        for step in steps {
            match step {
                Step::Child { of, memory, fuel } => {
                    let (parent, _) = &budgets[of % budgets.len()];
                    let asked = Allotment { memory_bytes: memory, fuel, ..inherit() };
                    let left = parent.left(Resource::Memory).unwrap();
                    let made = parent.child(&asked);
                    if memory.is_some_and(|memory| memory > left) {
                        prop_assert!(made.is_err());
                    }
                    if let Ok(child) = made {
                        budgets.push((child, memory.unwrap_or(MEMORY)));
                    }
                }
                Step::DropBudget(which) => {
                    let which = which % budgets.len();
                    if which > 0 {
                        budgets.swap_remove(which);
                    }
                }
                Step::Charge { to, amount } => {
                    let (budget, _) = &budgets[to % budgets.len()];
                    let left = budget.left(Resource::Memory).unwrap();
                    let charge = budget.charge(Resource::Memory, amount);
                    prop_assert_eq!(charge.is_ok(), amount <= left);
                    charges.extend(charge);
                }
                Step::Grow { charge, amount } if !charges.is_empty() => {
                    let charge = &charges[charge % charges.len()];
                    let left = charge.budget.left(Resource::Memory).unwrap();
                    prop_assert_eq!(charge.grow(amount).is_ok(), amount <= left);
                }
                Step::Shrink { charge, amount } if !charges.is_empty() => {
                    charges[charge % charges.len()].shrink(amount);
                }
                Step::DropCharge(which) if !charges.is_empty() => {
                    charges.swap_remove(which % charges.len());
                }
                Step::Burn { of, amount } => {
                    let (budget, _) = &budgets[of % budgets.len()];
                    burnt += budget.ledger().unwrap().draw(amount);
                }
                _ => {}
            }
            let held: u64 = charges.iter().map(Charge::amount).sum();
            prop_assert_eq!(root.used().memory_bytes, held);
            for (budget, bound) in &budgets {
                prop_assert!(budget.used().peak_memory_bytes <= *bound);
            }
        }
        drop(budgets);
        drop(charges);
        prop_assert_eq!(root.used().memory_bytes, 0);
        prop_assert_eq!(root.used().fuel_left, Some(FUEL - burnt));
    }
}
