//! Certificates, and who may issue them.

use crate::fixture::{
    NOW, START, WEEK, certificate_of, delegation, fields, flips, issuer, keys, network, root,
};
use osier_proto::{
    IpNet,
    certificate::{self, Certificate, CertificateError, Flags, MAX_CERTIFICATE},
    error::DecodeError,
    identity::SigningSecret,
    network::{Delegation, DelegationError, Network},
    record::{self, Bundle, Endpoint, EndpointKind, MAX_BUNDLE, MAX_ENDPOINTS, MAX_RECORD, Record},
    wallclock::UnixTime,
};

#[test]
fn a_certificate_survives_encoding_and_holds() {
    for delegated in [true, false] {
        let certificate = if delegated {
            certificate_of(&keys(9))
        } else {
            Certificate::issue(fields(&keys(9)), &root(), None, &network().id()).unwrap()
        };
        let read = Certificate::decode(&certificate.encode()).unwrap();
        assert_eq!(read, certificate);
        assert_eq!(read.verify(&network(), NOW), Ok(()));
        assert_eq!(
            read.address(),
            "fd12:3456:789a:17::1".parse::<std::net::Ipv6Addr>().unwrap()
        );
    }
}

#[test]
fn a_certificate_permits_its_prefixes_and_parts_of_them_only() {
    let certificate = certificate_of(&keys(9));
    let permits = |prefix: &str| certificate.permits(&prefix.parse::<IpNet>().unwrap());
    assert!(permits("fd12:3456:789a:17::/64"));
    assert!(permits("fd12:3456:789a:17::1/128"));
    assert!(!permits("fd12:3456:789a:18::/64"));
    assert!(!permits("fd12:3456:789a::/48"));
    assert!(!permits("::/0"));
    assert!(!permits("10.0.0.0/8"));
}

#[test]
fn every_bit_flip_in_a_certificate_is_refused() {
    for forged in flips(&certificate_of(&keys(9)).encode()) {
        let read = Certificate::decode(&forged);
        assert!(!read.is_ok_and(|certificate| certificate.verify(&network(), NOW).is_ok()));
    }
}

#[test]
fn every_cut_or_lengthened_certificate_is_refused() {
    let mut encoded = certificate_of(&keys(9)).encode();
    for length in 0..encoded.len() {
        assert!(Certificate::decode(&encoded[..length]).is_err());
    }
    encoded.push(0);
    assert_eq!(
        Certificate::decode(&encoded),
        Err(CertificateError::Decode(DecodeError::Trailing(1)))
    );
    encoded.resize(MAX_CERTIFICATE + 1, 0);
    assert!(matches!(
        Certificate::decode(&encoded),
        Err(CertificateError::Decode(DecodeError::TooLarge { .. }))
    ));
}

#[test]
fn a_clock_that_is_an_hour_off_is_forgiven_and_no_more() {
    let certificate = certificate_of(&keys(9));
    let at = |seconds: u64| certificate.verify(&network(), UnixTime(seconds));
    assert_eq!(at(START - 3600), Ok(()));
    assert_eq!(
        at(START - 3601),
        Err(CertificateError::NotYetValid(UnixTime(START)))
    );
    assert_eq!(at(START + WEEK + 3600), Ok(()));
    assert_eq!(
        at(START + WEEK + 3601),
        Err(CertificateError::Expired(UnixTime(START + WEEK)))
    );
}

#[test]
fn an_expired_certificate_counts_for_the_networks_grace_only_where_it_is_asked_for() {
    let certificate = certificate_of(&keys(9));
    let end = START + WEEK + 3600 + network().grace;
    assert!(certificate.verify(&network(), UnixTime(end)).is_err());
    assert_eq!(certificate.verify_with_grace(&network(), UnixTime(end)), Ok(()));
    assert!(
        certificate
            .verify_with_grace(&network(), UnixTime(end + 1))
            .is_err()
    );
    assert!(
        certificate
            .verify_with_grace(&network(), UnixTime(START - 3601))
            .is_err()
    );
}

#[test]
fn a_certificate_of_another_network_is_refused() {
    let other_root = SigningSecret::from_bytes(&[77; 32]);
    let other = Network {
        root: other_root.node_id(),
        ..network()
    };
    let foreign = Certificate::issue(fields(&keys(9)), &other_root, None, &other.id()).unwrap();
    assert_eq!(
        foreign.verify(&network(), NOW),
        Err(CertificateError::WrongNetwork(other.id()))
    );
    assert!(foreign.verify(&other, NOW).is_ok());
    // Signed by the right key, for the wrong network.
    let confused = Certificate::issue(fields(&keys(9)), &root(), None, &other.id()).unwrap();
    assert!(confused.verify(&network(), NOW).is_err());
    assert!(confused.verify(&other, NOW).is_err());
}

#[test]
fn an_issuer_without_a_delegation_that_holds_is_refused() {
    let issue = |issuer: &SigningSecret, delegation| {
        let id = network().id();
        Certificate::issue(fields(&keys(9)), issuer, delegation, &id)
            .unwrap()
            .verify(&network(), NOW)
    };
    let thief = SigningSecret::from_bytes(&[66; 32]);
    assert_eq!(issue(&thief, None), Err(CertificateError::BadSignature));
    assert_eq!(
        issue(&thief, Some(delegation())),
        Err(CertificateError::BadSignature)
    );
    let own = Delegation::sign(thief.node_id(), UnixTime(START), UnixTime(START + WEEK), &thief);
    assert_eq!(
        issue(&thief, Some(own)),
        Err(CertificateError::Delegation(DelegationError::BadSignature))
    );
    let mut redirected = delegation();
    redirected.issuer = thief.node_id();
    assert_eq!(
        issue(&thief, Some(redirected)),
        Err(CertificateError::Delegation(DelegationError::BadSignature))
    );
    let ended = Delegation::sign(issuer().node_id(), UnixTime(1), UnixTime(START), &root());
    assert_eq!(
        issue(&issuer(), Some(ended)),
        Err(CertificateError::Delegation(DelegationError::Expired(UnixTime(
            START
        ))))
    );
}

#[test]
fn a_prefix_outside_the_network_is_refused() {
    for outside in ["fd99::/64", "fd12:3456:7899::/64", "fd12:3456::/32"] {
        let mut fields = fields(&keys(9));
        fields.prefixes.push(outside.parse().unwrap());
        let certificate = Certificate::issue(fields, &root(), None, &network().id()).unwrap();
        assert_eq!(
            certificate.verify(&network(), NOW),
            Err(CertificateError::PrefixOutsideNetwork(outside.parse().unwrap()))
        );
    }
}

#[test]
fn nobody_can_issue_what_nobody_would_accept() {
    let refused = |change: fn(&mut certificate::Fields)| {
        let mut fields = fields(&keys(9));
        change(&mut fields);
        assert!(Certificate::issue(fields, &root(), None, &network().id()).is_err());
    };
    refused(|fields| fields.prefixes.clear());
    refused(|fields| fields.prefixes = vec!["10.0.0.0/8".parse().unwrap()]);
    refused(|fields| fields.prefixes = vec!["fd12:3456:789a:17::/64".parse().unwrap(); 9]);
    refused(|fields| fields.not_after = fields.not_before);
    for name in ["", "-a", "a-", "A", "a.b", "ä", &"a".repeat(64)] {
        let fields = certificate::Fields {
            name: name.into(),
            ..fields(&keys(9))
        };
        assert!(
            Certificate::issue(fields, &root(), None, &network().id()).is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn the_largest_certificate_and_record_fit_their_limits() {
    let most: Vec<IpNet> = (0..8)
        .map(|i| {
            format!("fd12:3456:789a:17:ffff:ffff:ffff:ff0{i}/128")
                .parse()
                .unwrap()
        })
        .collect();
    let fields = certificate::Fields {
        prefixes: most,
        group: Some(u32::MAX),
        name: "n".repeat(63),
        flags: Flags {
            relay: true,
            gateway: true,
            subnets: true,
        },
        serial: u64::MAX,
        not_before: UnixTime(u64::MAX - 1),
        not_after: UnixTime(u64::MAX),
        ..fields(&keys(9))
    };
    let delegation = Delegation::sign(
        issuer().node_id(),
        UnixTime(u64::MAX),
        UnixTime(u64::MAX),
        &root(),
    );
    let certificate = Certificate::issue(fields, &issuer(), Some(delegation), &network().id()).unwrap();
    assert_eq!(Certificate::decode(&certificate.encode()).unwrap(), certificate);

    let endpoint = Endpoint {
        address: "[2fee:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(),
        kind: EndpointKind::Configured,
    };
    let fields = record::Fields {
        node: keys(9).node_id(),
        sequence: u64::MAX,
        endpoints: vec![endpoint; MAX_ENDPOINTS],
        leaf: true,
        relay: true,
        load: 255,
    };
    let record = Record::sign(fields, &keys(9), &network().id());
    assert_eq!(record.endpoints.len(), MAX_ENDPOINTS);
    assert!(record.encode().len() <= MAX_RECORD, "{}", record.encode().len());
    let bundle = Bundle { certificate, record };
    assert!(bundle.encode().len() <= MAX_BUNDLE);
    assert_eq!(Bundle::decode(&bundle.encode()).unwrap(), bundle);
}
