//! On Android and iOS no program makes devices: the system's VPN service does, and the app hands over what it got
//! ([`crate::tun::TunSlot`]).

use super::DeviceConfig;
use crate::{
    system::Readable,
    tun::{TunError, TunQueue},
};
use std::{convert::Infallible, io};

/// There is none.
#[derive(Debug)]
pub struct Device(Infallible);

impl Device {
    pub async fn open(_: &DeviceConfig) -> Result<Self, TunError> {
        Err(TunError::Given)
    }
}

impl TunQueue for Device {
    fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn send(&self, _: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    fn readable(&self) -> Readable<'_> {
        match self.0 {}
    }

    fn name(&self) -> Option<&str> {
        match self.0 {}
    }
}
