//! One session: some clients, a node, and a time in which anything may happen. Then all must be as it was.

use std::rc::Rc;
use std::time::Duration;

use capnp::capability::Client;
use cell::{Allotment, Used};
use schema::interfaces::MethodId;
use schema::stem_capnp::membrane as face;
use tokio::task::JoinSet;
use tokio::time::Instant;
use ww::bounds::{Bounded, Bounds};
use ww::grants::{Allowed, Grant, Grants, Kind, Who};
use ww::ipfs::InUse;
use ww::programs::Programs;
use ww::rpc::membrane::Bootstrap;
use ww::session::{Endowment, Possessions};
use ww::vats::{Export, Scope};

use crate::choices::Choices;
use crate::client::Hostile;
use crate::report::Report;
use crate::wire::Wire;
use crate::world::World;

/// Turns that a session takes at most.
const TURNS: usize = 400;

/// How long a client waits for a program to begin with.
const START: Duration = Duration::from_secs(2);

/// How long the node may take to be as it was. It takes some milliseconds; a cell that spins is stopped at its
/// next tick.
const PATIENCE: Duration = Duration::from_secs(30);

/// One client, and what the node has for it.
struct Visit {
    client: Rc<Hostile>,
    bounded: Bounded,
    bootstrap: Rc<Bootstrap>,
    scope: Scope,
    /// What it was granted of others, and what ends when they do.
    others: Scope,
    wire: Wire,
    ended: bool,
}

/// Runs one.
///
/// # Errors
/// What is not as it was.
pub async fn run(
    world: &Rc<World>,
    report: &Rc<Report>,
    seed: u64,
    bytes: &[u8],
) -> Result<(), String> {
    world.content.renew(world.ipfs.repo());
    let mut choices = Choices::new(bytes);
    let gently = choices.once_in(2);
    let waits = choices.once_in(2);
    let mut visits = Vec::new();
    for number in 0..=choices.below(3) as u64 {
        let seed = seed.wrapping_mul(31).wrapping_add(number);
        let visit = Visit::begin(world, report, seed, &mut choices);
        if !choices.once_in(4) {
            let path = choices.pick(&world.paths).unwrap();
            // It may hold nothing that it could begin with.
            let _ = tokio::time::timeout(START, visit.client.settle_in(path)).await;
        }
        visits.push(visit);
    }
    let mut epochs = JoinSet::new();
    let mut turns = 0;
    while !choices.is_empty() && turns < TURNS {
        turns += 1;
        let at = choices.below(visits.len());
        let visit = &mut visits[at];
        match choices.below(40) {
            0..=23 => visit.client.call(&mut choices),
            24 | 25 => visit.client.graft(&mut choices),
            26 | 27 => visit.client.give_up(&mut choices),
            28 | 29 => visit.client.let_go(&mut choices),
            30..=34 => tokio::task::yield_now().await,
            35..=37 => {
                let millis = *choices.pick(&[1, 1, 3, 10, 30]).unwrap();
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
            38 if choices.once_in(3) => {
                let world = world.clone();
                let report = report.clone();
                let waits = choices.once_in(2);
                epochs.spawn_local(async move { advance(&world, &report, waits).await });
            }
            39 if choices.once_in(6) => visit.end().await,
            _ => {}
        }
    }
    // An epoch ends however its clients hold on to it.
    while waits && epochs.join_next().await.is_some() {}
    for visit in &visits {
        if gently && !visit.ended {
            visit.go_gently(report).await;
        }
    }
    let mut budgets = Vec::new();
    for visit in visits {
        budgets.push(visit.finish(report).await);
    }
    while epochs.join_next().await.is_some() {}
    settled(world, &budgets).await?;
    if world.cells.epochs().term().is_none() {
        return Err("no epoch is in force".into());
    }
    echo(world)
        .await
        .map_err(|error| format!("an honest client: {error}"))?;
    settled(world, &[]).await?;
    match report.take_wrong() {
        wrong if wrong.is_empty() => Ok(()),
        wrong => Err(wrong.join("; ")),
    }
}

/// What of the content it may name and change: mostly all.
fn scope(world: &World, choices: &mut Choices<'_>) -> ww::ipfs::Scope {
    let all = ww::ipfs::Scope::default();
    let narrowed = match choices.below(16) {
        0 => all.attenuate(true, "", ""),
        1 => all.attenuate(false, &world.content.subtree, ""),
        2 | 3 => all.attenuate(false, "", "others"),
        _ => return all,
    };
    narrowed.unwrap()
}

/// Moves on to the next epoch, as a node does that follows a chain.
async fn advance(world: &World, report: &Report, waits: bool) {
    let epochs = world.cells.epochs();
    let Some(sequence) = epochs.term().map(|term| term.epoch.sequence) else {
        return;
    };
    if waits && let Err(error) = epochs.revoke().await {
        report.wrong(error.to_string());
    }
    epochs.publish(atom::Epoch {
        sequence: sequence + 1,
        ..atom::Epoch::default()
    });
}

/// Waits until nothing is left of what clients had.
async fn settled(world: &World, budgets: &[Bounded]) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let live = world.engine.live_cells();
        let left = world.left_over();
        let used: Vec<Used> = budgets
            .iter()
            .map(|bounded| bounded.budget.used())
            .filter(|used| {
                let Used {
                    memory_bytes,
                    cells,
                    streams,
                    tmp_bytes,
                    var_bytes,
                    files,
                    // What was added stays where it is.
                    content_bytes: _,
                    peak_memory_bytes: _,
                    fuel_left: _,
                } = used;
                [memory_bytes, cells, streams, tmp_bytes, var_bytes, files] != [&0; 6]
            })
            .collect();
        let in_use = world.ipfs.in_use();
        if live == 0 && left.is_empty() && used.is_empty() && in_use == InUse::default() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "left over: {live} cells, {left:?}, {used:?}, {in_use:?}"
            ));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What every other client does, whatever this one did: the node still works.
async fn echo(world: &Rc<World>) -> capnp::Result<()> {
    let report = Rc::new(Report::new(&world.methods));
    let grants = Grants::default().with("executor", Grant::Executor);
    let bounded = Bounds::default().root();
    let visit = Visit::with(world, &report, 0, bounded, grants, Scope::default());
    let membrane: face::Client = visit.wire.client.bootstrap();
    let honest = async {
        let session = membrane.graft_request().send().promise.await?;
        let executor = session.get()?.get_session()?.get_executor()?;
        let mut request = executor.echo_request();
        request.get().set_message("still here");
        let response = request.send().promise.await?;
        match response.get()?.get_response()?.to_str()? {
            "still here" => Ok(()),
            other => Err(capnp::Error::failed(format!("was told {other:?}"))),
        }
    };
    let told = tokio::time::timeout(PATIENCE, honest).await;
    drop(membrane);
    visit.finish(&report).await;
    told.map_err(|_| capnp::Error::failed("has waited too long".into()))?
}

impl Visit {
    fn begin(world: &Rc<World>, report: &Rc<Report>, seed: u64, choices: &mut Choices<'_>) -> Self {
        let mut allotment = Allotment {
            memory_bytes: Some(256 << 20),
            ..Allotment::default()
        };
        if choices.once_in(3) {
            allotment.cells = Some(choices.below(4) as u64);
            allotment.streams = Some(choices.below(20) as u64);
            allotment.content_bytes = Some(choices.below(20) as u64 * 10_000);
            allotment.depth = Some(choices.below(3) as u32);
        }
        if choices.once_in(4) {
            allotment.fuel = Some(1_000_000_000);
        }
        let narrow = choices.once_in(4);
        let bounds = Bounds {
            allotment,
            message_bytes: narrow.then_some(65_536),
            calls: narrow.then_some(16),
        };
        let others = Scope::default();
        let mut grants = Grants::default();
        if !choices.once_in(12) {
            grants = grants.programs(Programs::new(world.image.clone(), None));
        }
        for name in ["host", "executor", "ipfs", "other", "lent"] {
            let grant = match (name, choices.once_in(8)) {
                (_, true) => continue,
                ("host", _) => Grant::Host(world.host.clone()),
                ("ipfs", _) => Grant::Ipfs(world.ipfs.clone(), scope(world, choices)),
                ("lent", _) => {
                    // A stream of the node's own, that somebody else serves.
                    let (reader, writer) = cell::stdio::pipe(4096);
                    let end = match choices.once_in(2) {
                        true => ww::rpc::byte_stream::End::Reading(reader),
                        false => ww::rpc::byte_stream::End::Writing(writer),
                    };
                    let stream = ww::rpc::byte_stream::ByteStream::new(
                        end,
                        cell::Budget::default().open(cell::Resource::Streams),
                    );
                    let stream: schema::system_capnp::byte_stream::Client = vat::new_client(stream);
                    Grant::Cap(Export::new(&others.spawner(), stream.client))
                }
                _ => Grant::Executor,
            };
            let only = choices.once_in(8).then(|| {
                let some = (0..choices.below(6)).filter_map(|_| choices.pick(&world.methods));
                Allowed::only(some.map(|method| method.id).collect::<Vec<MethodId>>())
            });
            grants = grants.with_only(name, grant, only);
        }
        Self::with(world, report, seed, bounds.root(), grants, others)
    }

    fn with(
        world: &Rc<World>,
        report: &Rc<Report>,
        seed: u64,
        bounded: Bounded,
        grants: Grants,
        others: Scope,
    ) -> Self {
        let possessions = Possessions {
            who: Who::new(Kind::Cell, seed, "a hostile client"),
            bounded: bounded.clone(),
            grants,
            scratch: Some(world.scratch()),
        };
        let scope = Scope::default();
        let spawner = scope.spawner();
        let endowment = Endowment::new(possessions, world.cells.clone(), &spawner);
        let bootstrap = Bootstrap::new(endowment, world.cells.epochs().clone(), spawner);
        let client: face::Client = vat::new_client_from_rc(bootstrap.clone());
        // As for a cell.
        let limits = vat::Limits {
            message_bytes: bounded.message_bytes,
            answers: bounded.calls as usize,
            outgoing_bytes: bounded.message_bytes,
            ..vat::Limits::default()
        };
        let wire = Wire::new(client.client, limits);
        let first: Client = wire.client.bootstrap();
        Self {
            client: Hostile::new(world.clone(), report.clone(), seed, first),
            bounded,
            bootstrap,
            scope,
            others,
            wire,
            ended: false,
        }
    }

    /// Everything is taken back, while the client goes on.
    async fn end(&mut self) {
        self.ended = true;
        self.bootstrap.end("it was asked to stop").await;
    }

    /// The client lets go of all that it has, and stays: nothing that it asked for goes on. What has been pushed
    /// into a promise of its own may wait there for ever, and keep what that promise keeps: that is not looked at
    /// before the connection has ended.
    async fn go_gently(&self, report: &Report) {
        self.client.leave().await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (host, client) = (self.wire.host.usage(), self.wire.client.usage());
            if host.answers == 0 && client.questions == 0 {
                return;
            }
            if Instant::now() > deadline {
                return report.wrong(format!(
                    "calls that were dropped go on: {host:?} {client:?}"
                ));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The client goes, and what the node has for it. Returns what it could use.
    async fn finish(self, report: &Report) -> Bounded {
        let Self {
            client,
            bounded,
            bootstrap,
            scope,
            others,
            wire,
            ended: _,
        } = self;
        let (host, own) = wire.cut().await;
        bootstrap.end("the client has gone").await;
        client.leave().await;
        scope.shutdown().await;
        others.shutdown().await;
        for usage in [host.usage(), own.usage()] {
            if usage != vat::Usage::default() {
                report.wrong(format!("a connection that has ended holds {usage:?}"));
            }
        }
        bounded
    }
}
