//! TCP streams that send as fast as they can.

use super::Site;
use anyhow::{Context, Result};
use osier_lab::wait_until;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

const BUFFER: usize = 256 << 10;
const CONNECT: Duration = Duration::from_secs(10);

/// Running streams; they end when dropped.
pub struct Streams {
    received: Arc<AtomicU64>,
    sockets: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Streams {
    /// Opens `count` streams from one site to the other and waits until something has arrived.
    pub fn start(from: &Site, to: &Site, count: usize) -> Result<Self> {
        let at = SocketAddr::from((to.address, 0));
        let listener = to.netns.within(|| TcpListener::bind(at))?;
        let listener = listener.with_context(|| format!("cannot listen on {at}"))?;
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        let mut streams = Self {
            received: Arc::default(),
            sockets: Vec::new(),
            threads: Vec::new(),
        };
        for _ in 0..count {
            let sender = from.netns.within(|| TcpStream::connect_timeout(&at, CONNECT))?;
            let sender = sender.with_context(|| format!("no TCP connection to {at}"))?;
            let receiver = accept(&listener)?;
            streams
                .sockets
                .extend([sender.try_clone()?, receiver.try_clone()?]);
            streams.spawn("sender", move |_| send(sender))?;
            streams.spawn("receiver", move |received| receive(receiver, received))?;
        }
        wait_until(CONNECT, "the streams carry data", || streams.received() > 0)?;
        Ok(streams)
    }

    /// Octets that have arrived so far, all streams together.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&AtomicU64) + Send + 'static) -> Result<()> {
        let received = self.received.clone();
        let thread = std::thread::Builder::new().name(name.into());
        self.threads.push(thread.spawn(move || work(&received))?);
        Ok(())
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The connection is made, but the last packet of its handshake may still be on its way.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < CONNECT => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error).context("no connection arrived"),
        }
    }
}

fn send(mut socket: TcpStream) {
    let data = vec![0x5a; BUFFER];
    // Ends when the socket is shut down, here or there.
    while socket.write_all(&data).is_ok() {}
}

fn receive(mut socket: TcpStream, received: &AtomicU64) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = socket.read(&mut buffer) {
        received.fetch_add(length as u64, Ordering::Relaxed);
    }
}
