//! The interfaces and their methods by name: for whoever has to tell a person which method a call is, or
//! to find the method that a person has named.
//!
//! The table is generated from the schemas; a method's ordinal is its place.

#[rustfmt::skip]
mod table;

use std::collections::BTreeSet;
use std::fmt;

/// An interface of the contract.
#[derive(Debug)]
pub struct Interface {
    /// Its type id.
    pub id: u64,
    /// Its name, without its file's.
    pub name: &'static str,
    /// Its methods, by ordinal. It inherits none: no interface here extends another.
    pub methods: &'static [Method],
}

/// A method of an interface.
#[derive(Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// The interfaces of the capabilities that its results may hold, by type id.
    pub gives: &'static [u64],
    /// Whether its results may hold capabilities of any interface.
    pub gives_any: bool,
}

/// A method as a call names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId {
    /// The type id of the interface.
    pub interface: u64,
    /// The method's ordinal in it.
    pub ordinal: u16,
}

impl Interface {
    /// All interfaces.
    pub fn all() -> &'static [Interface] {
        table::INTERFACES
    }

    /// The interface of this type id, if it is one of the contract's.
    pub fn of_id(id: u64) -> Option<&'static Interface> {
        Self::all().iter().find(|interface| interface.id == id)
    }

    /// The method of this name.
    pub fn method(&self, name: &str) -> Option<MethodId> {
        let (id, _) = self.numbered().find(|(_, method)| method.name == name)?;
        Some(id)
    }

    /// Its methods with their ids.
    pub fn numbered(&self) -> impl Iterator<Item = (MethodId, &'static Method)> + use<> {
        let interface = self.id;
        (0..)
            .zip(self.methods)
            .map(move |(ordinal, method)| (MethodId { interface, ordinal }, method))
    }
}

impl MethodId {
    /// The method, if it is one of the contract's.
    pub fn method(self) -> Option<&'static Method> {
        Interface::of_id(self.interface)?
            .methods
            .get(usize::from(self.ordinal))
    }

    /// These methods, and all methods of every capability that is reached through them: what a holder needs
    /// who may call them and use what they give. Of an interface of which some methods are named no others are reached:
    /// what gives another of its own kind gives no more than it has itself.
    pub fn closure(methods: impl IntoIterator<Item = MethodId>) -> BTreeSet<MethodId> {
        let mut all = BTreeSet::new();
        let mut ahead: Vec<MethodId> = methods.into_iter().collect();
        let named: BTreeSet<u64> = ahead.iter().map(|id| id.interface).collect();
        while let Some(id) = ahead.pop() {
            if !all.insert(id) {
                continue;
            }
            let gives = id.method().map_or(&[][..], |method| method.gives);
            let given = gives.iter().filter(|id| !named.contains(id));
            let given = given.filter_map(|id| Interface::of_id(*id));
            ahead.extend(given.flat_map(|interface| interface.numbered().map(|(id, _)| id)));
        }
        all
    }
}

/// `Interface.method`, or numbers for what is not in the contract.
impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (Interface::of_id(self.interface), self.method()) {
            (Some(interface), Some(method)) => write!(f, "{}.{}", interface.name, method.name),
            _ => write!(f, "{:#018x}.{}", self.interface, self.ordinal),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn interface(name: &str) -> &'static Interface {
        let found = Interface::all().iter().find(|each| each.name == name);
        found.unwrap()
    }

    #[test]
    fn methods_are_found_by_name_and_named_by_id() {
        let connect = interface("Host").method("connect").unwrap();
        assert_eq!(connect.interface, 0x9ea7_0c8c_9aef_b70c);
        assert_eq!(connect.ordinal, 3);
        assert_eq!(connect.to_string(), "Host.connect");
        assert!(interface("Host").method("Connect").is_none());
    }

    #[test]
    fn what_is_not_in_the_contract_is_told_in_numbers() {
        let unknown = MethodId {
            interface: 0x9ea7_0c8c_9aef_b70c,
            ordinal: 99,
        };
        assert_eq!(unknown.to_string(), "0x9ea70c8c9aefb70c.99");
    }

    #[test]
    fn a_closure_reaches_what_methods_give_and_no_further() {
        let host = interface("Host");
        let id = host.method("id").unwrap();
        assert_eq!(MethodId::closure([id]), BTreeSet::from([id]));
        let executor = MethodId::closure([host.method("executor").unwrap()]);
        let spawn = interface("Program").method("spawn").unwrap();
        let read = interface("ByteStream").method("read").unwrap();
        assert!(executor.contains(&spawn) && executor.contains(&read));
        assert!(!executor.contains(&id));
    }

    #[test]
    fn what_gives_another_of_its_own_kind_gives_no_more_than_it_has() {
        let client = interface("Client");
        let attenuate = client.method("attenuate").unwrap();
        assert_eq!(MethodId::closure([attenuate]), BTreeSet::from([attenuate]));
        let both = [attenuate, client.method("pin").unwrap()];
        let reached = MethodId::closure(both);
        assert!(reached.contains(&interface("Pin").method("rm").unwrap()));
        assert!(!reached.contains(&client.method("unixfs").unwrap()));
    }
}
