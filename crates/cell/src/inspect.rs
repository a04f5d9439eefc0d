//! What a component says of itself, without compiling it or running any of it.

use crate::load::{LoadError, check_header, hint, is_provided};
use wasmparser::{ComponentExternalKind, Parser, Payload};

/// Names that are told of one component, imports and exports each. Programs import some thirty.
const MAX_NAMES: usize = 1024;

/// The longest name that is told in full, in characters.
const MAX_NAME_CHARS: usize = 200;

/// What a component says of itself. What it imports bounds what it can do; which grants it asks for does not
/// show before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it imports, in its order.
    pub imports: Vec<Import>,
    /// What it exports, in its order.
    pub exports: Vec<String>,
    /// Whether it is a program that can be run: it exports `wasi:cli/run`.
    pub is_command: bool,
}

/// One import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name, with its version.
    pub name: String,
    /// Why this host does not have it; `None` if it has.
    pub missing: Option<&'static str>,
}

/// Reads a component's imports and exports.
///
/// # Errors
/// It is no component, or not a valid one as far as this reads it.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, LoadError> {
    check_header(wasm)?;
    let mut found = Inspection {
        imports: Vec::new(),
        exports: Vec::new(),
        is_command: false,
    };
    // Modules and components within it are its own affair.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|error| invalid(&error))? {
            Payload::Version { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    found.import(import.map_err(|error| invalid(&error))?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export.map_err(|error| invalid(&error))?;
                    if export.kind == ComponentExternalKind::Instance {
                        found.export(export.name.name);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

impl Inspection {
    fn import(&mut self, name: &str) {
        if self.imports.len() < MAX_NAMES {
            self.imports.push(Import {
                name: printable(name),
                missing: (!is_provided(name)).then(|| hint(name)),
            });
        }
    }

    fn export(&mut self, name: &str) {
        self.is_command |= name.starts_with("wasi:cli/run@0.2.");
        if self.exports.len() < MAX_NAMES {
            self.exports.push(printable(name));
        }
    }
}

fn invalid(error: &wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Invalid(printable(error.message()))
}

/// The text without control characters, which could otherwise drive a terminal, and not too long.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_NAME_CHARS)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn inspected(text: &str) -> Inspection {
        inspect(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn imports_are_told_with_what_is_missing() {
        let found = inspected(
            r#"(component
                (import "wasi:cli/exit@0.2.3" (instance))
                (import "wasi:http/types@0.2.0" (instance))
                (import "host" (func)))"#,
        );
        let told = found
            .imports
            .iter()
            .map(|i| (&*i.name, i.missing.is_none()));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("wasi:cli/exit@0.2.3", true),
                ("wasi:http/types@0.2.0", false),
                ("host", false)
            ]
        );
        assert!(!found.is_command);
    }

    #[test]
    fn what_is_inside_a_component_is_not_told() {
        let found = inspected(
            r#"(component
                (component (import "wasi:cli/exit@0.2.3" (instance)))
                (core module (import "a" "b" (func)))
                (component $run (component) (instance $i)
                    (export "wasi:cli/run@0.2.0" (instance $i)))
                (instance $r)
                (export "wasi:cli/run@0.2.6" (instance $r)))"#,
        );
        assert_eq!(found.imports, []);
        assert_eq!(found.exports, ["wasi:cli/run@0.2.6"]);
        assert!(found.is_command);
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert_eq!(inspect(b"#!/bin/sh"), Err(LoadError::NotWasm));
        let module = wat::parse_str("(module)").unwrap();
        assert_eq!(inspect(&module), Err(LoadError::CoreModule));
        let component = wat::parse_str("(component (component) (core module))").unwrap();
        for length in 4..component.len() {
            let cut = inspect(component.get(..length).unwrap());
            assert!(
                matches!(cut, Err(LoadError::Invalid(_)) | Ok(_)),
                "{length}: {cut:?}"
            );
        }
    }
}
