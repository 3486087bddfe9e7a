//! What nodes ask of a registry, and what it answers.

use crate::fixture::{NOW, bundle_of, certificate_of, issuer, keys, network, record_of, revocations, root};
use osier_proto::{
    network::{Network, SignedNetwork},
    record::Bundle,
    registry_api::{
        AuthError, AuthToken, DirectoryReply, EnrolError, EnrolReply, EnrolRequest, NetworkReply, ReplyError,
    },
};

#[test]
fn a_request_is_bound_to_its_method_body_time_and_network() {
    let id = network().id();
    let token = AuthToken::sign(&keys(9), &id, NOW, "PUT /v1/record", b"body");
    let token = AuthToken::decode(&token.encode()).unwrap();
    assert_eq!(token.verify(&id, NOW, "PUT /v1/record", b"body"), Ok(()));
    assert_eq!(
        token.verify(&id, NOW, "POST /v1/renew", b"body"),
        Err(AuthError::WrongRequest)
    );
    assert_eq!(
        token.verify(&id, NOW, "PUT /v1/record", b"bodz"),
        Err(AuthError::WrongRequest)
    );
    assert!(
        token
            .verify(&id, NOW.saturating_add(7200), "PUT /v1/record", b"body")
            .is_ok()
    );
    assert_eq!(
        token.verify(&id, NOW.saturating_add(7201), "PUT /v1/record", b"body"),
        Err(AuthError::Skewed(NOW))
    );
    assert!(
        token
            .verify(&id, NOW.saturating_sub(7201), "PUT /v1/record", b"body")
            .is_err()
    );
    let other = Network {
        root: keys(99).node_id(),
        ..network()
    }
    .id();
    assert_eq!(
        token.verify(&other, NOW, "PUT /v1/record", b"body"),
        Err(AuthError::BadSignature)
    );
    let mut stolen = token.clone();
    stolen.node = keys(8).node_id();
    assert_eq!(
        stolen.verify(&id, NOW, "PUT /v1/record", b"body"),
        Err(AuthError::BadSignature)
    );
}

#[test]
fn an_enrolment_request_proves_possession_of_its_key() {
    let id = network().id();
    let request = EnrolRequest::sign([7; 16], "willow", &keys(9), &id);
    let json = serde_json::to_string(&request).unwrap();
    let request: EnrolRequest = serde_json::from_str(&json).unwrap();
    let applicant = request.verify(&id).unwrap();
    assert_eq!((applicant.token, applicant.node), ([7; 16], keys(9).node_id()));
    assert_eq!(applicant.tunnel_key, keys(9).tunnel_key());
    let tampered = EnrolRequest {
        name: "oak".into(),
        ..request.clone()
    };
    assert_eq!(tampered.verify(&id), Err(EnrolError::BadSignature));
    let named = EnrolRequest::sign([7; 16], "Not A Name", &keys(9), &id);
    assert!(matches!(named.verify(&id), Err(EnrolError::Name(_))));
    let short = EnrolRequest {
        token: "AAAA".into(),
        ..request
    };
    assert!(matches!(short.verify(&id), Err(EnrolError::Decode(_))));
}

#[test]
fn a_reply_is_believed_only_as_far_as_its_signatures_go() {
    let network = SignedNetwork::sign(network(), &root()).unwrap();
    let list = revocations(3, vec![]);
    let reply = EnrolReply::new(&certificate_of(&keys(9)), &network, &list, NOW);
    let (certificate, _, revoked) = reply.verify(&root().node_id(), &keys(9), NOW).unwrap();
    assert_eq!((certificate.node, revoked.number), (keys(9).node_id(), 3));
    assert_eq!(
        reply.verify(&root().node_id(), &keys(8), NOW),
        Err(ReplyError::WrongNode)
    );
    assert!(reply.verify(&keys(8).node_id(), &keys(9), NOW).is_err());
    assert!(NetworkReply::new(&network, NOW).verify(&root().node_id()).is_ok());
    assert!(
        NetworkReply::new(&network, NOW)
            .verify(&issuer().node_id())
            .is_err()
    );
}

#[test]
fn one_bad_bundle_does_not_hide_the_directory() {
    let list = revocations(3, vec![(keys(4).node_id(), u64::MAX)]);
    let mixed = Bundle {
        certificate: certificate_of(&keys(2)),
        record: record_of(&keys(3)),
    };
    let all = [bundle_of(1), mixed, bundle_of(4), bundle_of(5)];
    let mut reply = DirectoryReply::new(&all, &list, NOW);
    reply.bundles.push("%%%".into());
    let (bundles, _) = reply.verify(&network(), NOW).unwrap();
    assert_eq!(bundles, [bundle_of(1), bundle_of(5)]);
}
