//! Does what a history says, and compares what happens with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use capnp::Error;
use capnp::capability::FromClientHook;
use membrane::{Call, Decision, Direction, Membrane, Policy};

use super::reference::{Method, Verdict, View, Walls, held};
use super::steps::Step;
use super::world::{Engine, Event, How, NESTED, World, act};
use crate::probe_capnp::probe;

const MEMBRANES: usize = 3;
const ROOTS: u32 = 3;
/// Objects and gates that no call has made are numbered from here.
const FIRST: u32 = 1 << 20;

/// What a run came to.
#[derive(Default)]
pub struct Tally {
    pub calls: u64,
    /// Calls that were under way when they were cut.
    pub cut: u64,
}

/// Runs a history. Fails with what disagrees with the model.
pub fn run(engine: Engine, steps: &[Step]) -> Result<Tally, String> {
    let mut driver = Driver::new(engine);
    for step in steps {
        driver.step(step)?;
        driver.look()?;
    }
    driver.end()
}

/// Refuses one method in one direction.
struct Refuses(Option<(Method, Direction)>);

impl Policy for Refuses {
    fn check(&self, call: Call) -> Decision {
        let method = match call.method_id {
            0 => Method::Act,
            _ => Method::Push,
        };
        if self.0 == Some((method, call.direction)) {
            Decision::Refuse(Error::failed("refused".into()))
        } else {
            Decision::Allow
        }
    }
}

/// What came back from a call.
struct Answer {
    text: u32,
    got: Option<probe::Client>,
}

/// A call that is known to the model.
struct Known {
    on: View,
    method: Method,
    how: How,
    /// As its caller sees it.
    offered: Option<View>,
    /// As the object sees it.
    given: Option<View>,
    /// As the caller will see it, once that is known.
    got: Option<View>,
    started: bool,
    forgotten: bool,
    over: bool,
}

struct Task {
    call: u32,
    future: Pin<Box<dyn Future<Output = Result<Answer, Error>>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Driver {
    world: Rc<World>,
    membranes: Vec<Membrane>,
    walls: Walls,
    held: Vec<(probe::Client, View)>,
    calls: BTreeMap<u32, Known>,
    tasks: Vec<Task>,
    /// What each object keeps.
    kept: BTreeMap<u32, View>,
    opened: BTreeSet<u32>,
    /// What the caller's own promises lead to.
    promised: Vec<View>,
    events: usize,
    next: u32,
    /// The engine's own work.
    engine: Option<(Work, Arc<Woken>)>,
    tally: Tally,
}

impl Driver {
    fn new(engine: Engine) -> Self {
        let world = World::new(engine);
        let held = (FIRST..FIRST + ROOTS)
            .map(|id| (world.object(id), View::bare(id)))
            .collect();
        let refused = vec![
            None,
            Some((Method::Push, Direction::Inward)),
            Some((Method::Act, Direction::Outward)),
        ];
        let membrane = |refused: &Option<_>| Membrane::new(Rc::new(Refuses(*refused)));
        let drive = || -> Work {
            Box::pin(async {
                vat::drive().await;
            })
        };
        Self {
            world,
            membranes: refused.iter().map(membrane).collect(),
            walls: Walls {
                revoked: vec![false; MEMBRANES],
                refused,
            },
            held,
            calls: BTreeMap::new(),
            tasks: Vec::new(),
            kept: BTreeMap::new(),
            opened: BTreeSet::new(),
            promised: Vec::new(),
            events: 0,
            next: 1,
            engine: (engine == Engine::Vat)
                .then(|| (drive(), Arc::new(Woken(AtomicBool::new(true))))),
            tally: Tally::default(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Wrap { membrane, what } => {
                let membrane = membrane % MEMBRANES;
                let (client, view) = self.pick(what);
                let wrapped = self.membranes[membrane].wrap(client);
                let view = match self.walls.revoked[membrane] {
                    true => view.behind(membrane),
                    false => view.carried(membrane, Direction::Outward),
                };
                self.held.push((wrapped, view));
            }
            Step::Act { how, on, given } => {
                let (client, on) = self.pick_target(on)?;
                let given = match how {
                    How::Echo | How::Keep | How::Ask => Some(self.pick(given)),
                    _ => None,
                };
                let call = self.number();
                let (given, offered) = given.unzip();
                let sent = act(&client, call, how, given);
                self.know(call, on.clone(), Method::Act, how, offered);
                self.spawn(call, async move {
                    let response = sent.promise.await?;
                    let results = response.get()?;
                    Ok(Answer {
                        text: results.get_text(),
                        got: results.has_got().then(|| results.get_got()).transpose()?,
                    })
                });
            }
            Step::Pipelined { how, on } => {
                let (client, on) = self.pick_target(on)?;
                let call = self.number();
                let sent = act(&client, call, how, None);
                let promised = sent.pipeline.get_got();
                let view = View::bare(call).returned_by(&on);
                let view = View {
                    gate: on.gate,
                    promised: true,
                    ..view
                };
                self.held.push((promised, view));
                self.know(call, on.clone(), Method::Act, how, None);
                self.spawn(call, async move {
                    sent.promise.await?;
                    Ok(Answer { text: 0, got: None })
                });
            }
            Step::Push { on } => {
                let (client, on) = self.pick_target(on)?;
                let call = self.number();
                let mut request = client.push_request();
                request.get().set_call(call);
                let sent = request.send();
                self.know(call, on.clone(), Method::Push, How::Keep, None);
                self.spawn(call, async move {
                    sent.await?;
                    Ok(Answer { text: 0, got: None })
                });
            }
            Step::Promise { what } => {
                let (client, view) = self.pick(what);
                // Of a promise for a promise, calls wait for both: one gate is known of.
                if view.gate.is_some_and(|gate| !self.opened.contains(&gate)) {
                    return Ok(());
                }
                let gate = FIRST + self.number();
                let promise = self.world.promise(gate, move || client);
                self.promised.push(view.clone());
                let gate = Some(gate);
                self.held.push((promise, View { gate, ..view }));
            }
            Step::Open { gate } => {
                let closed = self.world.closed();
                if !closed.is_empty() {
                    let gate = closed[gate % closed.len()];
                    self.world.open(gate);
                    self.opened.insert(gate);
                }
            }
            Step::Poll { tasks } => self.poll(tasks)?,
            Step::Settle => self.settle()?,
            Step::Drop { what } => {
                // The roots stay.
                let roots = ROOTS as usize;
                if self.held.len() > roots {
                    let which = roots + what % (self.held.len() - roots);
                    drop(self.held.swap_remove(which));
                }
            }
            Step::Forget { task } => {
                let holds = |call| self.held.iter().any(|(_, view)| view.object == call);
                let idle: Vec<_> = (0..self.tasks.len())
                    .filter(|at| !holds(self.tasks[*at].call))
                    .collect();
                if !idle.is_empty() {
                    let task = self.tasks.swap_remove(idle[task % idle.len()]);
                    if let Some(known) = self.calls.get_mut(&task.call) {
                        known.forgotten = true;
                    }
                }
            }
            Step::Revoke { membrane } => self.revoke(membrane % MEMBRANES)?,
        }
        Ok(())
    }

    fn pick(&self, number: usize) -> (probe::Client, View) {
        self.held[number % self.held.len()].clone()
    }

    /// Something to make a call on.
    fn pick_target(&mut self, number: usize) -> Result<(probe::Client, View), String> {
        let (client, view) = self.pick(number);
        // A call that waits for its turn on a vat keeps its target, also when it is cancelled: nothing
        // behind a wall is to be kept so, or the call that is to make it would begin after all.
        let begun = |call| {
            self.calls
                .get(call)
                .is_none_or(|known: &Known| known.started)
        };
        if !begun(&view.object) {
            self.drive()?;
        }
        Ok((client, view))
    }

    /// Lets the engine do its own work, if it has been woken.
    fn drive(&mut self) -> Result<(), String> {
        if let Some((future, woken)) = &mut self.engine
            && woken.0.swap(false, Ordering::SeqCst)
        {
            let waker = Waker::from(Arc::clone(woken));
            let _ = future.as_mut().poll(&mut Context::from_waker(&waker));
            self.look()?;
        }
        Ok(())
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn know(&mut self, call: u32, on: View, method: Method, how: How, offered: Option<View>) {
        let given = offered.as_ref().map(|view| view.passed_to(&on));
        self.tally.calls += 1;
        if let (How::Ask, Some(given)) = (how, &given) {
            let nested = Known {
                on: given.clone(),
                method: Method::Act,
                how: How::Name,
                offered: None,
                given: None,
                got: None,
                started: false,
                forgotten: true,
                over: false,
            };
            self.calls.insert(call | NESTED, nested);
        }
        let known = Known {
            on,
            method,
            how,
            offered,
            given,
            got: None,
            started: false,
            forgotten: false,
            over: false,
        };
        self.calls.insert(call, known);
    }

    fn spawn(&mut self, call: u32, future: impl Future<Output = Result<Answer, Error>> + 'static) {
        self.tasks.push(Task {
            call,
            future: Box::pin(future),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        });
    }

    /// Polls up to so many of the tasks that have been woken, the engine among them.
    fn poll(&mut self, most: usize) -> Result<(), String> {
        let mut left = most;
        if left > 0 {
            self.drive()?;
            left -= 1;
        }
        let mut at = 0;
        while left > 0 && at < self.tasks.len() {
            let task = &mut self.tasks[at];
            if !task.woken.0.swap(false, Ordering::SeqCst) {
                at += 1;
                continue;
            }
            left -= 1;
            let waker = Waker::from(Arc::clone(&task.woken));
            let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
            self.look()?;
            match polled {
                Poll::Pending => at += 1,
                Poll::Ready(result) => {
                    let task = self.tasks.swap_remove(at);
                    self.ended(task.call, result)?;
                }
            }
        }
        Ok(())
    }

    fn is_woken(&self) -> bool {
        let woken = |woken: &Arc<Woken>| woken.0.load(Ordering::SeqCst);
        let engine = self.engine.iter().map(|(_, flag)| flag);
        let mut all = self.tasks.iter().map(|task| &task.woken).chain(engine);
        all.any(woken)
    }

    /// Polls until nothing is woken. Then what must have ended has, and what must have gone has.
    fn settle(&mut self) -> Result<(), String> {
        for round in 0.. {
            if !self.is_woken() {
                break;
            }
            self.poll(usize::MAX)?;
            if round > 10_000 {
                return Err("tasks wake each other without end".into());
            }
        }
        for task in &self.tasks {
            let known = &self.calls[&task.call];
            if self.must_be_over(known) {
                return Err(format!("call {} ({:?}) does not end", task.call, known.how));
            }
        }
        self.compare_live()
    }

    /// Whether nothing is left for which a call could wait.
    fn must_be_over(&self, known: &Known) -> bool {
        let open = |gate: u32| self.opened.contains(&gate);
        let ready = |view: &View| {
            let made = self.world.created.borrow().contains(&view.object);
            made && view.gate.is_none_or(open)
        };
        let cut = |view: &View, method| {
            // What stands before a promise cuts calls at once; what stands behind it, when it resolves.
            view.gate.is_none() && self.walls.verdict(view, method) == Verdict::Shut
        };
        if cut(&known.on, known.method) {
            return true;
        }
        if !ready(&known.on) {
            return false;
        }
        match (known.how, &known.given) {
            (How::Hang, _) => !known.started,
            (How::Ask, Some(given)) => !known.started || cut(given, Method::Act) || ready(given),
            _ => true,
        }
    }

    fn compare_live(&self) -> Result<(), String> {
        // A call goes on as long as somebody holds what it promises.
        let goes_on = |call: &u32| {
            let over = [Event::Ended(*call), Event::Dropped(*call)];
            !self
                .world
                .events
                .borrow()
                .iter()
                .any(|event| over.contains(event))
        };
        let underway = self.calls.iter().filter(|(call, _)| goes_on(call));
        let views = underway.flat_map(|(_, known)| {
            [
                Some(&known.on),
                known.given.as_ref(),
                known.offered.as_ref(),
            ]
        });
        let surely = self.held.iter().map(|(_, view)| view);
        // Objects that keep each other live for ever, unless there is a wall between them.
        let keepers = self.world.live.borrow().clone();
        let kept = self
            .kept
            .iter()
            .filter(|(object, _)| keepers.contains(object));
        let kept = kept.map(|(_, view)| view);
        let got = self.calls.values().filter(|known| !known.over);
        let got = got.filter_map(|known| known.got.as_ref());
        let perhaps = views.flatten().chain(got).chain(&self.promised).chain(kept);
        let (must, may) = held(&self.walls, surely, perhaps, &self.kept);
        let live = self.world.live.borrow();
        let created = self.world.created.borrow();
        for object in must.iter().filter(|object| created.contains(object)) {
            if !live.contains(object) {
                return Err(format!("object {object} is held and has gone"));
            }
        }
        for object in live.iter() {
            if !may.contains(object) {
                return Err(format!("nobody holds object {object}, and it lives"));
            }
        }
        Ok(())
    }

    /// Checks and takes note of what has happened.
    fn look(&mut self) -> Result<(), String> {
        let events = self.world.events.borrow()[self.events..].to_vec();
        self.events += events.len();
        for event in events {
            if let Event::Started(call) = event {
                self.start(call)?;
            }
        }
        for (client, view) in &self.held {
            self.check_sight(client, view)?;
        }
        Ok(())
    }

    /// A method body has started: was it allowed to?
    fn start(&mut self, call: u32) -> Result<(), String> {
        let known = &self.calls[&call];
        if self.walls.verdict(&known.on, known.method) == Verdict::Shut {
            return Err(format!("call {call} started behind a wall: {:?}", known.on));
        }
        if known.started {
            return Err(format!("call {call} started twice"));
        }
        if known
            .on
            .gate
            .is_some_and(|gate| !self.opened.contains(&gate))
        {
            return Err(format!("call {call} started before its promise resolved"));
        }
        let (on, given) = (known.on.clone(), known.given.clone());
        let got = match known.how {
            How::Make | How::Later | How::Hang => Some(View::bare(call)),
            How::Echo => given,
            How::Kept => self.kept.get(&on.object).cloned(),
            How::Keep if known.method == Method::Act => {
                self.kept.extend(given.map(|given| (on.object, given)));
                None
            }
            How::Keep | How::Name | How::Ask => None,
        };
        let known = self.calls.get_mut(&call);
        if let Some(known) = known {
            known.started = true;
            known.got = got.map(|view| view.returned_by(&on));
        }
        Ok(())
    }

    /// A call has come back to its caller: with what it should?
    fn ended(&mut self, call: u32, result: Result<Answer, Error>) -> Result<(), String> {
        let mut known = self.calls.remove(&call).unwrap();
        let verdict = self.walls.verdict(&known.on, known.method);
        let nested = match (known.how, &known.given) {
            (How::Ask, Some(given)) => self.walls.verdict(given, Method::Act),
            _ => Verdict::Open,
        };
        known.over = true;
        match result {
            Ok(answer) => {
                // With a promise before the wall, results may have come through before it shut.
                let through = known.on.gate.is_some() && self.has_ended(call);
                if (verdict == Verdict::Shut && !through) || !known.started {
                    return Err(format!("call {call} returned through a wall"));
                }
                let text = match (known.how, &known.given) {
                    (How::Name, _) => known.on.object,
                    (How::Ask, Some(given)) => given.object,
                    _ => 0,
                };
                if answer.text != text {
                    return Err(format!("call {call} said {}, not {text}", answer.text));
                }
                if let Some(client) = answer.got {
                    let view = known.got.clone().ok_or("something came of nothing")?;
                    self.held.push((client, view));
                }
            }
            Err(error) => {
                let (revoked, refused) = (
                    error.extra.contains("staleEpoch: "),
                    error.extra == "refused",
                );
                // What `capnp-rpc` says of promised results, now and then, without any membrane.
                let canceled = error.extra.contains("PipelineInnerSender was canceled");
                if canceled {
                    return Ok(());
                }
                if !revoked && !refused {
                    return Err(format!("call {call} failed: {error}"));
                }
                if verdict == Verdict::Open
                    && nested == Verdict::Open
                    && !self.source_is_shut(&known)
                {
                    return Err(format!("call {call} failed without a wall: {error}"));
                }
                self.tally.cut += u64::from(revoked && known.started);
            }
        }
        self.calls.insert(call, known);
        self.look()
    }

    fn has_ended(&self, call: u32) -> bool {
        self.world.events.borrow().contains(&Event::Ended(call))
    }

    /// Whether the call that was to make the object of a call has failed, or may have.
    fn source_is_shut(&self, known: &Known) -> bool {
        let views = [Some(&known.on), known.given.as_ref()];
        views.into_iter().flatten().any(|view| {
            let made = self.world.created.borrow().contains(&view.object);
            !made && view.object < FIRST
        })
    }

    /// What is held is what the model says: wrapped by the nearest wall, one capability for one view.
    fn check_sight(&self, client: &probe::Client, view: &View) -> Result<(), String> {
        if view.gate.is_some() || view.paths.len() > 1 {
            return Ok(());
        }
        if self.walls.hold(view) != Verdict::Open || view.object < FIRST {
            return Ok(());
        }
        let identity = |client: &probe::Client| {
            let hook = client.as_client_hook();
            (hook.get_brand(), hook.get_ptr())
        };
        for (other, seen) in &self.held {
            if seen.gate.is_some() || seen.paths.len() > 1 || seen.object < FIRST {
                continue;
            }
            if self.walls.hold(seen) == Verdict::Open
                && (seen == view) != (identity(other) == identity(client))
            {
                return Err(format!(
                    "one view, two capabilities, or the reverse: {view:?}, {seen:?}"
                ));
            }
        }
        Ok(())
    }

    fn revoke(&mut self, membrane: usize) -> Result<(), String> {
        self.look()?;
        let first = self.events;
        self.walls.revoked[membrane] = true;
        let reason = format!("staleEpoch: membrane {membrane}");
        self.membranes[membrane].revoke(Error::disconnected(reason));
        let events = self.world.events.borrow()[first..].to_vec();
        for known in self
            .tasks
            .iter()
            .map(|task| (task.call, &self.calls[&task.call]))
        {
            let (call, known) = known;
            let hangs = known.started && known.how == How::Hang && known.method == Method::Act;
            let ended = |call| {
                let all = self.world.events.borrow();
                all.contains(&Event::Dropped(call)) || all.contains(&Event::Ended(call))
            };
            if hangs && self.walls.hold(&known.on) == Verdict::Shut && !ended(call) {
                return Err(format!("the body of call {call} outlived its wall"));
            }
        }
        if let Some(event) = events
            .iter()
            .find(|event| matches!(event, Event::Started(_)))
        {
            // Revocation may let other calls go on, but none through this membrane.
            let Event::Started(call) = event else {
                return Ok(());
            };
            if self
                .walls
                .verdict(&self.calls[call].on, self.calls[call].method)
                == Verdict::Shut
            {
                return Err(format!("revocation started call {call}"));
            }
        }
        let left = &self.membranes[membrane];
        if (left.live_references(), left.live_calls()) != (0, 0) {
            return Err("a revoked membrane holds something".into());
        }
        Ok(())
    }

    /// Ends everything: all walls go up, and all that is held behind them is let go of.
    fn end(mut self) -> Result<Tally, String> {
        self.settle()?;
        for membrane in 0..MEMBRANES {
            self.revoke(membrane)?;
        }
        self.settle()?;
        // Every way that leads through a wall fails.
        for (client, view) in self.held.clone() {
            let call = self.number();
            let sent = act(&client, call, How::Name, None);
            self.know(call, view, Method::Act, How::Name, None);
            self.spawn(call, async move {
                let text = sent.promise.await?.get()?.get_text();
                Ok(Answer { text, got: None })
            });
        }
        for gate in self.world.closed() {
            self.world.open(gate);
            self.opened.insert(gate);
        }
        self.settle()?;
        self.tasks.clear();
        self.held.truncate(ROOTS as usize);
        self.settle()?;
        Ok(self.tally)
    }
}
