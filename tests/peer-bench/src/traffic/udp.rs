//! UDP at a chosen rate, and the search for the highest rate that gets through.

use super::Site;
use anyhow::{Context, Result};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn6, sendmmsg};
use socket2::{Domain, Socket, Type};
use std::{
    io::{ErrorKind, IoSlice, Read},
    net::SocketAddr,
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// A rate counts as carried when no larger part of its datagrams is lost.
pub const LOSS: f64 = 0.005;

/// Datagrams per system call at most.
const BATCH: usize = 64;
/// The sender sleeps this long between bursts: a spinning sender would take a core from the system under test.
const PAUSE: Duration = Duration::from_micros(300);
/// What has not arrived after this is lost.
const DRAIN: Duration = Duration::from_millis(80);
/// The search ends when the answer is known to this factor, or after so many trials.
const PRECISION: f64 = 1.06;
const TRIALS: usize = 10;
/// A higher rate than any system here gets.
const FLOOD: f64 = 2e6;

/// Outcome of sending at one rate.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// Datagrams a second that were really sent.
    sent: f64,
    received: f64,
}

impl Trial {
    fn carried(&self) -> bool {
        self.received >= self.sent * (1.0 - LOSS)
    }
}

/// The highest rate of datagrams with `size` octets of data, in datagrams a second, at which no more than
/// [`LOSS`] are lost; each rate is tried for `length`.
pub fn highest_rate(from: &Site, to: &Site, size: usize, length: Duration) -> Result<f64> {
    let receiver = to.netns.within(|| receiver(to))??;
    let at = receiver
        .local_addr()?
        .as_socket_ipv6()
        .context("no IPv6 address")?;
    let sender = from.netns.within(|| sender(at.into()))??;
    let mut mark = 0;
    search(|rate| {
        mark += 1;
        trial(&sender, &receiver, size, rate, length, mark)
    })
}

/// First a flood, to learn the order of magnitude; then the bounds are drawn together.
fn search(mut trial: impl FnMut(f64) -> Result<Trial>) -> Result<f64> {
    let flood = trial(FLOOD)?;
    if flood.carried() {
        return Ok(flood.sent);
    }
    let (mut low, mut high) = (0.0, flood.sent);
    let mut rate = flood.received * 0.9;
    for _ in 0..TRIALS {
        let outcome = trial(rate)?;
        // The sender may not have been able to send as fast as asked.
        if outcome.carried() {
            low = f64::max(low, outcome.sent.min(rate));
        } else {
            high = f64::min(high, outcome.sent.min(rate));
        }
        if low > 0.0 && high / low < PRECISION {
            break;
        }
        rate = if low > 0.0 {
            (low * high).sqrt()
        } else {
            high * 0.6
        };
        if rate < 10.0 {
            break;
        }
    }
    Ok(low)
}

fn receiver(site: &Site) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    socket.bind(&SocketAddr::from((site.address, 0)).into())?;
    // As much as an unprivileged user gets.
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket)
}

fn sender(to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    socket.connect(&to.into()).context("no route for UDP")?;
    socket.set_send_buffer_size(4 << 20)?;
    Ok(socket)
}

/// `mark` tells this trial's datagrams from late ones of earlier trials.
fn trial(
    sender: &Socket,
    receiver: &Socket,
    size: usize,
    rate: f64,
    length: Duration,
    mark: u8,
) -> Result<Trial> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counter = scope.spawn(|| count(receiver, mark, &over));
        let sent = send(sender, size, rate, length, mark);
        std::thread::sleep(DRAIN);
        over.store(true, Ordering::Relaxed);
        let received = counter.join().ok().context("the receiver panicked")?;
        let (sent, seconds) = sent?;
        Ok(Trial {
            sent: sent as f64 / seconds,
            received: received as f64 / seconds,
        })
    })
}

/// Datagrams sent, and the seconds that took.
fn send(socket: &Socket, size: usize, rate: f64, length: Duration, mark: u8) -> Result<(u64, f64)> {
    let data = vec![mark; size];
    let slices = [[IoSlice::new(&data)]; BATCH];
    let no_address: [Option<SockaddrIn6>; BATCH] = [None; BATCH];
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let (start, mut sent) = (Instant::now(), 0);
    loop {
        let elapsed = start.elapsed();
        if elapsed >= length {
            return Ok((sent, elapsed.as_secs_f64()));
        }
        let due = (rate * elapsed.as_secs_f64()) as u64;
        let burst = (due.saturating_sub(sent) as usize).min(BATCH);
        if burst == 0 {
            std::thread::sleep(PAUSE);
            continue;
        }
        let result = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices[..burst],
            &no_address[..burst],
            [],
            MsgFlags::empty(),
        );
        match result {
            Ok(results) => sent += results.count() as u64,
            // A full queue loses a datagram, which the receiver will miss.
            Err(nix::Error::ENOBUFS | nix::Error::ECONNREFUSED) => sent += 1,
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error).context("cannot send UDP"),
        }
    }
}

fn count(mut socket: &Socket, mark: u8, over: &AtomicBool) -> u64 {
    let (mut buffer, mut received) = ([0; 2048], 0);
    loop {
        match socket.read(&mut buffer) {
            Ok(1..) => received += u64::from(buffer[0] == mark),
            Ok(0) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if over.load(Ordering::Relaxed) {
                    return received;
                }
            }
            // An ICMP error about an earlier datagram, for instance.
            Err(_) if over.load(Ordering::Relaxed) => return received,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that carries up to `limit` datagrams a second and loses the rest.
    fn found(limit: f64, fastest_sender: f64) -> Result<f64> {
        search(|rate| {
            let sent = rate.min(fastest_sender);
            let received = sent.min(limit);
            Ok(Trial { sent, received })
        })
    }

    #[test]
    fn search_finds_the_limit() -> Result<()> {
        for limit in [900.0, 50_000.0, 333_333.0] {
            let rate = found(limit, 400_000.0)?;
            assert!(
                rate > limit / PRECISION / 1.01 && rate <= limit * 1.01,
                "{rate} for {limit}"
            );
        }
        Ok(())
    }

    #[test]
    fn sender_is_the_limit_of_a_wire_that_loses_nothing() -> Result<()> {
        assert_eq!(found(f64::INFINITY, 400_000.0)?, 400_000.0);
        Ok(())
    }

    #[test]
    fn what_loses_everything_carries_nothing() -> Result<()> {
        assert_eq!(found(0.0, 400_000.0)?, 0.0);
        Ok(())
    }

    #[test]
    fn a_collapse_under_load_is_climbed_down_from() -> Result<()> {
        // Beyond 1000 a second nearly nothing gets through.
        let rate = search(|rate| {
            let received = if rate <= 1000.0 { rate } else { 50.0 };
            Ok(Trial { sent: rate, received })
        })?;
        assert!((940.0..=1000.0).contains(&rate), "{rate}");
        Ok(())
    }
}
