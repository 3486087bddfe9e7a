//! Bodies of requests to the registry and of its answers: JSON around signed structures.

use crate::fixtures::{NOW, bundle, certificate, keys, network, revocation_list, root};
use osier_proto::{
    network::SignedNetwork,
    registry_api::{
        DirectoryReply, EnrolReply, EnrolRequest, ErrorReply, NetworkReply, PublishRequest, RevocationReply,
    },
};
use serde_json::from_slice;
use std::sync::OnceLock;

/// True if some reader found all of it in order: shape, encoding and signatures.
pub fn json(data: &[u8]) -> bool {
    // Made once: signing takes longer than all the rest.
    static TRUSTED: OnceLock<osier_proto::network::Network> = OnceLock::new();
    let network = TRUSTED.get_or_init(network);
    let id = network.id();
    let mut accepted = from_slice::<ErrorReply>(data).is_ok();
    if let Ok(request) = from_slice::<EnrolRequest>(data) {
        accepted |= request.verify(&id).is_ok();
    }
    if let Ok(request) = from_slice::<PublishRequest>(data) {
        accepted |= request
            .decode()
            .is_ok_and(|bundle| bundle.verify(network, NOW).is_ok());
    }
    if let Ok(reply) = from_slice::<EnrolReply>(data) {
        accepted |= reply.verify(&network.root, &keys(1), NOW).is_ok();
    }
    if let Ok(reply) = from_slice::<NetworkReply>(data) {
        accepted |= reply.verify(&network.root).is_ok();
    }
    if let Ok(reply) = from_slice::<DirectoryReply>(data) {
        accepted |= reply.verify(network, NOW).is_ok();
    }
    if let Ok(reply) = from_slice::<RevocationReply>(data) {
        accepted |= reply.verify(network, NOW).is_ok();
    }
    accepted
}

#[allow(clippy::expect_used, reason = "plain structures with acceptable fields")]
pub fn bodies() -> Vec<(String, Vec<u8>)> {
    let network = SignedNetwork::sign(network(), &root()).expect("an acceptable name");
    let list = revocation_list(2);
    let body = |value: Result<Vec<u8>, serde_json::Error>| value.expect("plain structures");
    let enrol = EnrolRequest::sign([0x55; 16], "willow", &keys(1), &network.network().id());
    let enrolled = EnrolReply::new(&certificate(1), &network, &list, NOW);
    let directory = DirectoryReply::new(&[bundle(1, 2), bundle(2, 0)], &list, NOW);
    [
        ("enrol", body(serde_json::to_vec(&enrol))),
        ("enrolled", body(serde_json::to_vec(&enrolled))),
        (
            "network",
            body(serde_json::to_vec(&NetworkReply::new(&network, NOW))),
        ),
        (
            "publish",
            body(serde_json::to_vec(&PublishRequest::new(&bundle(1, 2)))),
        ),
        ("directory", body(serde_json::to_vec(&directory))),
        (
            "revocations",
            body(serde_json::to_vec(&RevocationReply::new(&list, NOW))),
        ),
        (
            "error",
            body(serde_json::to_vec(&ErrorReply::new(
                "token-used",
                "ask for a new invite",
            ))),
        ),
    ]
    .map(|(name, body)| (name.to_owned(), body))
    .to_vec()
}
