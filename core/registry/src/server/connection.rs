//! One connection: its slot, its deadlines, and HTTP over it.

use super::{limits::client_key, metrics::Metrics, stopped};
use crate::Limits;
use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

/// The address that a connection comes from, for handlers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Open connections by client.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The slots that connections take.
pub(super) struct Connections {
    all: Arc<Semaphore>,
    /// `None` behind a proxy, whose one address stands for everybody.
    by_address: Option<Counts>,
    per_address: usize,
    metrics: Arc<Metrics>,
}

/// A slot; free again when dropped.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    address: Option<(Counts, IpAddr)>,
}

impl Connections {
    pub(super) fn new(limits: &Limits, behind_proxy: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            by_address: (!behind_proxy).then(Arc::default),
            per_address: limits.connections_per_address,
            metrics,
        }
    }

    pub(super) fn admit(&self, peer: IpAddr) -> Option<Slot> {
        let slot = self.find_slot(client_key(peer));
        match slot {
            Some(_) => self.metrics.connections.add(),
            None => self.metrics.connections_refused.add(),
        }
        slot
    }

    fn find_slot(&self, client: IpAddr) -> Option<Slot> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut slot = Slot {
            _permit: permit,
            address: None,
        };
        if let Some(table) = &self.by_address {
            let mut counts = table.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(client).or_default();
            if *count >= self.per_address {
                return None;
            }
            *count += 1;
            slot.address = Some((Arc::clone(table), client));
        }
        Some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some((table, client)) = &self.address else {
            return;
        };
        let mut counts = table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(client);
            }
        }
    }
}

pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    request_time: Duration,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let stream = Patience {
        stream,
        limit: request_time,
        waiting: None,
    };
    match acceptor {
        None => http(stream, peer, router, request_time, stopping).await,
        Some(acceptor) => {
            let stream = timeout(request_time, acceptor.accept(stream)).await??;
            http(stream, peer, router, request_time, stopping).await
        }
    }
}

async fn http<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    request_time: Duration,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Also closes connections that stay open with nothing on them.
        .header_read_timeout(request_time)
        .max_headers(64)
        .max_buf_size(32 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return done.map_err(io::Error::other),
        () = stopped(&mut stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await.map_err(io::Error::other)
}

/// A stream on which the other side must read what we write.
struct Patience {
    stream: TcpStream,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn watch<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patience {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patience {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
