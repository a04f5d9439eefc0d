//! Who may reach what, without a membrane in sight: views of objects through walls.

use std::collections::{BTreeMap, BTreeSet};

use membrane::Direction;

/// A method, as policies see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    Act,
    Push,
}

/// A membrane that something is seen through, and the way in which calls go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wall {
    pub membrane: usize,
    pub direction: Direction,
}

/// An object as somebody sees it: through walls, the nearest first.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub object: u32,
    /// More than one, where it depends on when a promise resolved.
    pub paths: Vec<Vec<Wall>>,
    /// The promise that stands before it: calls wait until it has resolved.
    pub gate: Option<u32>,
    /// Whether a call promised it: it may not come home before it is known what it is.
    pub promised: bool,
}

/// What becomes of calls on a view now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Open,
    Shut,
    Unsure,
}

fn reverse(direction: Direction) -> Direction {
    match direction {
        Direction::Inward => Direction::Outward,
        Direction::Outward => Direction::Inward,
    }
}

impl View {
    pub fn bare(object: u32) -> Self {
        Self {
            object,
            paths: vec![Vec::new()],
            gate: None,
            promised: false,
        }
    }

    /// What comes out at the other side of one membrane.
    pub fn carried(&self, membrane: usize, travel: Direction) -> Self {
        let mut paths = Vec::new();
        for path in &self.paths {
            let wrapped = || {
                let wall = Wall {
                    membrane,
                    direction: reverse(travel),
                };
                [vec![wall], path.clone()].concat()
            };
            match path.first() {
                Some(wall) if wall.membrane == membrane => {
                    // A promise may be wrapped before it is known to lead home.
                    if self.gate.is_some() || self.promised {
                        paths.push(wrapped());
                    }
                    paths.push(match wall.direction == travel {
                        true => path[1..].to_vec(),
                        false => path.clone(),
                    });
                }
                _ => paths.push(wrapped()),
            }
        }
        self.with(paths)
    }

    /// What a membrane gives in its place that has been revoked: nothing leads back through that.
    pub fn behind(&self, membrane: usize) -> Self {
        let wall = Wall {
            membrane,
            direction: Direction::Inward,
        };
        let paths = self.paths.iter();
        self.with(
            paths
                .map(|path| [vec![wall], path.clone()].concat())
                .collect(),
        )
    }

    /// What the object behind `road` is given, when this is passed in a call on it.
    pub fn passed_to(&self, road: &View) -> Self {
        self.along(road, |view, path| {
            path.iter().fold(view, |view, wall| {
                view.carried(wall.membrane, wall.direction)
            })
        })
    }

    /// What a caller gets, when the object behind `road` returns this.
    pub fn returned_by(&self, road: &View) -> Self {
        self.along(road, |view, path| {
            path.iter().rev().fold(view, |view, wall| {
                view.carried(wall.membrane, reverse(wall.direction))
            })
        })
    }

    fn along(&self, road: &View, go: impl Fn(View, &[Wall]) -> View) -> Self {
        let mut paths = Vec::new();
        for path in &road.paths {
            for path in go(self.clone(), path).paths {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        self.with(paths)
    }

    fn with(&self, paths: Vec<Vec<Wall>>) -> Self {
        Self {
            object: self.object,
            paths,
            gate: self.gate,
            promised: self.promised,
        }
    }
}

/// The state of all membranes.
pub struct Walls {
    pub revoked: Vec<bool>,
    /// What each refuses.
    pub refused: Vec<Option<(Method, Direction)>>,
}

impl Walls {
    /// What becomes of a call on a view.
    pub fn verdict(&self, view: &View, method: Method) -> Verdict {
        self.judge(view, |wall| {
            self.revoked[wall.membrane]
                || self.refused[wall.membrane] == Some((method, wall.direction))
        })
    }

    /// Whether a view keeps its object alive.
    pub fn hold(&self, view: &View) -> Verdict {
        self.judge(view, |wall| self.revoked[wall.membrane])
    }

    fn judge(&self, view: &View, shut: impl Fn(&Wall) -> bool) -> Verdict {
        let open = |path: &Vec<Wall>| !path.iter().any(&shut);
        match (view.paths.iter().all(open), view.paths.iter().any(open)) {
            (true, _) => Verdict::Open,
            (false, true) => Verdict::Unsure,
            (false, false) => Verdict::Shut,
        }
    }
}

/// Which objects are held, given who holds what: those that surely are, and those that may be.
pub fn held<'a>(
    walls: &Walls,
    surely: impl Iterator<Item = &'a View>,
    perhaps: impl Iterator<Item = &'a View>,
    kept: &BTreeMap<u32, View>,
) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let surely: Vec<_> = surely.collect();
    let perhaps = surely.iter().copied().chain(perhaps);
    let closure = |roots: Vec<&View>, holds: fn(Verdict) -> bool| {
        let mut found = BTreeSet::new();
        let mut queue = roots;
        while let Some(view) = queue.pop() {
            if holds(walls.hold(view)) && found.insert(view.object) {
                queue.extend(kept.get(&view.object));
            }
        }
        found
    };
    let may = closure(perhaps.collect(), |verdict| verdict != Verdict::Shut);
    let must = closure(surely.clone(), |verdict| verdict == Verdict::Open);
    (must, may)
}
