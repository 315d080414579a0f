//! Connections are bounded in number, and a silent one does not stay.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::Counts;

/// How long nothing may move on a connection: half a minute of an idle browser, thrice the heartbeat of a stream.
/// A reader that takes nothing for so long is gone or hostile.
const SILENCE: Duration = Duration::from_secs(30);
/// Pause after a failed accept, which is nearly always a lack of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener with a number of places. While all are taken, new connections wait in the system's queue.
pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    silence: Duration,
    counts: Arc<Counts>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, connections: usize, counts: Arc<Counts>) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections)), silence: SILENCE, counts }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded, SocketAddr) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                // The semaphore is never closed; if it were, nobody could be served.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Small answers leave at once; a socket that cannot do that works all the same.
                    let _ = stream.set_nodelay(true);
                    self.counts.open.fetch_add(1, Relaxed);
                    let silence = Silence::new(self.silence);
                    return (Guarded { stream, silence, counts: self.counts.clone(), _place: place }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "无法接受新连接 a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Runs out when nothing moves for so long.
struct Silence {
    length: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Silence {
    fn new(length: Duration) -> Self {
        Self { length, sleep: Box::pin(tokio::time::sleep(length)) }
    }

    #[allow(clippy::disallowed_methods)] // this loop owns the clock
    fn moved(&mut self) {
        self.sleep.as_mut().reset(Instant::now() + self.length);
    }
}

/// A connection that ends when nothing moves, and gives its place back.
pub(super) struct Guarded {
    stream: TcpStream,
    silence: Silence,
    counts: Arc<Counts>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Relaxed);
    }
}

impl Guarded {
    /// Moves the end of patience when something moved, and ends when it is reached.
    fn watch<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.silence.moved();
            return moved;
        }
        match self.silence.sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(cx, moved)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, moved)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, moved)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use axum::serve::Listener as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn bounded(connections: usize, silence: Duration) -> (Bounded, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (Bounded { silence, ..Bounded::new(listener, connections, Arc::default()) }, addr)
    }

    #[tokio::test]
    async fn a_silent_connection_ends_and_a_slow_one_does_not() {
        let silence = Duration::from_millis(1200);
        let (mut listener, addr) = bounded(2, silence).await;
        let mut client = TcpStream::connect(addr).await.unwrap();
        let (mut server, _) = listener.accept().await;
        let mut byte = [0; 1];
        // Slower than patience altogether, faster than patience each time.
        for _ in 0..4 {
            tokio::time::sleep(silence / 3).await;
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read(&mut byte).await.unwrap(), 1);
        }
        let ended = server.read(&mut byte).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn places_are_bounded_and_given_back() {
        let (mut listener, addr) = bounded(1, SILENCE).await;
        let counts = listener.counts.clone();
        let _clients = (TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap());
        let first = listener.accept().await;
        assert_eq!(counts.open.load(SeqCst), 1);
        let waited = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(waited.is_err(), "the only place is taken");
        drop(first);
        let second = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await;
        assert!(second.is_ok());
        assert_eq!(counts.open.load(SeqCst), 1);
    }
}
