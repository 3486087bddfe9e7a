//! Records, and bundles of them with certificates.

use crate::fixture::{NOW, bundle_of, certificate_of, flips, keys, network, record_of};
use osier_proto::{
    identity::NodeId,
    record::{self, Bundle, Endpoint, EndpointKind, Record, RecordError},
};

#[test]
fn a_record_leaves_out_what_nobody_could_send_to() {
    let endpoint = |text: &str| Endpoint {
        address: text.parse().unwrap(),
        kind: EndpointKind::Local,
    };
    let fields = record::Fields {
        node: NodeId([0; 32]),
        sequence: 1,
        endpoints: [
            "0.0.0.0:1",
            "192.0.2.1:0",
            "[ff02::1]:5",
            "255.255.255.255:9",
            "[::ffff:192.0.2.1]:7",
        ]
        .map(endpoint)
        .to_vec(),
        leaf: false,
        relay: false,
        load: 0,
    };
    let record = Record::sign(fields, &keys(3), &network().id());
    assert_eq!(record.endpoints, [endpoint("192.0.2.1:7")]);
    assert_eq!(record.node, keys(3).node_id());
    assert_eq!(Record::decode(&record.encode()).unwrap(), record);
}

#[test]
fn every_bit_flip_in_a_bundle_is_refused() {
    let encoded = bundle_of(9).encode();
    assert!(Bundle::decode(&encoded).unwrap().verify(&network(), NOW).is_ok());
    for forged in flips(&encoded) {
        assert!(!Bundle::decode(&forged).is_ok_and(|bundle| bundle.verify(&network(), NOW).is_ok()));
    }
}

#[test]
fn a_record_beside_anothers_certificate_is_refused() {
    let mixed = Bundle {
        certificate: certificate_of(&keys(9)),
        record: record_of(&keys(8)),
    };
    assert_eq!(mixed.verify(&network(), NOW), Err(RecordError::WrongNode));
}
