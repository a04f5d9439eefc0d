//! Who is next: a queue in which nobody waits for all that somebody else has put in.
//!
//! Turns are taken by budgets, in the shape of their tree: first between the first cells, then between
//! the children of each, and so on. Somebody who has many children therefore has no more turns than
//! somebody who has none. Within one budget it is first come, first served.
//!
//! The queue is bounded. When it is full, whoever holds most of it loses what they put in last, so that
//! a flood does not shut others out.

use crate::budget::Lineage;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet, VecDeque};

/// A queue with turns. `T` tells what is waiting.
pub(super) struct Turns<T, J> {
    waiting: VecDeque<Entry<T, J>>,
    /// When each budget that waits, or has anybody below it wait, had its last turn, or came.
    last: HashMap<u64, u64>,
    turn: u64,
    cost: u64,
    max_cost: u64,
}

/// Lineages whose turns one job may use. Whoever joins it later waits for one of theirs.
const MAX_JOINED: usize = 64;

struct Entry<T, J> {
    /// Who put it in, and who else waits for it.
    whose: VecDeque<Lineage>,
    what: T,
    cost: u64,
    job: J,
}

impl<T: PartialEq, J> Turns<T, J> {
    /// An empty queue for jobs that cost up to `max_cost` together.
    pub(super) fn new(max_cost: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            last: HashMap::new(),
            turn: 0,
            cost: 0,
            max_cost,
        }
    }

    /// Puts a job in, and gives those that had to leave for it, which may be the job itself. A job that
    /// waits alone may cost what it likes.
    pub(super) fn push(&mut self, whose: Lineage, what: T, cost: u64, job: J) -> Vec<J> {
        self.came(&whose);
        self.cost = self.cost.saturating_add(cost);
        self.waiting.push_back(Entry {
            whose: VecDeque::from([whose]),
            what,
            cost,
            job,
        });
        let mut left = Vec::new();
        while self.cost > self.max_cost && self.waiting.len() > 1 {
            let heaviest = self.heaviest();
            match self.waiting.get_mut(heaviest) {
                // Others wait for it, so it is theirs from now on.
                Some(entry) if entry.whose.len() > 1 => {
                    entry.whose.pop_front();
                }
                _ => left.extend(self.remove(heaviest).map(|entry| entry.job)),
            }
        }
        left
    }

    /// The job whose turn it is.
    pub(super) fn pop(&mut self) -> Option<J> {
        let (index, whose) = self.next()?;
        let entry = self.remove(index)?;
        self.turn += 1;
        for id in whose.ids() {
            if let Some(last) = self.last.get_mut(id) {
                *last = self.turn;
            }
        }
        Some(entry.job)
    }

    /// All jobs, in no order.
    pub(super) fn clear(&mut self) -> Vec<J> {
        self.last.clear();
        self.cost = 0;
        self.waiting.drain(..).map(|entry| entry.job).collect()
    }

    /// Somebody else waits for this as well: the first of their turns will do.
    pub(super) fn join(&mut self, what: &T, whose: &Lineage) {
        let Some(entry) = self.waiting.iter_mut().find(|entry| entry.what == *what) else {
            return;
        };
        if entry.whose.len() < MAX_JOINED && !entry.whose.contains(whose) {
            entry.whose.push_back(whose.clone());
            self.came(whose);
        }
    }

    fn came(&mut self, whose: &Lineage) {
        for id in whose.ids() {
            self.last.entry(*id).or_insert(self.turn);
        }
    }

    /// The job whose turn it is, and whose turn that is.
    fn next(&self) -> Option<(usize, Lineage)> {
        let entries = self.waiting.iter().enumerate();
        let turns = entries.flat_map(|(index, entry)| {
            let whose = entry.whose.iter();
            whose.map(move |whose| (index, whose))
        });
        turns
            .min_by(|(_, a), (_, b)| order(&self.last, a, b))
            .map(|(index, whose)| (index, whose.clone()))
    }

    /// The last job of whoever holds most: of the first cell with the most below it, of its child with
    /// the most, and so on. The newest job is taken where there is no other reason.
    fn heaviest(&self) -> usize {
        let entries = self.waiting.iter().enumerate();
        let mut candidates: Vec<_> = entries
            .filter_map(|(index, entry)| Some((index, entry.whose.front()?, entry.cost)))
            .collect();
        let newest = candidates.last().map(|(_, whose, _)| *whose);
        for depth in 0.. {
            let mut held: HashMap<u64, u64> = HashMap::new();
            for (_, whose, cost) in &candidates {
                if let Some(id) = whose.ids().get(depth) {
                    *held.entry(*id).or_default() += cost;
                }
            }
            let newest = newest.and_then(|whose| whose.ids().get(depth));
            let most = held
                .into_iter()
                .max_by_key(|(id, cost)| (*cost, newest == Some(id), *id));
            let Some((most, _)) = most else {
                break;
            };
            candidates.retain(|(_, whose, _)| whose.ids().get(depth) == Some(&most));
        }
        candidates.last().map_or(0, |(index, ..)| *index)
    }

    fn remove(&mut self, index: usize) -> Option<Entry<T, J>> {
        let entry = self.waiting.remove(index)?;
        self.cost -= entry.cost;
        self.forget();
        Some(entry)
    }

    /// Forgets whoever waits no longer.
    fn forget(&mut self) {
        let lineages = self.waiting.iter().flat_map(|entry| &entry.whose);
        let wait: HashSet<u64> = lineages.flat_map(Lineage::ids).copied().collect();
        self.last.retain(|id, _| wait.contains(id));
    }
}

/// Whose turn is first: where their lineages part, of whoever waits longer since the last one.
fn order(last: &HashMap<u64, u64>, a: &Lineage, b: &Lineage) -> Ordering {
    let parting = a.ids().iter().zip(b.ids()).find(|(a, b)| a != b);
    parting.map_or(Ordering::Equal, |(a, b)| {
        (last.get(a), a).cmp(&(last.get(b), b))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::budget::{Allotment, Budget};

    fn child(of: &Budget) -> Budget {
        of.child(&Allotment::default()).unwrap()
    }

    type Queue = Turns<u32, &'static str>;

    fn queue(max_cost: u64) -> Queue {
        Turns::new(max_cost)
    }

    fn push(queue: &mut Queue, of: &Budget, what: &'static str) -> Vec<&'static str> {
        queue.push(of.lineage(), 0, 1, what)
    }

    fn order(queue: &mut Queue) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn turns_are_taken_by_those_who_wait_and_not_by_their_jobs() {
        let root = Budget::default();
        let (greedy, modest) = (child(&root), child(&root));
        let mut queue = queue(100);
        for job in ["g1", "g2", "g3", "g4"] {
            push(&mut queue, &greedy, job);
        }
        assert_eq!(queue.pop(), Some("g1"));
        push(&mut queue, &modest, "m1");
        push(&mut queue, &modest, "m2");
        assert_eq!(order(&mut queue), ["g2", "m1", "g3", "m2", "g4"]);
        assert!(queue.last.is_empty());
    }

    #[test]
    fn children_share_the_turns_of_the_one_above_them() {
        let root = Budget::default();
        let (greedy, modest) = (child(&root), child(&root));
        let mut queue = queue(100);
        for job in ["g1", "g2", "g3", "g4"] {
            push(&mut queue, &child(&greedy), job);
        }
        push(&mut queue, &greedy, "g5");
        push(&mut queue, &modest, "m1");
        push(&mut queue, &child(&modest), "m2");
        push(&mut queue, &modest, "m3");
        let turns = order(&mut queue);
        let whose: String = turns.iter().filter_map(|job| job.chars().next()).collect();
        assert_eq!(whose, "gmgmgmgg");
        assert!(turns.iter().position(|job| *job == "m2") < Some(6));
    }

    #[test]
    fn whoever_always_has_just_one_job_waiting_is_not_always_next() {
        let root = Budget::default();
        let (patient, pushing) = (child(&root), child(&root));
        let mut queue = queue(100);
        for job in ["p1", "p2", "p3", "p4"] {
            push(&mut queue, &patient, job);
        }
        let mut served = 0;
        for _ in 0..8 {
            push(&mut queue, &child(&pushing), "x");
            served += usize::from(queue.pop() != Some("x"));
        }
        assert_eq!(served, 4);
    }

    #[test]
    fn when_it_is_full_whoever_holds_most_makes_room() {
        let root = Budget::default();
        let (greedy, modest) = (child(&root), child(&root));
        let mut queue = queue(4);
        for job in ["g1", "g2", "g3", "g4"] {
            assert!(push(&mut queue, &child(&greedy), job).is_empty());
        }
        assert_eq!(push(&mut queue, &greedy, "g5").len(), 1);
        let left = push(&mut queue, &modest, "m1");
        assert!(left.iter().all(|job| job.starts_with('g')) && left.len() == 1);
        assert!(push(&mut queue, &modest, "m2").len() == 1);
        // Both hold as much: the newcomer goes.
        assert_eq!(push(&mut queue, &modest, "m3"), ["m3"]);
        assert_eq!(queue.clear().len(), 4);
        assert_eq!(queue.push(root.lineage(), 0, 1000, "large"), [""; 0]);
        assert_eq!(queue.pop(), Some("large"));
    }

    #[test]
    fn a_job_that_somebody_else_waits_for_too_has_the_sooner_of_the_two_turns() {
        let root = Budget::default();
        let (greedy, modest) = (child(&root), child(&root));
        let mut queue = queue(100);
        for job in ["g1", "g2", "g3"] {
            push(&mut queue, &greedy, job);
        }
        queue.push(greedy.lineage(), 7, 1, "both");
        queue.pop();
        for _ in 0..2 {
            queue.join(&7, &modest.lineage());
            queue.join(&8, &modest.lineage());
        }
        assert_eq!(order(&mut queue), ["g2", "both", "g3"]);
        assert!(queue.last.is_empty());
    }

    #[test]
    fn a_job_that_makes_room_stays_for_those_who_joined_it() {
        let root = Budget::default();
        let (greedy, modest) = (child(&root), child(&root));
        let mut queue = queue(3);
        push(&mut queue, &greedy, "g1");
        push(&mut queue, &greedy, "g2");
        queue.push(greedy.lineage(), 7, 1, "both");
        queue.join(&7, &modest.lineage());
        assert_eq!(push(&mut queue, &child(&root), "x"), ["g2"]);
        assert_eq!(order(&mut queue), ["g1", "both", "x"]);
    }
}
