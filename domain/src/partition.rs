//! Which partition a tenant belongs to.

use sha2::{Digest, Sha256};

use crate::ids::TenantId;

/// The number of an inbox queue, from 0 to the installation's number of partitions less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// How often the ownership of a partition has changed hands. A tenant's ledger accepts decisions of
/// one epoch only, so an owner that has been replaced can decide nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

impl Partition {
    /// Gives the partition of a tenant: the first eight bytes of SHA-256(tenant id), big-endian, modulo
    /// the number of partitions. It never changes for an installation, so a tenant never moves.
    ///
    /// # Panics
    /// When `partitions` is zero; configuration refuses that.
    pub fn of(tenant: TenantId, partitions: u16) -> Self {
        let number = head_of(Sha256::digest(tenant.0.as_bytes()).as_ref()) % u64::from(partitions);
        Self(u16::try_from(number).unwrap_or(0))
    }

    /// Gives the node that should own the partition: the one with the highest hash of both (rendezvous hashing). Every node that
    /// knows the same names decides the same, and when one comes or goes, only what it gets or had moves.
    pub fn preferred<'a>(self, nodes: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        nodes.into_iter().max_by_key(|node| (self.weight(node), *node))
    }

    fn weight(self, node: &str) -> u64 {
        let both = Sha256::new()
            .chain_update(node.as_bytes())
            .chain_update(self.0.to_be_bytes())
            .finalize();
        head_of(both.as_ref())
    }
}

fn head_of(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |head, byte| head << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTITIONS: u16 = 256;

    fn owners<'a>(nodes: &[&'a str]) -> Vec<Option<&'a str>> {
        (0..PARTITIONS)
            .map(|number| Partition(number).preferred(nodes.iter().copied()))
            .collect()
    }

    #[test]
    fn without_nodes_nobody_is_preferred_and_a_single_one_has_all() {
        assert!(owners(&[]).iter().all(Option::is_none));
        assert!(owners(&["a:8080"]).iter().all(|owner| *owner == Some("a:8080")));
    }

    #[test]
    fn each_of_four_nodes_gets_about_a_quarter() {
        let nodes = ["a:8080", "a:8081", "b:8080", "c:8080"];
        let owners = owners(&nodes);
        for node in nodes {
            let share = owners.iter().filter(|owner| **owner == Some(node)).count();
            assert!((40..90).contains(&share), "{node} has {share} of {PARTITIONS}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_names_does_not_matter(mut nodes in proptest::collection::btree_set("[a-z]{1,6}", 1..6)
            .prop_map(|nodes| nodes.into_iter().collect::<Vec<_>>())) {
            let before: Vec<Option<String>> = (0..PARTITIONS)
                .map(|number| Partition(number).preferred(nodes.iter().map(String::as_str)).map(str::to_owned))
                .collect();
            nodes.reverse();
            for (number, owner) in (0..).zip(before) {
                prop_assert_eq!(Partition(number).preferred(nodes.iter().map(String::as_str)).map(str::to_owned), owner);
            }
        }

        #[test]
        fn only_what_a_node_gets_or_had_moves(nodes in proptest::collection::btree_set("[a-z]{1,6}", 2..6), which in 0usize..6) {
            let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
            let changing = nodes[which % nodes.len()];
            let others: Vec<&str> = nodes.iter().copied().filter(|node| *node != changing).collect();
            for (with, without) in owners(&nodes).into_iter().zip(owners(&others)) {
                prop_assert!(with == without || with == Some(changing));
            }
        }
    }
}
