//! When a head is adopted.
//!
//! The rule is one: *the head in force is the contract's head as of the newest block that has
//! enough confirmations.* Reading state as of that block, instead of waiting for events, is what
//! makes the rule the same at boot as later; a lone update needs no later event to be adopted,
//! updates that come faster than they confirm are adopted one after the other, and an update that
//! a reorganisation took back is never seen.

use crate::epoch::{Epoch, Head};

/// How many blocks must follow a block before its state counts.
///
/// With 0 the newest block counts at once, which is right for a chain that has no reorganisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmations(pub u64);

impl Confirmations {
    /// The newest block that counts when the newest block there is has number `tip`. None while the
    /// chain is too young.
    pub fn confirmed(self, tip: u64) -> Option<u64> {
        tip.checked_sub(self.0)
    }
}

/// Which head is in force, as observations of the chain come in.
///
/// Observations may skip blocks, repeat them, and come from nodes that lag behind one another.
#[derive(Clone, Debug)]
pub struct Adoption {
    confirmations: Confirmations,
    current: Epoch,
    /// The newest block by whose state it has judged.
    judged: Option<u64>,
}

/// What an observation led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The head had not been in force: this epoch begins, and the one before has ended.
    Adopted(Epoch),
    /// The head is the one in force.
    Unchanged,
    /// The chain has not as many blocks yet as confirmations are asked for.
    TooYoung,
    /// The observation is of an older block than has been judged by. It would undo what newer ones
    /// did, so it counts for nothing. A chain that stays behind has been replaced.
    Stale {
        /// The block that must be confirmed before an observation counts again.
        judged: u64,
    },
}

impl Adoption {
    /// Begins in epoch 0, with nothing adopted.
    pub fn new(confirmations: Confirmations) -> Self {
        Self {
            confirmations,
            current: Epoch::default(),
            judged: None,
        }
    }

    /// The epoch in force.
    pub fn current(&self) -> &Epoch {
        &self.current
    }

    /// Takes note of what the contract's head was as of [`Confirmations::confirmed`]`(tip)`, when
    /// the newest block was `tip`.
    ///
    /// Of several updates between two observations the latest counts, and takes one number.
    pub fn observe(&mut self, tip: u64, head: Head) -> Outcome {
        let Some(confirmed) = self.confirmations.confirmed(tip) else {
            return Outcome::TooYoung;
        };
        if let Some(judged) = self.judged
            && confirmed < judged
        {
            return Outcome::Stale { judged };
        }
        self.judged = Some(confirmed);
        if head == self.current.head {
            return Outcome::Unchanged;
        }
        self.current = Epoch {
            sequence: self.current.sequence.saturating_add(1),
            head,
            adopted_block: tip,
        };
        Outcome::Adopted(self.current.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::{Adoption, Confirmations, Outcome};
    use crate::epoch::{Epoch, Head};

    fn head(name: u32) -> Head {
        Head::try_from(&name.to_be_bytes()[..]).unwrap()
    }

    /// A chain: the head after each block. Block 0 has none.
    struct Chain(Vec<Head>);

    impl Chain {
        fn new() -> Self {
            Self(vec![Head::default()])
        }

        fn tip(&self) -> u64 {
            self.0.len() as u64 - 1
        }

        fn mine(&mut self, update: Option<u32>) {
            let last = self.0.last().unwrap().clone();
            self.0.push(update.map_or(last, head));
        }

        /// Takes the last blocks back.
        fn reorganise(&mut self, depth: u64) {
            self.0.truncate((self.tip() - depth) as usize + 1);
        }

        fn observe(&self, adoption: &mut Adoption) -> Outcome {
            let tip = self.tip();
            let read = adoption.confirmations.confirmed(tip);
            let head = read.map_or_else(Head::default, |block| self.0[block as usize].clone());
            adoption.observe(tip, head)
        }
    }

    #[test]
    fn a_lone_update_is_adopted_exactly_after_its_confirmations() {
        let (mut chain, mut adoption) = (Chain::new(), Adoption::new(Confirmations(6)));
        chain.mine(Some(7));
        for _ in 0..5 {
            assert_eq!(chain.observe(&mut adoption), Outcome::TooYoung);
            chain.mine(None);
        }
        assert_eq!(chain.observe(&mut adoption), Outcome::Unchanged);
        chain.mine(None);
        let epoch = Epoch {
            sequence: 1,
            head: head(7),
            adopted_block: 7,
        };
        assert_eq!(
            chain.observe(&mut adoption),
            Outcome::Adopted(epoch.clone())
        );
        assert_eq!(chain.observe(&mut adoption), Outcome::Unchanged);
        assert_eq!(adoption.current(), &epoch);
    }

    #[test]
    fn the_first_observation_follows_the_same_rule() {
        let (mut chain, mut adoption) = (Chain::new(), Adoption::new(Confirmations(2)));
        for name in 1..=10 {
            chain.mine(Some(name));
        }
        let Outcome::Adopted(epoch) = chain.observe(&mut adoption) else {
            unreachable!("nothing was adopted");
        };
        assert_eq!((epoch.sequence, epoch.head), (1, head(8)));
    }

    #[test]
    fn constant_updates_are_adopted_one_after_the_other() {
        let (mut chain, mut adoption) = (Chain::new(), Adoption::new(Confirmations(6)));
        let mut adopted = Vec::new();
        for name in 1..=100 {
            chain.mine(Some(name));
            if let Outcome::Adopted(epoch) = chain.observe(&mut adoption) {
                adopted.push(epoch);
            }
        }
        assert_eq!(adopted.len(), 94);
        for (index, epoch) in (1..).zip(&adopted) {
            assert_eq!(epoch.sequence, u64::from(index));
            assert_eq!(epoch.head, head(index));
            assert_eq!(epoch.adopted_block, u64::from(index) + 6);
        }
    }

    #[test]
    fn of_updates_between_observations_the_latest_takes_one_number() {
        let (mut chain, mut adoption) = (Chain::new(), Adoption::new(Confirmations(0)));
        chain.mine(Some(1));
        chain.observe(&mut adoption);
        chain.mine(Some(2));
        chain.mine(Some(3));
        let Outcome::Adopted(epoch) = chain.observe(&mut adoption) else {
            unreachable!("nothing was adopted");
        };
        assert_eq!((epoch.sequence, epoch.head), (2, head(3)));
        // There and back again is no change.
        chain.mine(Some(4));
        chain.mine(Some(3));
        assert_eq!(chain.observe(&mut adoption), Outcome::Unchanged);
    }

    #[test]
    fn a_head_that_is_taken_away_ends_the_epoch() {
        let mut adoption = Adoption::new(Confirmations(0));
        adoption.observe(1, head(1));
        let Outcome::Adopted(epoch) = adoption.observe(2, Head::default()) else {
            unreachable!("nothing was adopted");
        };
        assert_eq!((epoch.sequence, epoch.head.len()), (2, 0));
    }

    #[test]
    fn a_node_that_lags_behind_does_not_bring_an_old_head_back() {
        let mut adoption = Adoption::new(Confirmations(2));
        adoption.observe(10, head(1));
        adoption.observe(12, head(2));
        assert_eq!(adoption.observe(11, head(1)), Outcome::Stale { judged: 10 });
        assert_eq!(adoption.observe(1, head(9)), Outcome::TooYoung);
        assert_eq!(adoption.current().head, head(2));
        assert_eq!(adoption.observe(12, head(2)), Outcome::Unchanged);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Mine(bool),
        Reorganise(u64),
        Observe,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => any::<bool>().prop_map(Event::Mine),
            1 => (1..8_u64).prop_map(Event::Reorganise),
            3 => Just(Event::Observe),
        ]
    }

    proptest! {
        /// No block that ever had its confirmations is taken back.
        #[test]
        fn what_is_adopted_stays_in_the_chain(
            depth in 0..8_u64,
            events in proptest::collection::vec(event(), 1..300),
        ) {
            let (mut chain, mut adoption) = (Chain::new(), Adoption::new(Confirmations(depth)));
            let (mut names, mut highest, mut adopted) = (0, 0, Vec::new());
            for event in events {
                match event {
                    Event::Mine(update) => {
                        names += 1;
                        chain.mine(update.then_some(names));
                        highest = chain.tip().max(highest);
                    }
                    Event::Reorganise(blocks) => {
                        let settled = highest.saturating_sub(depth);
                        chain.reorganise(blocks.min(chain.tip() - settled));
                    }
                    Event::Observe => {
                        let before = adoption.current().clone();
                        match chain.observe(&mut adoption) {
                            Outcome::Adopted(epoch) => {
                                prop_assert_eq!(epoch.sequence, before.sequence + 1);
                                prop_assert_ne!(&epoch.head, &before.head);
                                prop_assert!(epoch.adopted_block >= before.adopted_block);
                                prop_assert_eq!(epoch.adopted_block, chain.tip());
                                prop_assert_eq!(&epoch, adoption.current());
                                adopted.push(epoch);
                            }
                            Outcome::Unchanged => {
                                let block = chain.tip() - depth;
                                prop_assert_eq!(&chain.0[block as usize], &before.head);
                            }
                            Outcome::TooYoung => prop_assert!(chain.tip() < depth),
                            Outcome::Stale { judged } => {
                                prop_assert!(chain.tip() - depth < judged);
                            }
                        }
                    }
                }
            }
            // Each head that was adopted is in the chain at the block it was read at, to the end:
            // none was ever taken back.
            for epoch in &adopted {
                let read = (epoch.adopted_block - depth) as usize;
                prop_assert_eq!(&chain.0[read], &epoch.head);
            }
            // The last update is adopted, although none follows it.
            for _ in 0..2 * depth + 10 {
                chain.mine(None);
            }
            chain.observe(&mut adoption);
            prop_assert_eq!(&adoption.current().head, chain.0.last().unwrap());
        }
    }
}
