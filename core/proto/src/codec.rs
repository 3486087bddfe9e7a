//! Deterministic CBOR (RFC 8949 section 4.2.1), on top of `minicbor`.
//!
//! Signed structures must have one encoding only, or two parties could disagree about what was signed. So
//! [`Writer`] always writes the shortest form, and [`Reader`] refuses everything else: longer integers,
//! indefinite lengths, keys out of order, stray octets. Structures are maps with small integer keys. A key below
//! [`CRITICAL_BELOW`] that the reader does not know makes it refuse the structure; a higher one is skipped.

use crate::{
    IpNet, RouterId,
    error::DecodeError,
    identity::{NodeId, TunnelKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use core::net::{IpAddr, SocketAddr};

/// Unknown keys below this are critical.
pub const CRITICAL_BELOW: u64 = 128;
/// Nesting that skipped (unknown) values may have.
const SKIP_DEPTH: u8 = 4;
/// RFC 9164: tags of IPv4 and IPv6 addresses and prefixes.
const TAG_IPV4: u64 = 52;
const TAG_IPV6: u64 = 54;

/// Base64url without padding.
pub fn to_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64url without padding; anything else is refused.
pub fn from_base64url(text: &str) -> Result<Vec<u8>, DecodeError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| DecodeError::Base64)
}

/// Exactly `N` octets of base64url.
pub fn array_from_base64url<const N: usize>(text: &str, name: &'static str) -> Result<[u8; N], DecodeError> {
    from_base64url(text)?
        .try_into()
        .map_err(|_| DecodeError::Invalid(name))
}

pub(crate) fn check_size(bytes: &[u8], limit: usize) -> Result<(), DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLarge {
            size: bytes.len(),
            limit,
        });
    }
    Ok(())
}

/// Writes canonical CBOR into a vector.
pub(crate) struct Writer(minicbor::Encoder<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(minicbor::Encoder::new(Vec::new()))
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0.into_writer()
    }

    // Each method drops the encoder's result: its only error is the writer's, and a vector has none.

    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        let _ = self.0.u64(value);
        self
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        let _ = self.0.bytes(value);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        let _ = self.0.str(value);
        self
    }

    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        let _ = self.0.array(length as u64);
        self
    }

    pub(crate) fn map(&mut self, length: usize) -> &mut Self {
        let _ = self.0.map(length as u64);
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        let _ = self.0.null();
        self
    }

    /// RFC 9164 section 3.1.2: tag, then `[length, address without its trailing zero octets]`.
    pub(crate) fn prefix(&mut self, prefix: &IpNet) -> &mut Self {
        let (tag, octets) = match prefix.network() {
            IpAddr::V4(address) => (TAG_IPV4, address.octets().to_vec()),
            IpAddr::V6(address) => (TAG_IPV6, address.octets().to_vec()),
        };
        let significant = octets
            .iter()
            .rposition(|&octet| octet != 0)
            .map_or(0, |last| last + 1);
        let _ = self.0.tag(minicbor::data::Tag::new(tag));
        self.array(2)
            .uint(prefix.prefix_len().into())
            .bytes(&octets[..significant])
    }

    /// `[address of 4 or 16 octets, port]`.
    pub(crate) fn socket_address(&mut self, address: &SocketAddr) -> &mut Self {
        self.array(2);
        match address.ip().to_canonical() {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        };
        self.uint(address.port().into())
    }
}

/// Reads canonical CBOR and nothing else.
pub(crate) struct Reader<'b>(minicbor::Decoder<'b>);

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(minicbor::Decoder::new(bytes))
    }

    fn malformed(&self) -> DecodeError {
        DecodeError::Malformed(self.0.position().min(self.0.input().len()))
    }

    /// Checks that the item that began at `start` took as many octets as its shortest form does.
    fn canonical(&self, start: usize, head: u64, content: usize) -> Result<(), DecodeError> {
        let shortest = match head {
            0..=23 => 1,
            24..=0xff => 2,
            0x100..=0xffff => 3,
            0x1_0000..=0xffff_ffff => 5,
            _ => 9,
        };
        if self.0.position() - start == shortest + content {
            Ok(())
        } else {
            Err(DecodeError::NotCanonical(start))
        }
    }

    /// All input has been read.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.0.input().len().saturating_sub(self.0.position()) {
            0 => Ok(()),
            stray => Err(DecodeError::Trailing(stray)),
        }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, DecodeError> {
        let start = self.0.position();
        let value = self.0.u64().map_err(|_| self.malformed())?;
        self.canonical(start, value, 0)?;
        Ok(value)
    }

    /// An unsigned integer that fits `T`.
    pub(crate) fn small<T: TryFrom<u64>>(&mut self, name: &'static str) -> Result<T, DecodeError> {
        T::try_from(self.uint()?).map_err(|_| DecodeError::Invalid(name))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], DecodeError> {
        let start = self.0.position();
        let value = self.0.bytes().map_err(|_| self.malformed())?;
        self.canonical(start, value.len() as u64, value.len())?;
        Ok(value)
    }

    pub(crate) fn octets<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], DecodeError> {
        self.bytes()?.try_into().map_err(|_| DecodeError::Invalid(name))
    }

    pub(crate) fn node(&mut self) -> Result<NodeId, DecodeError> {
        self.octets("node").map(NodeId)
    }

    pub(crate) fn tunnel_key(&mut self) -> Result<TunnelKey, DecodeError> {
        self.octets("tunnel_key").map(TunnelKey)
    }

    pub(crate) fn router_id(&mut self) -> Result<RouterId, DecodeError> {
        self.octets("router_id").map(RouterId)
    }

    pub(crate) fn text(&mut self) -> Result<&'b str, DecodeError> {
        let start = self.0.position();
        let value = self.0.str().map_err(|_| self.malformed())?;
        self.canonical(start, value.len() as u64, value.len())?;
        Ok(value)
    }

    /// The number of elements. It is the sender's word: reserve no memory for it.
    pub(crate) fn array(&mut self) -> Result<u64, DecodeError> {
        let start = self.0.position();
        let length = self.0.array().map_err(|_| self.malformed())?;
        let length = length.ok_or(DecodeError::NotCanonical(start))?;
        self.canonical(start, length, 0)?;
        Ok(length)
    }

    /// An array of exactly this many elements.
    pub(crate) fn array_of(&mut self, expected: u64) -> Result<(), DecodeError> {
        let start = self.0.position();
        if self.array()? == expected {
            Ok(())
        } else {
            Err(DecodeError::Malformed(start))
        }
    }

    /// An array of at most `limit` elements, each read by `element`.
    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        limit: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let length = self.array()?;
        if length > limit as u64 {
            return Err(DecodeError::Invalid(name));
        }
        (0..length).map(|_| element(self)).collect()
    }

    fn map(&mut self) -> Result<u64, DecodeError> {
        let start = self.0.position();
        let length = self.0.map().map_err(|_| self.malformed())?;
        let length = length.ok_or(DecodeError::NotCanonical(start))?;
        self.canonical(start, length, 0)?;
        Ok(length)
    }

    /// A map with ascending integer keys. `field` reads the value of a key it knows and returns true.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(u64, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut previous = None;
        for _ in 0..self.map()? {
            let start = self.0.position();
            let key = self.uint()?;
            if previous.is_some_and(|previous| previous >= key) {
                return Err(DecodeError::NotCanonical(start));
            }
            previous = Some(key);
            if !field(key, self)? {
                if key < CRITICAL_BELOW {
                    return Err(DecodeError::UnknownCriticalField(key));
                }
                self.skip(SKIP_DEPTH)?;
            }
        }
        Ok(())
    }

    /// Takes `null` if it is next.
    pub(crate) fn take_null(&mut self) -> bool {
        let next = self.0.input().get(self.0.position()) == Some(&0xf6);
        next && self.0.null().is_ok()
    }

    /// Passes over one value of any of the types we use, which must be canonical as well.
    pub(crate) fn skip(&mut self, depth: u8) -> Result<(), DecodeError> {
        let start = self.0.position();
        let depth = depth.checked_sub(1).ok_or(DecodeError::Malformed(start))?;
        let head = *self.0.input().get(start).ok_or_else(|| self.malformed())?;
        match head >> 5 {
            0 => self.uint().map(drop),
            2 => self.bytes().map(drop),
            3 => self.text().map(drop),
            4 => (0..self.array()?).try_for_each(|_| self.skip(depth)),
            5 => {
                let mut previous: Option<&[u8]> = None;
                for _ in 0..self.map()? {
                    let key_start = self.0.position();
                    self.skip(depth)?;
                    // Canonical order is that of the encoded keys; the range was just read, so it is there.
                    let key = self.0.input().get(key_start..self.0.position());
                    if previous.is_some() && previous >= key {
                        return Err(DecodeError::NotCanonical(key_start));
                    }
                    previous = key;
                    self.skip(depth)?;
                }
                Ok(())
            }
            6 => {
                let tag = self.0.tag().map_err(|_| self.malformed())?.as_u64();
                self.canonical(start, tag, 0)?;
                self.skip(depth)
            }
            _ if head == 0xf6 => self.0.null().map_err(|_| self.malformed()),
            _ => self.0.bool().map(drop).map_err(|_| self.malformed()),
        }
    }

    pub(crate) fn prefix(&mut self) -> Result<IpNet, DecodeError> {
        const INVALID: DecodeError = DecodeError::Invalid("prefix");
        let start = self.0.position();
        let tag = self.0.tag().map_err(|_| self.malformed())?.as_u64();
        self.canonical(start, tag, 0)?;
        self.array_of(2)?;
        let length: u8 = self.small("prefix")?;
        let significant = self.bytes()?;
        if significant.last() == Some(&0) {
            return Err(DecodeError::NotCanonical(start));
        }
        let mut octets = [0; 16];
        octets
            .get_mut(..significant.len())
            .ok_or(INVALID)?
            .copy_from_slice(significant);
        let address = match tag {
            TAG_IPV4 if significant.len() <= 4 => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
            TAG_IPV6 => IpAddr::from(octets),
            _ => return Err(INVALID),
        };
        let prefix = IpNet::new(address, length).map_err(|_| INVALID)?;
        // Octets beyond the length would make a second encoding of the same prefix.
        if prefix.network() == address {
            Ok(prefix)
        } else {
            Err(DecodeError::NotCanonical(start))
        }
    }

    pub(crate) fn socket_address(&mut self) -> Result<SocketAddr, DecodeError> {
        let start = self.0.position();
        self.array_of(2)?;
        let octets = self.bytes()?;
        let address = if let Ok(octets) = <[u8; 4]>::try_from(octets) {
            IpAddr::from(octets)
        } else {
            IpAddr::from(<[u8; 16]>::try_from(octets).map_err(|_| DecodeError::Invalid("address"))?)
        };
        if address.to_canonical() != address {
            return Err(DecodeError::NotCanonical(start));
        }
        Ok(SocketAddr::new(address, self.small("port")?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn longer_forms_of_an_integer_are_refused() {
        assert_eq!(Reader::new(&[0x17]).uint(), Ok(23));
        assert_eq!(Reader::new(&[0x18, 23]).uint(), Err(DecodeError::NotCanonical(0)));
        assert_eq!(
            Reader::new(&[0x19, 0, 0xff]).uint(),
            Err(DecodeError::NotCanonical(0))
        );
    }

    #[test]
    fn indefinite_lengths_are_refused() {
        assert!(Reader::new(&[0x9f, 0xff]).array().is_err());
        assert!(Reader::new(&[0xbf, 0xff]).fields(|_, _| Ok(true)).is_err());
        assert!(Reader::new(&[0x5f, 0x41, 0, 0xff]).bytes().is_err());
    }

    #[test]
    fn unknown_low_keys_are_refused_and_high_ones_skipped() {
        let mut critical = Writer::new();
        critical.map(1).uint(127).uint(0);
        let known_none = |bytes: &[u8]| Reader::new(bytes).fields(|_, _| Ok(false));
        assert_eq!(
            known_none(&critical.into_vec()),
            Err(DecodeError::UnknownCriticalField(127))
        );
        let mut other = Writer::new();
        other.map(2).uint(128).array(1).bytes(b"x").uint(129).null();
        assert_eq!(known_none(&other.into_vec()), Ok(()));
    }

    #[test]
    fn keys_out_of_order_or_twice_are_refused() {
        for keys in [[2, 1], [1, 1]] {
            let mut writer = Writer::new();
            writer.map(2).uint(keys[0]).uint(0).uint(keys[1]).uint(0);
            let read = Reader::new(&writer.into_vec())
                .fields(|_, reader| reader.uint().map(|_| true))
                .unwrap_err();
            assert!(matches!(read, DecodeError::NotCanonical(_)));
        }
    }

    #[test]
    fn skipping_is_bounded_in_depth() {
        let nested = [0x81; 64];
        assert!(Reader::new(&nested).skip(SKIP_DEPTH).is_err());
    }

    #[test]
    fn prefixes_keep_only_significant_octets() {
        for text in [
            "fd00:1:2::/48",
            "::/0",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "2001:db8::1/128",
        ] {
            let prefix: IpNet = text.parse().unwrap();
            let mut writer = Writer::new();
            writer.prefix(&prefix);
            assert_eq!(Reader::new(&writer.into_vec()).prefix(), Ok(prefix));
        }
        // fd00::/8 with an octet beyond its length.
        assert!(Reader::new(&[0xd8, 54, 0x82, 8, 0x42, 0xfd, 1]).prefix().is_err());
    }
}
