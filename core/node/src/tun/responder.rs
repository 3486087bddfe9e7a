//! Stands in for a TUN device when the node runs without one: answers echo requests, so that the node can still
//! be reached and measured, and swallows everything else.

use super::TunQueue;
use rustix::event::EventfdFlags;
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

/// Answers waiting to be read; more are dropped.
const WAITING: usize = 64;
const ICMPV6: u8 = 58;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// Octets of the IPv6 header.
const HEADER: usize = 40;

#[derive(Debug)]
pub struct Responder {
    answers: Mutex<VecDeque<Vec<u8>>>,
    /// Counts the answers.
    ready: OwnedFd,
}

impl Responder {
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE;
        Ok(Self {
            answers: Mutex::default(),
            ready: rustix::event::eventfd(0, flags)?,
        })
    }
}

impl TunQueue for Responder {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // Empty: "would block", which is just what we say then.
        rustix::io::read(&self.ready, &mut [0_u8; 8])?;
        let answer = self
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(answer) = answer else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let length = answer.len().min(buffer.len());
        buffer[..length].copy_from_slice(&answer[..length]);
        Ok(length)
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        let Some(answer) = echo_reply(packet) else {
            return Ok(());
        };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() < WAITING {
            answers.push_back(answer);
            rustix::io::write(&self.ready, &1_u64.to_ne_bytes())?;
        }
        Ok(())
    }

    fn readable(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    fn name(&self) -> Option<&str> {
        None
    }
}

/// The answer to an ICMPv6 echo request (RFC 4443 section 4.2).
fn echo_reply(request: &[u8]) -> Option<Vec<u8>> {
    let well_formed = request.len() >= HEADER + 8
        && request[0] >> 4 == 6
        && request[6] == ICMPV6
        && request[HEADER] == ECHO_REQUEST
        && request[HEADER + 1] == 0;
    // Nobody may make us answer to, or as, a multicast address.
    if !well_formed || request[8] == 0xff || request[24] == 0xff {
        return None;
    }
    let mut reply = request.to_vec();
    reply[7] = 64;
    reply[8..24].copy_from_slice(&request[24..40]);
    reply[24..40].copy_from_slice(&request[8..24]);
    reply[HEADER] = ECHO_REPLY;
    // Only the type has changed what the checksum covers (the addresses are the same set): RFC 1624.
    let old = !u16::from_be_bytes([request[HEADER + 2], request[HEADER + 3]]);
    let sum = u32::from(old) + u32::from(!(u16::from(ECHO_REQUEST) << 8)) + (u32::from(ECHO_REPLY) << 8);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    reply[HEADER + 2..HEADER + 4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    Some(reply)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Internet checksum over the pseudo header and the payload; zero when the packet's is right.
    fn checksum(packet: &[u8]) -> u16 {
        let payload = &packet[HEADER..];
        let mut sum = payload.len() as u32 + u32::from(ICMPV6);
        for pair in packet[8..HEADER].chunks(2).chain(payload.chunks(2)) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    fn request(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, (8 + payload.len()) as u8, ICMPV6, 3];
        packet.extend((0..16).map(|n| if n == 0 { 0xfd } else { n }));
        packet.extend((0..16).map(|n| if n == 0 { 0xfd } else { 100 + n }));
        packet.extend([ECHO_REQUEST, 0, 0, 0, 1, 2, 3, 4]);
        packet.extend(payload);
        let sum = checksum(&packet);
        packet[HEADER + 2..HEADER + 4].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn echo_request_is_answered_with_a_right_checksum() {
        let responder = Responder::new().unwrap();
        let mut buffer = [0; 200];
        assert_eq!(
            responder.receive(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        for payload in [&b""[..], b"x", b"some payload", &[0xff; 64]] {
            let request = request(payload);
            responder.send(&request).unwrap();
            let length = responder.receive(&mut buffer).unwrap();
            let reply = &buffer[..length];
            assert_eq!(reply[8..24], request[24..40]);
            assert_eq!(reply[24..40], request[8..24]);
            assert_eq!(reply[HEADER], ECHO_REPLY);
            assert_eq!(reply[HEADER + 4..], request[HEADER + 4..]);
            assert_eq!(checksum(reply), 0);
        }
        assert_eq!(
            responder.receive(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn other_packets_are_swallowed() {
        let responder = Responder::new().unwrap();
        let mut other = request(b"x");
        other[6] = 17;
        let mut multicast = request(b"x");
        multicast[24] = 0xff;
        for packet in [&other[..], &multicast, &[], &[0x60], &request(b"")[..HEADER + 7]] {
            responder.send(packet).unwrap();
        }
        assert!(responder.receive(&mut [0; 200]).is_err());
    }

    #[test]
    fn flood_is_bounded() {
        let responder = Responder::new().unwrap();
        (0..10 * WAITING).for_each(|_| responder.send(&request(b"x")).unwrap());
        let answered = (0..10 * WAITING)
            .filter(|_| responder.receive(&mut [0; 200]).is_ok())
            .count();
        assert_eq!(answered, WAITING);
    }
}
