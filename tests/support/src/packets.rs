//! TCP and UDP packets over IPv6 as a device gives them to us, with right checksums.

use core::net::Ipv6Addr;
use osier_proto::packet::checksum;

/// Where packets go; the ports of source and destination.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub ports: [u16; 2],
}

impl Flow {
    /// From `fd00:0:0:1::1` to `fd00:0:0:2::1`, each number with a port of its own.
    pub fn new(number: u8) -> Self {
        Self {
            source: Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 1),
            destination: Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 1),
            ports: [5000 + u16::from(number), 80],
        }
    }
}

/// A TCP segment and what of its IPv6 header matters.
#[derive(Clone, Debug)]
pub struct Segment {
    pub flow: Flow,
    pub traffic_class: u8,
    pub hop_limit: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub reserved: u8,
    pub flags: u8,
    pub window: u16,
    pub urgent: u16,
    pub options: Vec<u8>,
    /// Octets of payload that [`Segment::build`] makes up; they depend on the sequence number only.
    pub payload: usize,
}

impl Segment {
    /// An ACK with a time stamp and without payload.
    pub fn new(flow: Flow) -> Self {
        Self {
            flow,
            traffic_class: 0,
            hop_limit: 64,
            sequence: 0xffff_f000,
            acknowledgement: 7,
            reserved: 0,
            flags: 0x10,
            window: 500,
            urgent: 0,
            // Two no-operations and a time stamp.
            options: [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8].to_vec(),
            payload: 0,
        }
    }

    pub fn build(&self) -> Vec<u8> {
        let octets = 0..self.payload as u32;
        let payload: Vec<u8> = octets
            .map(|i| (self.sequence.wrapping_add(i) % 251) as u8)
            .collect();
        self.carrying(&payload)
    }

    /// The same with a payload of one's own.
    pub fn carrying(&self, payload: &[u8]) -> Vec<u8> {
        let mut segment = Vec::new();
        for port in self.flow.ports {
            segment.extend(port.to_be_bytes());
        }
        segment.extend(self.sequence.to_be_bytes());
        segment.extend(self.acknowledgement.to_be_bytes());
        segment.push(((20 + self.options.len()) as u8 / 4) << 4 | self.reserved);
        segment.push(self.flags);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0, 0]);
        segment.extend(self.urgent.to_be_bytes());
        segment.extend(&self.options);
        segment.extend(payload);
        let sum = checksum(self.flow.source, self.flow.destination, 6, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut packet = ipv6(self.flow, 6, self.hop_limit, &segment);
        packet[1] = self.traffic_class << 4;
        packet
    }
}

/// A UDP datagram of so many octets, counted upwards from `fill`.
pub fn datagram(flow: Flow, length: usize, fill: u8) -> Vec<u8> {
    let payload: Vec<u8> = (0..length).map(|i| fill.wrapping_add(i as u8)).collect();
    udp(flow, &payload)
}

pub fn udp(flow: Flow, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    for port in flow.ports {
        segment.extend(port.to_be_bytes());
    }
    segment.extend((8 + payload.len() as u16).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    let sum = match checksum(flow.source, flow.destination, 17, &segment) {
        0 => 0xffff,
        sum => sum,
    };
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv6(flow, 17, 64, &segment)
}

pub fn ipv6(flow: Flow, next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, hop_limit]);
    packet.extend(flow.source.octets());
    packet.extend(flow.destination.octets());
    packet.extend(payload);
    packet
}

fn addresses(packet: &[u8]) -> (Ipv6Addr, Ipv6Addr) {
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&packet[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    (address(8), address(24))
}

pub fn has_right_checksum(packet: &[u8]) -> bool {
    let (source, destination) = addresses(packet);
    checksum(source, destination, packet[6], &packet[40..]) == 0
}

/// The sum of the pseudo-header, not complemented.
pub fn partial_checksum(packet: &[u8]) -> [u8; 2] {
    let words = packet[8..40]
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let mut sum = words.sum::<u32>() + u32::from(packet[6]) + packet.len() as u32 - 40;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_be_bytes()
}
