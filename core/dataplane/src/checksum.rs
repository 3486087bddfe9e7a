//! The Internet checksum (RFC 1071) fast enough to run over every octet that passes.
//!
//! A ones' complement sum does not care in which byte order words are added, so eight octets are added at a time,
//! as the machine reads them, and only the folded result is swapped.

pub(crate) use osier_proto::packet::TCP;
use osier_proto::packet::UDP;

/// The header of IPv6 up to the payload, without extension headers.
pub(crate) const IPV6_HEADER: usize = osier_proto::packet::IPV6_HEADER;
/// Source and destination address in the header.
const ADDRESSES: core::ops::Range<usize> = 8..IPV6_HEADER;

/// Ones' complement sum of 16-bit words, unfolded, in the machine's byte order. The last octet of an odd number is
/// padded with zero.
pub(crate) fn sum(data: &[u8]) -> u64 {
    let mut lanes = [0_u64; 8];
    let (chunks, rest) = data.as_chunks::<32>();
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            // 2^32 words fit a lane; packets have 2^16 octets.
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let mut total: u64 = lanes.iter().sum();
    let (words, rest) = rest.as_chunks::<4>();
    total += words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum::<u64>();
    let (halves, rest) = rest.as_chunks::<2>();
    total += halves
        .iter()
        .map(|half| u64::from(u16::from_ne_bytes(*half)))
        .sum::<u64>();
    if let [octet] = rest {
        total += u64::from(u16::from_ne_bytes([*octet, 0]));
    }
    total
}

/// To 16 bits, still in the machine's byte order.
pub(crate) fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    // Three sums of 16 bits are at most 2^18, so the last fold may carry once more.
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The two addresses of the IPv6 packet that begins with `header`, and the protocol: what a pseudo-header (RFC 8200
/// section 8.1) says besides the length.
pub(crate) fn pseudo_header(header: &[u8], protocol: u8) -> u64 {
    sum(&header[ADDRESSES]) + word(protocol.into())
}

/// A 16-bit number as [`sum`] would count it.
pub(crate) fn word(number: u16) -> u64 {
    u64::from(number.to_be())
}

/// The octets of the checksum field for a sum over everything else. UDP has no zero: that means "none".
pub(crate) fn finish(sum: u64, protocol: u8) -> [u8; 2] {
    match !fold(sum) {
        0 if protocol == UDP => [0xff, 0xff],
        checksum => checksum.to_ne_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_plain_way() {
        let data: Vec<u8> = (0..2000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for start in 0..40 {
            for end in (start..start + 100).chain([1280, 1999, 2000]) {
                let part = &data[start..end];
                let plain = part.chunks(2).fold(0_u32, |sum, pair| {
                    let word = u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
                    let sum = sum + word;
                    (sum & 0xffff) + (sum >> 16)
                });
                assert_eq!(u32::from(fold(sum(part)).to_be()), plain, "{start}..{end}");
            }
        }
        assert_eq!(fold(sum(&[0xff; 65_535 - 1])), 0xffff);
        assert_eq!(fold(u64::MAX), 0xffff);
    }
}
