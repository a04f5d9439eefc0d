//! One of each interface that the host serves.

use runtime::capnp::any_pointer;
use runtime::capnp::traits::HasTypeId as _;
use runtime::stem_capnp::membrane;
use runtime::system_capnp::{byte_stream, executor, host, process, program};

use super::{Cap, Wire};

/// A capability of the host's and what its schema says of it.
#[derive(Clone, Copy)]
pub struct Held {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub cap: Cap,
    /// Its interface's id.
    pub interface: u64,
    /// How many methods the interface has.
    pub methods: u16,
}

/// What a guest holds of the host's.
pub struct Holdings {
    /// The bootstrap.
    pub membrane: Cap,
    /// The grant `host`.
    pub host: Cap,
    /// The grant `executor`.
    pub executor: Cap,
    /// The grants of other names.
    pub grants: Vec<Cap>,
}

/// `Membrane.graft`.
pub const GRAFT: (u64, u16) = (membrane::Client::TYPE_ID, 0);
/// `Membrane.watch`, which never returns.
pub const WATCH: (u64, u16) = (membrane::Client::TYPE_ID, 1);
/// `Host.id`.
pub const ID: (u64, u16) = (host::Client::TYPE_ID, 0);
/// `Host.executor`.
pub const EXECUTOR: (u64, u16) = (host::Client::TYPE_ID, 4);
/// `Executor.echo`.
pub const ECHO: (u64, u16) = (executor::Client::TYPE_ID, 1);
/// `Executor.load`.
pub const LOAD: (u64, u16) = (executor::Client::TYPE_ID, 2);
/// `Program.spawn`.
pub const SPAWN: (u64, u16) = (program::Client::TYPE_ID, 2);
/// `Process.stdin`.
pub const STDIN: (u64, u16) = (process::Client::TYPE_ID, 0);
/// `Process.stdout`.
pub const STDOUT: (u64, u16) = (process::Client::TYPE_ID, 1);
/// `Process.wait`.
pub const WAIT: (u64, u16) = (process::Client::TYPE_ID, 3);
/// `Process.kill`.
pub const KILL: (u64, u16) = (process::Client::TYPE_ID, 5);
/// `Process.bootstrap`.
pub const BOOTSTRAP: (u64, u16) = (process::Client::TYPE_ID, 6);
/// `ByteStream.read`.
pub const READ: (u64, u16) = (byte_stream::Client::TYPE_ID, 0);
/// `ByteStream.write`.
pub const WRITE: (u64, u16) = (byte_stream::Client::TYPE_ID, 1);
/// `ByteStream.close`.
pub const CLOSE: (u64, u16) = (byte_stream::Client::TYPE_ID, 2);
/// `ByteStream.push`.
pub const PUSH: (u64, u16) = (byte_stream::Client::TYPE_ID, 3);
/// `ByteStream.pump`.
pub const PUMP: (u64, u16) = (byte_stream::Client::TYPE_ID, 4);

impl Holdings {
    /// Takes the session.
    pub fn take(wire: &mut Wire) -> Self {
        let bootstrap = wire.bootstrap();
        let membrane = wire.wait_for_cap(bootstrap, 0);
        let graft = wire.call(membrane, GRAFT, &[], |_| {});
        let host = wire.wait_for_cap(graft, 0);
        let executor = wire.wait_for_cap(graft, 1);
        let grants = match wire.wait_for(graft) {
            Some(super::Outcome::Results(caps)) => {
                caps[2..].iter().map(|id| Cap::Host(*id)).collect()
            }
            _ => Vec::new(),
        };
        Self {
            membrane,
            host,
            executor,
            grants,
        }
    }

    /// Takes the session of a cell that was granted nothing by the usual names, and of that the first.
    pub fn first_grant(wire: &mut Wire) -> Cap {
        let bootstrap = wire.bootstrap();
        let membrane = wire.wait_for_cap(bootstrap, 0);
        let graft = wire.call(membrane, GRAFT, &[], |_| {});
        wire.wait_for_cap(graft, 0)
    }

    /// Loads the program at a path. Does not wait.
    pub fn load(&self, wire: &mut Wire, path: &str) -> u32 {
        wire.call(self.executor, LOAD, &[], |params| {
            let params: executor::load_params::Builder<'_> = params.init_as();
            params.init_source().set_path(path);
        })
    }

    /// Runs the program at a path, with these arguments and grants.
    pub fn spawn(&self, wire: &mut Wire, path: &str, args: &[&str], grants: &[Cap]) -> Cap {
        let load = self.load(wire, path);
        let program = wire.wait_for_cap(load, 0);
        let spawn = spawn(wire, program, args, grants);
        wire.wait_for_cap(spawn, 0)
    }

    /// Has the host answer a call. Returns whether it did.
    pub fn is_answered(&self, wire: &mut Wire) -> bool {
        let id = wire.call(self.host, ID, &[], |_| {});
        let answered = matches!(wire.wait_for(id), Some(super::Outcome::Results(_)));
        wire.finish(id);
        answered
    }

    /// One of each interface, those of a child among them.
    pub fn each(&self, wire: &mut Wire) -> Vec<Held> {
        let load = self.load(wire, "/bin/idle.wasm");
        let program = wire.wait_for_cap(load, 0);
        let spawned = spawn(wire, program, &["idle"], &[]);
        let process = wire.wait_for_cap(spawned, 0);
        let mut held = vec![
            Held {
                name: "membrane",
                cap: self.membrane,
                interface: membrane::Client::TYPE_ID,
                methods: 3,
            },
            Held {
                name: "host",
                cap: self.host,
                interface: host::Client::TYPE_ID,
                methods: 9,
            },
            Held {
                name: "executor",
                cap: self.executor,
                interface: executor::Client::TYPE_ID,
                methods: 3,
            },
            Held {
                name: "program",
                cap: program,
                interface: program::Client::TYPE_ID,
                methods: 3,
            },
        ];
        for (name, stream) in [("stdin", STDIN), ("stdout", STDOUT)] {
            let question = wire.call(process, stream, &[], |_| {});
            held.push(Held {
                name,
                cap: wire.wait_for_cap(question, 0),
                interface: byte_stream::Client::TYPE_ID,
                methods: 5,
            });
        }
        // Last: among its methods is the one that ends it.
        held.push(Held {
            name: "process",
            cap: process,
            interface: process::Client::TYPE_ID,
            methods: 9,
        });
        held
    }
}

/// Runs a program with these arguments and grants. Does not wait.
pub fn spawn(wire: &mut Wire, program: Cap, args: &[&str], grants: &[Cap]) -> u32 {
    wire.call(program, SPAWN, grants, |params| {
        let mut params: program::spawn_params::Builder<'_> = params.init_as();
        let mut list = params.reborrow().init_args(args.len() as u32);
        for (index, arg) in (0..).zip(args) {
            list.set(index, arg);
        }
        let mut list = params.init_grants(grants.len() as u32);
        for index in 0..grants.len() as u32 {
            let mut grant = list.reborrow().get(index);
            grant.set_name(format!("grant-{index}"));
            set_cap(grant.init_cap());
        }
    })
}

/// Refers, in parameters, to the next capability of the table that was given with them.
pub fn set_cap(mut at: any_pointer::Builder<'_>) {
    at.set_as_capability(next().client.hook);
}

/// The parameters of [`PUMP`], which refer to the first capability of the table.
pub fn set_into(params: any_pointer::Builder<'_>) {
    let mut params: byte_stream::pump_params::Builder<'_> = params.init_as();
    params.set_into(next());
}

/// The parameters of [`READ`], of so many bytes at most.
pub fn set_max_bytes(bytes: u32) -> impl Fn(any_pointer::Builder<'_>) {
    move |params| {
        let mut params: byte_stream::read_params::Builder<'_> = params.init_as();
        params.set_max_bytes(bytes);
    }
}

/// The parameters of [`WRITE`] and [`PUSH`], of so many bytes.
pub fn set_data(bytes: usize) -> impl Fn(any_pointer::Builder<'_>) {
    move |params| {
        let params: byte_stream::write_params::Builder<'_> = params.init_as();
        params.init_data(bytes as u32).fill(b'x');
    }
}

/// A client that stands for the next capability of the table.
pub fn next() -> byte_stream::Client {
    struct Next;
    impl byte_stream::Server for Next {}
    runtime::capnp_rpc::new_client(Next)
}
