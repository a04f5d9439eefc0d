//! Logging: which events reach standard error.
//!
//! `RUST_LOG` is tracing-subscriber's filter, with two things taken care of. A directive for `ww`
//! speaks of our library crates too, which are parts of the same program for whoever reads the log
//! (`ww=debug,swarm=warn` still quiets one of them). And warnings are shown whatever crate they
//! come from, unless the filter says otherwise for all (`RUST_LOG=off`) or for that crate. Without
//! the variable it is `ww=info`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged when `RUST_LOG` does not say.
const DEFAULT: &str = "ww=info";
/// What holds for every crate that the filter does not name.
const FLOOR: &str = "warn";
/// The library crates that `ww` stands for in a filter.
const OWN_CRATES: &[&str] = &[
    "atom", "cell", "content", "image", "membrane", "schema", "swarm", "vat",
];

/// Sends the events of this process to standard error. A filter that cannot be read is reported
/// there, and the default is used.
pub fn start() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, complaint) = match EnvFilter::try_new(expand(&wanted)) {
        Ok(filter) => (filter, None),
        Err(e) => (EnvFilter::new(expand("")), Some(e)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if let Some(e) = complaint {
        tracing::warn!("RUST_LOG={wanted} is no filter ({e}); using {DEFAULT}");
    }
}

/// The filter that `wanted` stands for. A later directive replaces an earlier one for the same
/// target, so the user's own come last.
fn expand(wanted: &str) -> String {
    let wanted = if wanted.trim().is_empty() {
        DEFAULT
    } else {
        wanted
    };
    let mut directives = vec![FLOOR.to_owned()];
    for directive in wanted.split(',') {
        if let Some(level) = directive.trim().strip_prefix("ww=") {
            directives.extend(OWN_CRATES.iter().map(|own| format!("{own}={level}")));
        }
    }
    directives.push(wanted.to_owned());
    directives.join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn ww_stands_for_every_crate_of_this_workspace() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
        let mut found: Vec<String> = std::fs::read_dir(crates)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, OWN_CRATES);
    }

    #[test]
    fn the_default_shows_our_information_and_all_warnings() {
        let filter = expand("");
        assert!(filter.starts_with("warn,"), "{filter}");
        assert!(filter.contains("swarm=info"), "{filter}");
        assert!(filter.ends_with("ww=info"), "{filter}");
    }

    #[test]
    fn the_users_own_directives_come_last() {
        let filter = expand("ww=debug,swarm=off,trace");
        assert!(filter.contains("swarm=debug"), "{filter}");
        assert!(filter.ends_with("ww=debug,swarm=off,trace"), "{filter}");
    }

    #[test]
    fn every_expansion_is_a_filter() {
        for wanted in ["", "ww=trace", "off", "ww=debug,libp2p=info", "info"] {
            assert!(EnvFilter::try_new(expand(wanted)).is_ok(), "{wanted}");
        }
    }
}
