//! Timestamps in Hellos and IHUs (RFC 9616 section 6).

use super::*;

/// A Hello and an IHU without address, sub-TLVs to follow.
fn hello(sub_tlvs: &[u8]) -> Vec<u8> {
    [&[4, 6 + sub_tlvs.len() as u8, 0, 0, 0, 1, 0, 100], sub_tlvs].concat()
}

fn ihu(sub_tlvs: &[u8]) -> Vec<u8> {
    [&[5, 6 + sub_tlvs.len() as u8, 0, 0, 0, 96, 0, 100], sub_tlvs].concat()
}

fn hello_says(sub_tlvs: &[u8]) -> Option<u32> {
    match read(&[&hello(sub_tlvs)])[..] {
        [Ok(Tlv::Hello { timestamp, .. })] => timestamp,
        ref other => panic!("{other:?}"),
    }
}

fn ihu_says(sub_tlvs: &[u8]) -> Option<(u32, u32)> {
    match read(&[&ihu(sub_tlvs)])[..] {
        [Ok(Tlv::Ihu { timestamps, .. })] => timestamps.map(|echo| (echo.origin, echo.received)),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn timestamps_are_read_and_what_follows_them_is_ignored() {
    assert_eq!(hello_says(&[3, 4, 0, 0, 1, 2]), Some(0x102));
    assert_eq!(hello_says(&[0, 1, 1, 0, 3, 6, 0, 0, 1, 2, 9, 9, 0]), Some(0x102));
    assert_eq!(ihu_says(&[3, 8, 0, 0, 1, 2, 0, 0, 3, 4]), Some((0x102, 0x304)));
    assert_eq!(ihu_says(&[3, 9, 0, 0, 1, 2, 0, 0, 3, 4, 9]), Some((0x102, 0x304)));
}

#[test]
fn a_timestamp_that_is_too_short_is_ignored_alone() {
    for length in 0..4 {
        assert_eq!(
            hello_says(&[&[3, length][..], &[1; 3][..length.into()]].concat()),
            None
        );
    }
    for length in 0..8 {
        assert_eq!(
            ihu_says(&[&[3, length][..], &[1; 7][..length.into()]].concat()),
            None
        );
    }
}

#[test]
fn a_timestamp_elsewhere_means_nothing() {
    let request = [2, 12, 0, 0, 0, 7, 0, 10, 3, 4, 1, 1, 1, 1];
    assert!(matches!(
        read(&[&request])[..],
        [Ok(Tlv::AckRequest { opaque: 7, .. })]
    ));
}

#[test]
fn a_mandatory_sub_tlv_beside_a_timestamp_voids_all() {
    let void = hello(&[3, 4, 0, 0, 1, 2, 200, 0]);
    assert_eq!(read(&[&void]), [Err(TlvError::Mandatory(200))]);
}
