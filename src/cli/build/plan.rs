//! What a build makes, and where each program goes; decided before cargo starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use cargo_metadata::{Metadata, Package, PackageId, Target};

/// The programs to build.
pub struct Plan {
    pub programs: Vec<Program>,
}

/// One program, and where its component goes.
pub struct Program {
    /// The package that it is of.
    pub id: PackageId,
    /// The package's name.
    pub package: String,
    /// The name of the binary target.
    pub bin: String,
    /// Each place that gets it.
    pub places: Vec<PathBuf>,
}

/// Plans the build of what stands in `folder`: its package, or else its workspace.
///
/// Refuses a package with no program or with several and no default, and a workspace that does
/// not say which of its programs is the first to run.
pub fn of(metadata: Metadata, folder: &Path) -> anyhow::Result<Plan> {
    let manifest = folder.join("Cargo.toml").canonicalize()?;
    let own = metadata.packages.iter().find(|package| {
        package
            .manifest_path
            .canonicalize()
            .is_ok_and(|path| path == manifest)
    });
    let programs = match own {
        Some(package) => {
            let bin = program(package)?.ok_or_else(|| {
                anyhow!(
                    "package {} is a library; to make a program of it add src/main.rs",
                    package.name
                )
            })?;
            vec![planned(package, bin, vec![folder.join("boot/main.wasm")])]
        }
        None => workspace(&metadata, folder)?,
    };
    Ok(Plan { programs })
}

/// Plans a workspace that becomes one environment.
fn workspace(metadata: &Metadata, folder: &Path) -> anyhow::Result<Vec<Program>> {
    let mut members = BTreeMap::new();
    for package in metadata.workspace_packages() {
        if let Some(bin) = program(package)? {
            members.insert(package.name.to_string(), (package, bin));
        }
    }
    let boot = first_to_run(metadata, members.keys())?;
    let mut names = BTreeMap::new();
    members
        .into_iter()
        .map(|(name, (package, bin))| {
            let in_layer = if name == boot {
                folder.join("boot/main.wasm")
            } else {
                if let Some(other) = names.insert(bin.name.clone(), name.clone()) {
                    bail!(
                        "members {other} and {name} both have a program {}; rename one",
                        bin.name
                    );
                }
                folder.join("bin").join(format!("{}.wasm", bin.name))
            };
            let own = package
                .manifest_path
                .with_file_name("boot")
                .join("main.wasm")
                .into_std_path_buf();
            Ok(planned(package, bin, vec![own, in_layer]))
        })
        .collect()
}

/// The member that is the environment's `boot/main.wasm`: the one that the manifest names, or the
/// only one.
fn first_to_run<'a>(
    metadata: &Metadata,
    members: impl ExactSizeIterator<Item = &'a String> + Clone,
) -> anyhow::Result<String> {
    let list = || {
        let names: Vec<&str> = members.clone().map(String::as_str).collect();
        names.join(", ")
    };
    let named = metadata
        .workspace_metadata
        .get("ww")
        .and_then(|ww| ww.get("boot"))
        .and_then(|boot| boot.as_str());
    match named {
        Some(boot) if members.clone().any(|member| member == boot) => Ok(boot.to_owned()),
        Some(boot) => bail!(
            "[workspace.metadata.ww] boot = {boot:?} is no member with a program; those are: {}",
            list()
        ),
        None => match (members.len(), members.clone().next()) {
            (0, _) | (_, None) => bail!("no member of this workspace has a program to build"),
            (1, Some(only)) => Ok(only.clone()),
            _ => bail!(
                "which program runs first? Add to Cargo.toml, under [workspace.metadata.ww], \
                 boot = one of: {}",
                list()
            ),
        },
    }
}

/// The program of a package: its `default-run`, the one named like it, or the only one. None if it
/// has none.
fn program(package: &Package) -> anyhow::Result<Option<&Target>> {
    let bins: Vec<&Target> = package.targets.iter().filter(|t| t.is_bin()).collect();
    let named = |name: &str| bins.iter().copied().find(|bin| bin.name == name);
    let chosen = match &package.default_run {
        Some(default) => named(default),
        None => named(&package.name),
    };
    match (chosen, bins.as_slice()) {
        (Some(bin), _) => Ok(Some(bin)),
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some(only)),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|bin| bin.name.as_str()).collect();
            bail!(
                "package {} has several programs; set default-run in its [package] to one of: {}",
                package.name,
                names.join(", ")
            )
        }
    }
}

fn planned(package: &Package, bin: &Target, places: Vec<PathBuf>) -> Program {
    Program {
        id: package.id.clone(),
        package: package.name.to_string(),
        bin: bin.name.clone(),
        places,
    }
}
