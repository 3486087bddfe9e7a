//! The two envelopes of signed structures: octets with a signature ([`Sealed`]), and octets with the signature
//! of the network's root or of an issuer that the root delegated to ([`Issued`]).
//!
//! The exact octets that were signed are kept, so what is passed on to others is always what was signed.

use crate::{
    codec::{Reader, Writer, check_size},
    error::DecodeError,
    identity::{NodeId, SigningSecret},
    network::{Delegation, DelegationError, Network, NetworkId, signer},
    wallclock::UnixTime,
};

/// `[content, signature]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    content: Vec<u8>,
    signature: [u8; 64],
}

impl Sealed {
    pub(crate) fn sign(content: Vec<u8>, key: &SigningSecret, context: &str, network: &NetworkId) -> Self {
        let signature = key.sign(context, network, &content);
        Self { content, signature }
    }

    pub(crate) fn verify(&self, signer: &NodeId, context: &str, network: &NetworkId) -> bool {
        signer.verify(context, network, &self.content, &self.signature)
    }

    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2).bytes(&self.content).bytes(&self.signature);
        w.into_vec()
    }

    /// At most `limit` octets.
    pub(crate) fn decode(bytes: &[u8], limit: usize) -> Result<Self, DecodeError> {
        check_size(bytes, limit)?;
        let mut r = Reader::new(bytes);
        r.array_of(2)?;
        let sealed = Self::read(&mut r)?;
        r.finish()?;
        Ok(sealed)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            content: r.bytes()?.to_vec(),
            signature: r.octets("signature")?,
        })
    }
}

/// `[content, signature, delegation or null]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    sealed: Sealed,
    delegation: Option<Delegation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IssuedError {
    BadSignature,
    Delegation(DelegationError),
}

impl Issued {
    /// Signed with the root's key (no delegation) or with an issuer's and its delegation.
    pub(crate) fn sign(
        content: Vec<u8>,
        issuer: &SigningSecret,
        delegation: Option<Delegation>,
        context: &str,
        network: &NetworkId,
    ) -> Self {
        Self {
            sealed: Sealed::sign(content, issuer, context, network),
            delegation,
        }
    }

    /// Whether the root signed it, or an issuer that may; `grace` is in seconds after the delegation's end.
    pub(crate) fn verify(
        &self,
        context: &str,
        network: &Network,
        now: UnixTime,
        grace: u64,
    ) -> Result<(), IssuedError> {
        let issuer =
            signer(network, self.delegation.as_ref(), now, grace).map_err(IssuedError::Delegation)?;
        if self.sealed.verify(&issuer, context, &network.id()) {
            Ok(())
        } else {
            Err(IssuedError::BadSignature)
        }
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.sealed.content()
    }

    pub(crate) fn delegation(&self) -> Option<&Delegation> {
        self.delegation.as_ref()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(3)
            .bytes(&self.sealed.content)
            .bytes(&self.sealed.signature);
        Delegation::write_option(self.delegation.as_ref(), &mut w);
        w.into_vec()
    }

    /// At most `limit` octets.
    pub(crate) fn decode(bytes: &[u8], limit: usize) -> Result<Self, DecodeError> {
        check_size(bytes, limit)?;
        let mut r = Reader::new(bytes);
        r.array_of(3)?;
        let sealed = Sealed::read(&mut r)?;
        let delegation = Delegation::read_option(&mut r)?;
        r.finish()?;
        Ok(Self { sealed, delegation })
    }
}
