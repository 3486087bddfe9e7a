//! Listening in, and worse.

/// What a host sees of what others send through it.
#[derive(Clone, Debug, Default)]
pub struct Tap {
    /// Datagrams as they came and as they left.
    pub datagrams: Vec<Vec<u8>>,
    /// What its packet path got out of them.
    pub opened: Vec<Vec<u8>>,
}

impl Tap {
    /// Whether the octets appear anywhere.
    pub fn saw(&self, octets: &[u8]) -> bool {
        let mut seen = self.datagrams.iter().chain(&self.opened);
        seen.any(|bytes| bytes.windows(octets.len()).any(|window| window == octets))
    }
}

/// What a hostile host does to a relay frame that it should pass on: what leaves instead.
pub type Tamper = fn(&[u8]) -> Vec<Vec<u8>>;
