//! The merge itself: a function from what layers list to what the image is, without a disk.
//!
//! Union by path; where two layers have a file or a link, the later one counts; two directories are one.
//! A directory against anything else is refused rather than resolved, because whichever won would hide
//! files of the other layer without a word.

use std::collections::{BTreeMap, HashMap};

use content::tree::{Node, Tree, TreeError, TreePath};

use crate::{ImageError, Layer};

/// A merged tree, and where each of its entries is from.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) tree: Tree,
    pub(crate) origins: HashMap<TreePath, Origin>,
}

/// Where an entry is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The last layer that has it.
    pub(crate) layer: usize,
    /// Whether it is a directory that several layers have.
    pub(crate) is_shared: bool,
}

/// Why trees do not merge. Layers are named by their position.
#[derive(Debug)]
pub(crate) enum Refused {
    Conflict {
        path: TreePath,
        directory_in: usize,
        other_in: usize,
    },
    Tree(TreeError),
}

impl Refused {
    /// The same with the names of the layers.
    pub(crate) fn name(self, layers: &[Layer]) -> ImageError {
        let path_of = |index| {
            layers
                .get(index)
                .map(|layer: &Layer| layer.name().to_owned())
        };
        match self {
            Self::Conflict {
                path,
                directory_in,
                other_in,
            } => ImageError::Conflict {
                path: path.to_string(),
                directory_in: path_of(directory_in).unwrap_or_default(),
                other_in: path_of(other_in).unwrap_or_default(),
            },
            Self::Tree(error) => ImageError::Merged(error),
        }
    }
}

/// Merges `layers`, later ones over earlier ones. The limits of a tree hold for what they come to.
pub(crate) fn merge(layers: &[&Tree]) -> Result<Merged, Refused> {
    let mut union: BTreeMap<&TreePath, (Origin, &Node)> = BTreeMap::new();
    for (later, layer) in layers.iter().enumerate() {
        for (path, node) in layer.iter() {
            let mut origin = Origin {
                layer: later,
                is_shared: false,
            };
            let Some((earlier, present)) = union.insert(path, (origin, node)) else {
                continue;
            };
            let (directory_in, other_in) = match (present, node) {
                (Node::Directory, Node::Directory) => {
                    origin.is_shared = true;
                    union.insert(path, (origin, node));
                    continue;
                }
                (Node::Directory, _) => (earlier.layer, later),
                (_, Node::Directory) => (later, earlier.layer),
                _ => continue,
            };
            return Err(Refused::Conflict {
                path: path.clone(),
                directory_in,
                other_in,
            });
        }
    }
    let mut merged = Merged {
        tree: Tree::default(),
        origins: HashMap::new(),
    };
    for (path, (origin, node)) in union {
        merged
            .tree
            .insert(path.clone(), node.clone())
            .map_err(Refused::Tree)?;
        merged.origins.insert(path.clone(), origin);
    }
    Ok(merged)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any tree of up to a dozen entries over few names, so that layers meet.
    fn trees() -> impl Strategy<Value = Tree> {
        let names = proptest::collection::vec("[a-c]", 1..4);
        let kind = prop_oneof![
            Just(Node::Directory),
            (0..9_u64).prop_map(|bytes| Node::File { bytes }),
            "[a-c]".prop_map(|target| Node::Link { target }),
        ];
        proptest::collection::vec((names, kind), 0..12).prop_map(|entries| {
            let mut tree = Tree::default();
            for (names, node) in entries {
                let mut path = TreePath::root();
                for (depth, name) in names.iter().enumerate() {
                    path = path.child(name).unwrap();
                    let last = depth + 1 == names.len();
                    let _ = tree.insert(
                        path.clone(),
                        if last { node.clone() } else { Node::Directory },
                    );
                }
            }
            tree
        })
    }

    fn nodes(tree: &Tree) -> BTreeMap<String, Node> {
        tree.iter()
            .map(|(path, node)| (path.to_string(), node.clone()))
            .collect()
    }

    proptest! {
        #[test]
        fn the_union_holds_each_path_as_its_last_layer_has_it(
            layers in proptest::collection::vec(trees(), 0..4)
        ) {
            let layers: Vec<_> = layers.iter().collect();
            let clash = layers.iter().any(|one| one.iter().any(|(path, node)| {
                layers.iter().filter_map(|other| other.get(path.as_str())).any(|other| {
                    (*node == Node::Directory) != (*other == Node::Directory)
                })
            }));
            match merge(&layers) {
                Err(_) => prop_assert!(clash),
                Ok(merged) => {
                    prop_assert!(!clash);
                    let mut expected = BTreeMap::new();
                    for layer in &layers {
                        expected.extend(nodes(layer));
                    }
                    prop_assert_eq!(nodes(&merged.tree), expected);
                    for (path, origin) in &merged.origins {
                        let node = merged.tree.get(path.as_str());
                        prop_assert_eq!(layers[origin.layer].get(path.as_str()), node);
                        let later = &layers[origin.layer + 1..];
                        prop_assert!(later.iter().all(|layer| layer.get(path.as_str()).is_none()));
                        let has = |layer: &&&Tree| layer.get(path.as_str()).is_some();
                        let is_shared = node == Some(&Node::Directory) && layers.iter().filter(has).count() > 1;
                        prop_assert_eq!(origin.is_shared, is_shared);
                    }
                }
            }
        }

        #[test]
        fn merging_in_two_steps_is_merging_at_once(a in trees(), b in trees(), c in trees()) {
            let at_once = merge(&[&a, &b, &c]).map(|merged| merged.tree);
            let first = merge(&[&a, &b]).and_then(|ab| merge(&[&ab.tree, &c]));
            match (at_once, first) {
                (Ok(at_once), Ok(first)) => prop_assert_eq!(at_once, first.tree),
                (at_once, first) => prop_assert!(at_once.is_err() && first.is_err()),
            }
        }

        #[test]
        fn a_layer_over_itself_changes_nothing(a in trees()) {
            prop_assert_eq!(merge(&[&a, &a]).unwrap().tree, a.clone());
            prop_assert_eq!(merge(&[&a]).unwrap().tree, a);
        }
    }
}
