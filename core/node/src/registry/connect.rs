//! Connections to registries: by sockets that the embedder has seen, through the proxy that the environment names
//! (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), with TLS where the address asks for it.

use crate::sockets::{SocketError, Sockets};
use hyper::{
    Uri,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{Domain, Type};
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower::Service;

/// For everything until requests can be made.
const CONNECT: Duration = Duration::from_secs(5);
/// An address that does not answer within this gets company by the next one (RFC 8305).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// As the HTTP client passes it on.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

#[derive(Clone)]
pub(super) struct Connector {
    tcp: Tcp,
    tls: TlsConnector,
    proxies: Arc<Matcher>,
}

impl Connector {
    pub(super) fn new(sockets: Sockets, tls: ClientConfig) -> Self {
        Self {
            tcp: Tcp { sockets },
            tls: TlsConnector::from(Arc::new(tls)),
            proxies: Arc::new(Matcher::from_env()),
        }
    }

    /// The proxy on the way to `uri`.
    pub(super) fn proxy(&self, uri: &Uri) -> Option<Intercept> {
        self.proxies.intercept(uri)
    }

    async fn connect(mut self, uri: Uri) -> Result<Link, BoxError> {
        let proxy = self.proxy(&uri);
        if proxy
            .as_ref()
            .is_some_and(|p| p.uri().scheme_str() != Some("http"))
        {
            return Err("only proxies with an http:// address are supported".into());
        }
        let secure = uri.scheme_str() == Some("https");
        let stream = match &proxy {
            Some(proxy) if secure => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                tunnel.call(uri.clone()).await?
            }
            Some(proxy) => self.tcp.call(proxy.uri().clone()).await?,
            None => self.tcp.call(uri.clone()).await?,
        };
        let stream: Box<dyn Stream> = if secure {
            let name = ServerName::try_from(host(&uri)?.to_owned())?;
            Box::new(self.tls.connect(name, stream.into_inner()).await?)
        } else {
            Box::new(stream.into_inner())
        };
        Ok(Link {
            stream: TokioIo::new(stream),
            by_proxy: proxy.is_some() && !secure,
        })
    }
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = BoxError;
    type Future = Connecting<Link>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async {
            timeout(CONNECT, connecting)
                .await
                .map_err(|_| "it does not answer")?
        })
    }
}

/// Without TLS, to the address's own host.
#[derive(Clone)]
struct Tcp {
    sockets: Sockets,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let sockets = self.sockets.clone();
        Box::pin(async move {
            let usual = if uri.scheme_str() == Some("https") {
                443
            } else {
                80
            };
            let port = uri.port_u16().unwrap_or(usual);
            let addresses = tokio::net::lookup_host((host(&uri)?, port)).await?;
            Ok(TokioIo::new(first_to_answer(&sockets, addresses).await?))
        })
    }
}

/// Without the brackets of an IPv6 address.
fn host(uri: &Uri) -> Result<&str, BoxError> {
    let host = uri.host().ok_or("the address names no host")?;
    Ok(host.trim_start_matches('[').trim_end_matches(']'))
}

async fn first_to_answer(
    sockets: &Sockets,
    addresses: impl Iterator<Item = SocketAddr>,
) -> io::Result<TcpStream> {
    let mut waiting = in_turn(addresses);
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.spawn(connect(sockets.clone(), address));
        }
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                // The next address would be refused as well.
                Some(Ok(Err(error))) if SocketError::refusal(&error).is_some() => return Err(error),
                Some(Ok(Err(error))) => failure = error,
                Some(Err(crashed)) => failure = crashed.into(),
                None => return Err(failure),
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if !waiting.is_empty() => {}
        }
    }
}

/// The families by turns, in the order in which the system named them.
fn in_turn(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) = {
        let mut addresses = addresses.peekable();
        let ipv6 = addresses.peek().is_some_and(SocketAddr::is_ipv6);
        addresses.partition(|address| address.is_ipv6() == ipv6)
    };
    let mut mixed = VecDeque::with_capacity(first.len() + second.len());
    while !first.is_empty() || !second.is_empty() {
        mixed.extend(first.pop_front());
        mixed.extend(second.pop_front());
    }
    mixed
}

async fn connect(sockets: Sockets, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = sockets.open(Domain::for_address(address), Type::STREAM)?;
    socket.set_nonblocking(true)?;
    let stream = TcpSocket::from_std_stream(socket.into()).connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that requests can be made over.
pub(super) struct Link {
    stream: TokioIo<Box<dyn Stream>>,
    /// Its other end is a proxy, which wants whole addresses.
    by_proxy: bool,
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.by_proxy)
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sockets::tests::Counting;
    use std::sync::atomic::Ordering;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let (a, b, c) = (address("[::1]:1"), address("[::2]:1"), address("1.1.1.1:1"));
        assert_eq!(in_turn([a, b, c].into_iter()), [a, c, b]);
        assert_eq!(in_turn([c, a, b].into_iter()), [c, a, b]);
    }

    fn connector(proxy: &str) -> Connector {
        let tls = super::super::tls::client_config(&super::super::tls::Trust::NoTls).unwrap();
        Connector {
            proxies: Arc::new(Matcher::builder().all(proxy).build()),
            ..Connector::new(Sockets::default(), tls)
        }
    }

    #[tokio::test]
    async fn proxy_is_asked_for_registries_with_and_without_tls() {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = proxy.local_addr().unwrap();
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let connector = connector(&format!("http://user:secret@{address}"));

        let link = connector
            .clone()
            .connect(uri("http://registry.invalid/"))
            .await
            .unwrap();
        assert!(link.connected().is_proxied(), "it would ask for a path alone");
        drop(proxy.accept().await.unwrap());

        let asked = tokio::spawn(async move {
            let (mut client, _) = proxy.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(client.read_u8().await.unwrap());
            }
            // What comes next is not for the proxy.
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let handshake = client.read_u8().await.unwrap();
            (String::from_utf8(request).unwrap(), handshake)
        });
        assert!(connector.connect(uri("https://registry.invalid/")).await.is_err());
        let (request, handshake) = asked.await.unwrap();
        assert!(request.starts_with("CONNECT registry.invalid:443 "), "{request}");
        assert!(
            request
                .to_ascii_lowercase()
                .contains("proxy-authorization: basic "),
            "{request}"
        );
        assert_eq!(handshake, 22);

        let socks = super::tests::connector("socks5://127.0.0.1:1");
        assert!(socks.connect(uri("http://registry.invalid/")).await.is_err());
    }

    #[tokio::test]
    async fn address_that_answers_is_found_behind_one_that_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let bad = {
            let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
            closed.local_addr().unwrap()
        };
        let counting = Arc::new(Counting::default());
        let sockets = Sockets::protected_by(counting.clone());
        let stream = first_to_answer(&sockets, [bad, good].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(counting.asked.load(Ordering::SeqCst), 2);
        counting.refuses.store(true, Ordering::SeqCst);
        let error = first_to_answer(&sockets, [bad, good].into_iter())
            .await
            .unwrap_err();
        assert_eq!(SocketError::refusal(&error), Some("no"));
        assert_eq!(counting.asked.load(Ordering::SeqCst), 3);
        assert!(first_to_answer(&sockets, [].into_iter()).await.is_err());
    }
}
