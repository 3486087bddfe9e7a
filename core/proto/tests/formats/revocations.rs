//! Revocation lists.

use crate::fixture::{NOW, certificate_of, flips, issuer, keys, network, revocations};
use osier_proto::{
    identity::NodeId,
    network::Network,
    revocation::{MAX_REVOCATION_LIST, MAX_REVOKED, RevocationError, RevocationList},
};

#[test]
fn a_revocation_list_voids_serials_up_to_its_own() {
    let node = keys(9).node_id();
    let revokes = |serial| revocations(1, vec![(node, serial)]).revokes(&certificate_of(&keys(9)));
    assert!(!revokes(4));
    assert!(revokes(5));
    assert!(revokes(u64::MAX));
    assert!(!revocations(1, vec![(keys(8).node_id(), u64::MAX)]).revokes(&certificate_of(&keys(9))));
    assert!(!revocations(0, vec![]).revokes(&certificate_of(&keys(9))));
}

#[test]
fn a_revocation_list_is_sorted_and_survives_encoding() {
    let entries = vec![
        (NodeId([9; 32]), 1),
        (NodeId([1; 32]), 2),
        (NodeId([9; 32]), u64::MAX),
    ];
    let list = revocations(7, entries);
    assert_eq!(list.revoked, [(NodeId([1; 32]), 2), (NodeId([9; 32]), u64::MAX)]);
    assert_eq!(RevocationList::decode(&list.encode()), Ok(list.clone()));
    assert_eq!(list.verify(&network(), NOW), Ok(()));
    let foreign = Network {
        root: keys(99).node_id(),
        ..network()
    };
    assert_eq!(
        list.verify(&foreign, NOW),
        Err(RevocationError::WrongNetwork(network().id()))
    );
}

#[test]
fn every_bit_flip_in_a_revocation_list_is_refused() {
    for forged in flips(&revocations(7, vec![(NodeId([1; 32]), 2), (NodeId([9; 32]), u64::MAX)]).encode()) {
        assert!(!RevocationList::decode(&forged).is_ok_and(|list| list.verify(&network(), NOW).is_ok()));
    }
}

#[test]
fn the_longest_revocation_list_fits_its_limit() {
    let node = |i: usize| {
        let mut key = [0xff; 32];
        key[..8].copy_from_slice(&(i as u64).to_be_bytes());
        NodeId(key)
    };
    let most: Vec<_> = (0..MAX_REVOKED).map(|i| (node(i), u64::MAX)).collect();
    let list = revocations(u64::MAX, most.clone());
    assert!(list.encode().len() <= MAX_REVOCATION_LIST);
    assert_eq!(
        RevocationList::decode(&list.encode()).unwrap().revoked.len(),
        MAX_REVOKED
    );
    let more = most.into_iter().chain([(NodeId([0; 32]), 0)]).collect();
    assert!(RevocationList::sign(1, more, &issuer(), None, &network().id()).is_err());
}
