//! `--grant` and `--deny`: what the operator hands the first cell.
//!
//! A program that is run gets little by default: it may look at the node, and run programs that hold nothing it
//! does not hand them. Reaching out to other peers is for `--grant` to allow. What is denied stays denied,
//! whatever is granted beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, bail};
use schema::interfaces::{Interface, MethodId};
use schema::ipfs_capnp::client as ipfs;
use schema::system_capnp::{executor, host};
use ww::grants::{Allowed, Grant, GrantedBy, Grants};
use ww::ipfs::{Ipfs, Scope};

/// What a program may do that was granted nothing by name, as one would write it after `--grant`.
pub const DEFAULTS: [&str; 2] = ["host:id,addrs,peers,executor", "executor"];

/// What can be granted.
#[derive(Clone, Debug)]
enum Spec {
    Host,
    Executor,
    Ipfs(Scope),
}

impl Spec {
    const NAMES: [&'static str; 3] = ["host", "executor", "ipfs"];

    fn interface(&self) -> anyhow::Result<&'static Interface> {
        let id = match self {
            Self::Host => <host::Client as capnp::traits::HasTypeId>::TYPE_ID,
            Self::Executor => <executor::Client as capnp::traits::HasTypeId>::TYPE_ID,
            Self::Ipfs(_) => <ipfs::Client as capnp::traits::HasTypeId>::TYPE_ID,
        };
        Interface::of_id(id).context("the table of interfaces lacks one that is granted")
    }
}

/// `host`, `executor`, or `ipfs[,read-only][,under=PATH][,pins=NAMESPACE]`.
impl FromStr for Spec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, options) = match text.split_once(',') {
            Some((name, options)) => (name, Some(options)),
            None => (text, None),
        };
        match (name, options) {
            ("host", None) => Ok(Self::Host),
            ("executor", None) => Ok(Self::Executor),
            ("ipfs", options) => Ok(Self::Ipfs(scope(options.unwrap_or_default())?)),
            ("host" | "executor", Some(options)) => {
                bail!("{name} has no options such as `{options}`; METHODS narrow it")
            }
            _ => bail!(
                "there is no `{name}` to be granted; there is {}",
                Self::NAMES.join(", ")
            ),
        }
    }
}

fn scope(options: &str) -> anyhow::Result<Scope> {
    let mut scope = Scope::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        scope = match option.split_once('=') {
            None if option == "read-only" => scope.attenuate(true, "", "")?,
            Some(("under", path)) if !path.is_empty() => scope.attenuate(false, path, "")?,
            Some(("pins", name)) if !name.is_empty() => scope.attenuate(false, "", name)?,
            _ => bail!(
                "ipfs has no option `{option}`; there are read-only, under=PATH, pins=NAMESPACE"
            ),
        };
    }
    Ok(scope)
}

/// `NAME[:METHODS][=SPEC]`.
#[derive(Clone, Debug)]
pub struct GrantArg {
    name: String,
    methods: Option<BTreeSet<MethodId>>,
    spec: Spec,
}

impl FromStr for GrantArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (named, spec) = match text.split_once('=') {
            Some((named, spec)) => (named, Some(spec)),
            None => (text, None),
        };
        let (name, methods) = name_and_methods(named)?;
        let spec: Spec = spec.unwrap_or(name).parse()?;
        let methods = methods.map(|names| find(&spec, &names)).transpose()?;
        Ok(Self {
            name: name.to_owned(),
            methods,
            spec,
        })
    }
}

/// `NAME[:METHODS]`.
#[derive(Clone, Debug)]
pub struct DenyArg {
    name: String,
    methods: Option<Vec<String>>,
}

impl FromStr for DenyArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, methods) = name_and_methods(text)?;
        Ok(Self {
            name: name.to_owned(),
            methods: methods.map(|names| names.into_iter().map(str::to_owned).collect()),
        })
    }
}

fn name_and_methods(text: &str) -> anyhow::Result<(&str, Option<Vec<&str>>)> {
    let (name, methods) = match text.split_once(':') {
        Some((name, methods)) => (name, Some(methods.split(',').collect())),
        None => (text, None),
    };
    if name.is_empty() {
        bail!("a grant needs a name: NAME[:METHODS]");
    }
    Ok((name, methods))
}

/// The methods of these names.
fn find(spec: &Spec, names: &[impl AsRef<str>]) -> anyhow::Result<BTreeSet<MethodId>> {
    let interface = spec.interface()?;
    let find = |name: &str| {
        interface.method(name).with_context(|| {
            let methods: Vec<_> = interface.methods.iter().map(|method| method.name).collect();
            format!(
                "{} has no method `{name}`; it has {}",
                interface.name,
                methods.join(", ")
            )
        })
    };
    names.iter().map(|name| find(name.as_ref())).collect()
}

/// What the first cell is handed, and each client of the socket.
pub struct Decided(BTreeMap<String, (Spec, Option<BTreeSet<MethodId>>)>);

impl Decided {
    /// The grants of one of them.
    pub fn hand(&self, swarm: &swarm::Handle, ipfs: &Arc<Ipfs>) -> Grants {
        let mut grants = Grants::by(GrantedBy::Operator);
        for (name, (spec, methods)) in &self.0 {
            let grant = match spec {
                Spec::Host => Grant::Host(swarm.clone()),
                Spec::Executor => Grant::Executor,
                Spec::Ipfs(scope) => Grant::Ipfs(ipfs.clone(), scope.clone()),
            };
            grants = grants.with_only(name, grant, methods.clone().map(Allowed::only));
        }
        grants
    }
}

/// Decides what is granted: the defaults, what is granted over them, without what is denied.
///
/// # Errors
/// When something is denied that is not granted, most likely a slip of the pen.
pub fn decide(granted: &[GrantArg], denied: &[DenyArg]) -> anyhow::Result<Decided> {
    let defaults: Vec<GrantArg> = DEFAULTS
        .iter()
        .map(|text| text.parse())
        .collect::<anyhow::Result<_>>()?;
    let mut decided: BTreeMap<_, _> = defaults
        .iter()
        .chain(granted)
        .map(|arg| (arg.name.clone(), (arg.spec.clone(), arg.methods.clone())))
        .collect();
    for deny in denied {
        let names: Vec<String> = decided.keys().cloned().collect();
        let Some((spec, methods)) = decided.get_mut(&deny.name) else {
            bail!(
                "--deny {}: nothing is granted under this name; what is: {}",
                deny.name,
                names.join(", ")
            );
        };
        match &deny.methods {
            None => drop(decided.remove(&deny.name)),
            Some(denied) => {
                let denied = find(spec, denied)?;
                let interface = spec.interface()?;
                let left = methods
                    .take()
                    .unwrap_or_else(|| interface.numbered().map(|(id, _)| id).collect());
                *methods = Some(left.difference(&denied).copied().collect());
            }
        }
    }
    Ok(Decided(decided))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn decided(granted: &[&str], denied: &[&str]) -> anyhow::Result<Vec<String>> {
        let granted: Vec<GrantArg> = granted.iter().map(|arg| arg.parse().unwrap()).collect();
        let denied: Vec<DenyArg> = denied.iter().map(|arg| arg.parse().unwrap()).collect();
        let decided = decide(&granted, &denied)?;
        let told = decided.0.iter().map(|(name, (_, methods))| match methods {
            None => format!("{name}: all"),
            Some(methods) => {
                let methods: Vec<String> = methods.iter().map(MethodId::to_string).collect();
                format!("{name}: {}", methods.join(" "))
            }
        });
        Ok(told.collect())
    }

    #[test]
    fn by_default_a_program_may_look_at_the_node_and_run_programs() {
        assert_eq!(
            decided(&[], &[]).unwrap(),
            [
                "executor: all",
                "host: Host.id Host.addrs Host.peers Host.executor"
            ]
        );
    }

    #[test]
    fn a_grant_takes_the_place_of_the_default_of_its_name() {
        assert_eq!(decided(&["host"], &[]).unwrap()[1], "host: all");
        assert_eq!(
            decided(&["host:connect"], &[]).unwrap()[1],
            "host: Host.connect"
        );
        let told = decided(&["net:connect=host"], &[]).unwrap();
        assert_eq!(told[2], "net: Host.connect");
    }

    #[test]
    fn what_is_denied_stays_denied() {
        assert!(decided(&[], &["host", "executor"]).unwrap().is_empty());
        let told = decided(&["executor"], &["executor:runBytes"]).unwrap();
        assert_eq!(told[0], "executor: Executor.echo Executor.load");
        assert_eq!(decided(&["host"], &["host"]).unwrap(), ["executor: all"]);
    }

    #[test]
    fn a_slip_of_the_pen_is_told() {
        for (granted, told) in [
            (
                "hots",
                "there is no `hots` to be granted; there is host, executor, ipfs",
            ),
            (
                "host:connekt",
                "Host has no method `connekt`; it has id, addrs, peers,",
            ),
            ("=host", "a grant needs a name"),
            (
                "host=host,read-only",
                "host has no options such as `read-only`",
            ),
            (
                "ipfs=ipfs,read-write",
                "ipfs has no option `read-write`; there are",
            ),
            ("ipfs=ipfs,under=x", "subtree: \"x\" is not an IPFS path"),
            ("ipfs=ipfs,pins=a/b", "pins: a namespace has"),
        ] {
            let error = granted.parse::<GrantArg>().unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
        let error = decided(&[], &["hots"]).unwrap_err().to_string();
        assert!(error.ends_with("what is: executor, host"), "{error}");
    }
}
