//! MAC keys of a running speaker.

use super::Mode;
use crate::babel_mode::Error;
use osier_babel::InterfaceId;

impl Mode {
    /// Puts the present keys in force on an interface; to be called before the speaker knows the interface.
    pub(super) fn authenticate(&mut self, id: InterfaceId) -> Result<(), Error> {
        let mac = &self.config.mac;
        let authentication = mac.is_on().then(|| mac.authentication(&self.keys)).transpose()?;
        self.speaker
            .set_authentication(id, authentication, self.clock.now());
        Ok(())
    }

    /// Reads the keys again. What is known of the neighbours stays, so nothing is lost while old and new keys
    /// have one in common with theirs. Bad files leave the old keys in force.
    pub(super) fn rekey(&mut self) {
        let loaded = self.config.mac.load().map_err(Error::from);
        let interfaces: Vec<InterfaceId> = self.ports.keys().copied().collect();
        let replaced = loaded.and_then(|keys| {
            self.keys = keys;
            interfaces.into_iter().try_for_each(|id| self.authenticate(id))
        });
        match replaced {
            Ok(()) => tracing::info!(keys = self.keys.len(), "MAC keys were read again"),
            Err(error) => tracing::error!("the MAC keys stay as they were: {error}"),
        }
    }
}
