//! The probe's end of one link: packets in and out, with all that the kernel says about them.

use crate::Router;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use osier_lab::{Error, Netns, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

pub(super) const PORT: u16 = 6696;
pub(super) const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 6);

/// A packet that the daemon sent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub link: usize,
    pub from: Ipv6Addr,
    pub to: Ipv6Addr,
    pub port: u16,
    pub hop_limit: i32,
    pub size: usize,
    pub at: Duration,
    pub tlvs: Vec<Value>,
    pub trailer: Vec<Value>,
    /// How many of the daemon's keys have signed it.
    pub signed_by: usize,
}

/// Where a packet claims to come from and goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub link: usize,
    pub from: Ipv6Addr,
    /// To the daemon itself; otherwise to the group.
    pub unicast: bool,
    pub port: u16,
    pub hop_limit: i32,
}

#[derive(Debug)]
pub(super) struct Link {
    netns: Netns,
    index: u32,
    socket: Socket,
    pub(super) daemon: Ipv6Addr,
}

impl Link {
    pub(super) fn open(daemon: &Router, end: &Router) -> Result<Self> {
        let interface = crate::interface_to(daemon);
        let text = end.netns.run(&format!("ip -o link show dev {interface}"))?;
        let index = text
            .split(':')
            .next()
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| Error::new(format!("no index in {text}")))?;
        Ok(Self {
            netns: end.netns.clone(),
            index,
            socket: open(&end.netns, index, PORT)?,
            daemon: daemon.netns.link_local(&crate::interface_to(end))?,
        })
    }

    pub(super) fn send(&self, envelope: Envelope, payload: &[u8]) -> Result<()> {
        let other;
        let socket = if envelope.port == PORT {
            &self.socket
        } else {
            other = open(&self.netns, self.index, envelope.port)?;
            &other
        };
        let to = if envelope.unicast { self.daemon } else { GROUP };
        let from = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: envelope.from.octets(),
            },
            ipi6_ifindex: self.index,
        };
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[
                ControlMessage::Ipv6PacketInfo(&from),
                ControlMessage::Ipv6HopLimit(&envelope.hop_limit),
            ],
            MsgFlags::empty(),
            Some(&SockaddrIn6::from(SocketAddrV6::new(to, PORT, 0, self.index))),
        )
        .map(drop)
        .map_err(|e| Error::new(format!("cannot send from {}: {e}", envelope.from)))
    }

    /// The next packet and its length, if one comes soon.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<(Seen, usize)> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrIn6>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )
        .ok()?;
        let address = message.address?;
        let mut seen = Seen {
            link: 0,
            from: address.ip(),
            to: Ipv6Addr::UNSPECIFIED,
            port: address.port(),
            hop_limit: 0,
            size: message.bytes,
            at: Duration::ZERO,
            tlvs: Vec::new(),
            trailer: Vec::new(),
            signed_by: 0,
        };
        for part in message.cmsgs().ok()? {
            match part {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    seen.to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => seen.hop_limit = limit,
                _ => {}
            }
        }
        Some((seen, message.bytes))
    }
}

/// A socket inside a namespace. Only a thread can enter one, so this takes a thread of its own.
fn open(netns: &Netns, index: u32, port: u16) -> Result<Socket> {
    let path = netns.path().to_owned();
    let failed = |e: std::io::Error| Error::new(format!("cannot open a socket in a namespace: {e}"));
    std::thread::spawn(move || {
        let file = std::fs::File::open(path)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        let socket = Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.bind_device_by_index_v6(NonZeroU32::new(index))?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_recv_buffer_size(1 << 21)?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0).into())?;
        if port == PORT {
            socket.join_multicast_v6(&GROUP, index)?;
        }
        Ok(socket)
    })
    .join()
    .map_err(|_| Error::new("the thread that opens sockets panicked"))?
    .map_err(failed)
}

impl Seen {
    /// The envelope, as cases match against it.
    pub(super) fn envelope(&self) -> Value {
        let hellos = self.tlvs.iter().filter(|tlv| tlv["type"] == "hello").count();
        let kinds: Vec<&Value> = self.tlvs.iter().map(|tlv| &tlv["type"]).collect();
        let macs = self.trailer.iter().filter(|tlv| tlv["type"] == "mac").count();
        let pcs = self.tlvs.iter().filter(|tlv| tlv["type"] == "pc").count();
        serde_json::json!({"link": self.link, "from": self.from.to_string(), "to": self.to.to_string(),
            "port": self.port, "hop_limit": self.hop_limit, "size": self.size, "hellos": hellos, "types": kinds,
            "macs": macs, "pcs": pcs, "signed_by": self.signed_by, "link_local": self.from.is_unicast_link_local()})
    }
}
