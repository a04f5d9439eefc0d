//! Looking at a component: is it one, what does it want, can it be run.

use super::{Code, LoadError, UnknownImport};
use crate::artifact::Artifact;
use crate::engine::Flavor;
use crate::host::PROVIDED;
use std::sync::Arc;
use wasmtime::component::types;
use wasmtime_wasi::p2::bindings::CommandPre;

/// Refuses what does not even begin like a component.
pub(crate) fn check_header(wasm: &[u8]) -> Result<(), LoadError> {
    match wasm {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(LoadError::CoreModule),
        [0, b'a', b's', b'm', ..] => Ok(()),
        _ => Err(LoadError::NotWasm),
    }
}

/// Maps the code and ties it to what the host provides. `component_bytes` is what keeping the
/// component itself costs.
pub(super) fn link(
    flavor: &Flavor,
    artifact: &Artifact,
    component_bytes: usize,
) -> Result<Code, LoadError> {
    let component = artifact
        .load(&flavor.engine)
        .map_err(|error| LoadError::Compiler(format!("{error:#}")))?;
    let ty = component.component_type();
    let imports: Arc<[String]> = ty
        .imports(&flavor.engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let unknown: Vec<_> = imports
        .iter()
        .filter(|name| !is_provided(name))
        .map(|name| UnknownImport {
            name: name.clone(),
            hint: hint(name),
        })
        .collect();
    if !unknown.is_empty() {
        return Err(LoadError::UnknownImports(unknown));
    }
    if !is_command(&ty, &flavor.engine) {
        return Err(LoadError::NotACommand);
    }
    let pre = flavor
        .linker
        .instantiate_pre(&component)
        .and_then(CommandPre::new)
        .map_err(|error| LoadError::invalid(&error))?;
    let bytes = artifact.len().saturating_add(component_bytes);
    Ok(Code {
        pre,
        imports,
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
    })
}

/// Whether the host has an interface of this name, in a version that stands for the one it has.
pub(crate) fn is_provided(import: &str) -> bool {
    let Some((name, version)) = import.split_once('@') else {
        return false;
    };
    let compatible = if name.starts_with("wasi:") {
        "0.2."
    } else {
        "0.1."
    };
    PROVIDED.contains(&name) && version.starts_with(compatible)
}

fn is_command(ty: &types::Component, engine: &wasmtime::Engine) -> bool {
    ty.exports(engine)
        .any(|(name, _)| name.starts_with("wasi:cli/run@0.2."))
}

/// What would satisfy an import, as far as its name tells.
pub(crate) fn hint(import: &str) -> &'static str {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    if name.starts_with("wasi:http/") {
        "cells have no HTTP of their own; the component must be a command that is granted what it \
         needs"
    } else if name.starts_with("wasi:") && version.starts_with("0.3") {
        "this host has WASI 0.2; build for the target wasm32-wasip2"
    } else if name.starts_with("wasi:") {
        "no part of WASI 0.2's command world"
    } else if PROVIDED.contains(&name) {
        "this host has another version of it; rebuild with the SDK that came with this host"
    } else {
        "no host interface; if another component exports it, compose the two with `wac plug`"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::Allocation;

    #[test]
    fn what_is_listed_as_provided_is_what_the_linker_has() {
        let flavor = Flavor::new(false, false, &Allocation::Pooling { cells: 1 }).unwrap();
        let links = |imports: &str| {
            let wasm = wat::parse_str(format!("(component {imports})")).unwrap();
            let artifact = Artifact::trusted(flavor.engine.precompile_component(&wasm).unwrap());
            let component = artifact.load(&flavor.engine).unwrap();
            flavor.linker.instantiate_pre(&component).is_ok()
        };
        for name in PROVIDED {
            let version = if name.starts_with("wasi:") {
                "0.2.3"
            } else {
                "0.1.0"
            };
            let import = format!("{name}@{version}");
            assert!(is_provided(&import), "{import}");
            assert!(
                links(&format!("(import \"{import}\" (instance))")),
                "{import}"
            );
        }
        assert!(!is_provided("wasi:cli/environment@0.3.0"));
        assert!(!is_provided("wasi:http/types@0.2.0"));
    }
}
