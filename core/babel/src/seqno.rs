//! Sequence numbers, compared modulo 2^16 (RFC 8966 section 3.2.1).

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seqno(pub(crate) u16);

impl Seqno {
    /// Strictly newer. Two numbers exactly 2^15 apart are newer neither way.
    pub(crate) fn newer_than(self, other: Self) -> bool {
        self.distance(other) > 0
    }

    /// How far `self` is ahead of `other`; negative when behind.
    pub(crate) fn distance(self, other: Self) -> i16 {
        i16::from_ne_bytes(self.0.wrapping_sub(other.0).to_ne_bytes())
    }

    pub(crate) fn next(self) -> Self {
        self.after(1)
    }

    pub(crate) fn after(self, steps: u16) -> Self {
        Self(self.0.wrapping_add(steps))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Seqno;

    #[test]
    fn numbers_wrap() {
        assert!(Seqno(0).newer_than(Seqno(65535)));
        assert!(!Seqno(65535).newer_than(Seqno(0)));
        assert!(Seqno(32767).newer_than(Seqno(0)));
        assert!(!Seqno(7).newer_than(Seqno(7)));
        assert!(!Seqno(32768).newer_than(Seqno(0)));
        assert!(!Seqno(0).newer_than(Seqno(32768)));
        assert_eq!(Seqno(65535).next(), Seqno(0));
    }
}
