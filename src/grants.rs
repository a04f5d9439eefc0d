//! What a parent hands a cell, and how each of it is held to what was granted.
//!
//! A grant is a name and something to be had under it, perhaps with some of its methods only. It travels to the
//! cell's vat, and becomes a capability there, behind a membrane of its own whose policy knows whose it
//! is: so a refusal can say who asked, for what, why not, and what would allow it.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use capnp::Error;
use image::Image;
use membrane::policies::{AllowList, Audit, OneWay};
use membrane::{Call, Decision, Direction, Policy};
use schema::interfaces::{Interface, MethodId};

use crate::audit::Tally;
use crate::ipfs::{Ipfs, Scope};
use crate::vats::Export;

/// How the error starts of every call that a grant does not allow.
pub const NOT_GRANTED: &str = "notGranted";

/// Whoever holds grants, for those who read about it.
#[derive(Clone, Debug)]
pub struct Who {
    /// What it is.
    pub kind: Kind,
    /// Its number, which nobody else on this node has had.
    pub number: u64,
    /// A cell is called so by its parent: it is its first argument, any text at all. A client is called after the
    /// way it came.
    pub name: Arc<str>,
}

/// What can hold grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program that runs here.
    Cell,
    /// A program that is connected to the node.
    Client,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cell => "cell",
            Self::Client => "client",
        })
    }
}

/// How much of a cell's name is told, in characters: its parent chose it.
const MAX_NAME_CHARS: usize = 80;

impl Who {
    /// Whoever has this number, and is called so.
    pub fn new(kind: Kind, number: u64, name: &str) -> Self {
        let name: String = name.chars().take(MAX_NAME_CHARS).collect();
        Self {
            kind,
            number,
            name: name.into(),
        }
    }
}

/// The number and the name. A name that is more than a path is quoted, with whatever could end the quotes or the line
/// escaped: so that nothing that a parent calls its child reads as if the host had said it.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
        match self.name.chars().all(plain) {
            true => write!(f, "{} {} ({})", self.kind, self.number, self.name),
            false => write!(f, "{} {} ({:?})", self.kind, self.number, self.name),
        }
    }
}

/// What a parent hands a cell, in a form that can travel to the cell's vat.
#[derive(Default)]
pub struct Grants {
    named: Vec<Named>,
    by: GrantedBy,
    /// The cell's own image, for programs that it names by path.
    image: Option<Arc<Image>>,
}

/// One grant under its name.
pub struct Named {
    /// Under which the cell finds it.
    pub name: Arc<str>,
    /// What is to be had.
    pub grant: Grant,
    /// What is allowed of it; all, if this is not said.
    pub only: Option<Allowed>,
}

/// Some methods of a grant, and what is reached through them.
#[derive(Clone, Debug)]
pub struct Allowed {
    named: BTreeSet<MethodId>,
    all: BTreeSet<MethodId>,
    /// Whether something of any interface can be reached. What the contract has no name for is then not ours
    /// to refuse.
    foreign: bool,
}

impl Allowed {
    /// Allows these methods, and all methods of what they give.
    pub fn only(named: impl IntoIterator<Item = MethodId>) -> Self {
        let named: BTreeSet<MethodId> = named.into_iter().collect();
        let all = MethodId::closure(named.iter().copied());
        let foreign = all
            .iter()
            .any(|id| id.method().is_some_and(|method| method.gives_any));
        Self {
            named,
            all,
            foreign,
        }
    }

    /// The methods that were named.
    pub fn named(&self) -> &BTreeSet<MethodId> {
        &self.named
    }

    /// Whether this would be allowed if all methods were that the grant has.
    fn could_allow(&self, method: MethodId) -> bool {
        let interfaces: BTreeSet<u64> = self.named.iter().map(|id| id.interface).collect();
        let whole = interfaces.into_iter().filter_map(Interface::of_id);
        let whole = Self::only(whole.flat_map(|interface| interface.numbered().map(|(id, _)| id)));
        // Where nothing is left of a grant, what it is of is not known.
        whole.named.is_empty() || whole.allows(method)
    }

    fn allows(&self, method: MethodId) -> bool {
        self.all.contains(&method) || self.foreign && Interface::of_id(method.interface).is_none()
    }
}

/// What is to be had under a name.
pub enum Grant {
    /// This node in the network.
    Host(swarm::Handle),
    /// The ability to run programs on this node.
    Executor,
    /// This node's content.
    Ipfs(Arc<Ipfs>, Scope),
    /// A capability that lives on another vat, or on this one.
    Cap(Export),
}

/// Who decided what a cell may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrantedBy {
    /// The cell that spawned it.
    #[default]
    Parent,
    /// Whoever typed `ww run`.
    Operator,
}

impl Grants {
    /// Nothing yet, from this side.
    pub fn by(by: GrantedBy) -> Self {
        Self {
            by,
            ..Self::default()
        }
    }

    /// Adds a grant with all its methods. Of two by one name the later one counts.
    pub fn with(self, name: &str, grant: Grant) -> Self {
        self.with_only(name, grant, None)
    }

    /// Adds a grant of which only this is allowed.
    pub fn with_only(mut self, name: &str, grant: Grant, only: Option<Allowed>) -> Self {
        self.named.retain(|other| &*other.name != name);
        self.named.push(Named {
            name: name.into(),
            grant,
            only,
        });
        self
    }

    /// Says which image the cell runs in.
    pub fn image(mut self, image: Arc<Image>) -> Self {
        self.image = Some(image);
        self
    }

    /// The grants, whose decision they were, and the cell's image.
    pub fn into_parts(self) -> (Vec<Named>, GrantedBy, Option<Arc<Image>>) {
        (self.named, self.by, self.image)
    }
}

/// Holds one grant of one cell to what was granted.
pub struct GrantPolicy {
    /// The cell.
    pub who: Who,
    /// The name of the grant.
    pub name: Arc<str>,
    /// What is allowed of it; all, if this is not said.
    pub only: Option<Rc<Allowed>>,
    /// Who can allow more.
    pub by: GrantedBy,
    /// What counts uses and refusals.
    pub tally: Option<Rc<Tally>>,
}

impl Policy for GrantPolicy {
    fn check(&self, call: Call) -> Decision {
        // What the cell itself serves is its own to refuse.
        if call.direction == Direction::Outward {
            return Decision::Allow;
        }
        let method = method_of(call);
        let refusal = match &self.only {
            Some(only) if !only.allows(method) => Some(self.refusal(method, only)),
            _ => None,
        };
        if let Some(tally) = &self.tally {
            tally.count(&self.name, method, refusal.as_deref());
        }
        match refusal {
            Some(text) => Decision::Refuse(Error::failed(text)),
            None => Decision::Allow,
        }
    }
}

impl GrantPolicy {
    /// Who, what, why, and what would allow it.
    fn refusal(&self, method: MethodId, only: &Allowed) -> String {
        let Self { who, name, by, .. } = self;
        let lift = match by {
            GrantedBy::Operator if !only.could_allow(method) => {
                "nothing; no grant of this kind has such a method".to_owned()
            }
            GrantedBy::Operator => format!("`ww run --grant {}`", self.widened(method, only)),
            GrantedBy::Parent => format!("its parent, by granting `{name}` with {method}"),
        };
        format!(
            "{NOT_GRANTED}: {who} may not call {method} through its grant `{name}`, which allows {}. \
             What allows it: {lift}",
            listed(&only.named)
        )
    }

    /// The grant as the operator would have to write it.
    fn widened(&self, method: MethodId, only: &Allowed) -> String {
        let beside = only
            .named
            .iter()
            .find(|named| named.interface == method.interface);
        let names = only.named.iter().chain([&method]).map(|id| id.method());
        match names.collect::<Option<Vec<_>>>() {
            Some(methods) if beside.is_some() => {
                let names: Vec<&str> = methods.iter().map(|method| method.name).collect();
                format!("{}:{}", self.name, names.join(","))
            }
            _ => self.name.to_string(),
        }
    }
}

/// How many methods an error names.
const MAX_NAMED_METHODS: usize = 8;

/// The methods, for people.
pub fn listed(methods: &BTreeSet<MethodId>) -> String {
    if methods.is_empty() {
        return "nothing".into();
    }
    let mut text = methods
        .iter()
        .take(MAX_NAMED_METHODS)
        .map(MethodId::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more) = methods
        .len()
        .checked_sub(MAX_NAMED_METHODS)
        .filter(|more| *more > 0)
    {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// How the error starts of every call on a capability that was narrowed to other methods.
pub const ATTENUATED: &str = "attenuated";

/// Under which name the audit counts calls on narrowed capabilities. No grant may have it.
pub const NARROWED: &str = "(attenuated)";

/// Holds a capability to the methods that a cell has narrowed it to. `place` is dropped when nothing is held
/// through it any more.
pub fn attenuation(
    by: Who,
    only: BTreeSet<MethodId>,
    place: impl Any,
    tally: Option<Rc<Tally>>,
) -> Rc<dyn Policy> {
    let methods: Vec<(u64, u16)> = only.iter().map(|id| (id.interface, id.ordinal)).collect();
    let list = AllowList::new(methods).refuse_with(move |call| {
        let _lives_as_long = &place;
        let method = method_of(call);
        Error::failed(format!(
            "{ATTENUATED}: {method} may not be called on this capability, which {by} has narrowed to {}. \
             What allows it: that cell, by naming {method} to Membrane.attenuate",
            listed(&only)
        ))
    });
    match tally {
        None => Rc::new(list),
        Some(tally) => {
            let name: Arc<str> = NARROWED.into();
            let sink = move |call: Call, decision: &Decision| {
                tally.count(&name, method_of(call), refusal_of(decision));
            };
            let audited = Audit::new(Rc::new(list), Rc::new(sink));
            Rc::new(OneWay::new(Direction::Inward, Rc::new(audited)))
        }
    }
}

fn method_of(call: Call) -> MethodId {
    MethodId {
        interface: call.interface_id,
        ordinal: call.method_id,
    }
}

fn refusal_of(decision: &Decision) -> Option<&str> {
    match decision {
        Decision::Refuse(error) => Some(&error.extra),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_a_path_is_told_as_it_is() {
        assert_eq!(
            Who::new(Kind::Cell, 1, "/boot/main.wasm").to_string(),
            "cell 1 (/boot/main.wasm)"
        );
        assert_eq!(Who::new(Kind::Cell, 7, "").to_string(), "cell 7 ()");
    }

    #[test]
    fn a_name_cannot_be_taken_for_what_is_said_about_it() {
        for (name, told) in [
            ("x) may call", r#"cell 1 ("x) may call")"#),
            (r#"x") may call"#, r#"cell 1 ("x\") may call")"#),
            (r#"x\"#, r#"cell 1 ("x\\")"#),
            ("x\nnotGranted: ", r#"cell 1 ("x\nnotGranted: ")"#),
            ("x\u{1b}[2J", r#"cell 1 ("x\u{1b}[2J")"#),
            // What turns the direction of the text that follows.
            ("x\u{202e}y", r#"cell 1 ("x\u{202e}y")"#),
            ("x\u{2028}y", r#"cell 1 ("x\u{2028}y")"#),
        ] {
            assert_eq!(Who::new(Kind::Cell, 1, name).to_string(), told);
        }
    }

    #[test]
    fn what_no_grant_could_allow_is_not_promised() {
        let host = Interface::all().iter().find(|each| each.name == "Host");
        let policy = |named: &[&str]| GrantPolicy {
            who: Who::new(Kind::Cell, 1, "x"),
            name: "host".into(),
            only: Some(Rc::new(Allowed::only(
                named.iter().filter_map(|name| host?.method(name)),
            ))),
            by: GrantedBy::Operator,
            tally: None,
        };
        let refusal = |named: &[&str], interface, method_id| match policy(named).check(Call {
            interface_id: interface,
            method_id,
            direction: Direction::Inward,
        }) {
            Decision::Refuse(error) => error.extra,
            decision => format!("{decision:?}"),
        };
        let host = host.map_or(0, |host| host.id);
        assert!(refusal(&["id"], host, 1).ends_with("`ww run --grant host:id,addrs`"));
        assert!(refusal(&["id"], host, 99).ends_with("no grant of this kind has such a method"));
        // What a program serves under a protocol's name may be of any interface.
        assert!(refusal(&["id"], 1, 0).ends_with("`ww run --grant host`"));
        assert!(refusal(&[], host, 1).ends_with("`ww run --grant host`"));
    }

    #[test]
    fn a_long_name_is_told_in_part() {
        let name = "n".repeat(100_000);
        let told = Who::new(Kind::Cell, 1, &name).to_string();
        assert_eq!(told.len(), "cell 1 ()".len() + MAX_NAME_CHARS);
    }
}
