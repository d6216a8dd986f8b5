//! Connections: who is let in, how many, and for how long.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::reply::Site;
use crate::control::Client;

/// Connections at one time; more wait until one of them ends.
const MOST_CONNECTIONS: usize = 16;

/// Bytes that the head of a request has at most; longer ones are answered with 431.
const MOST_HEAD: usize = 8 << 10;

/// How long the head of a request may take, and how long a connection may be silent.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection is served; the answer under way then is still finished.
const CONNECTION: Duration = Duration::from_secs(25);

/// How long that answer may take.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// How long to leave the listener alone when there is no descriptor left for a connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(200);

/// Serves until `ended` is dropped.
pub(super) async fn serve(
    socket: std::net::TcpListener,
    address: SocketAddr,
    client: Client,
    ended: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    tokio::spawn(accept(listener, Arc::new(Site::new(address, client))));
    // Its end is an error, since nothing is ever sent.
    let _ = ended.await;
    Ok(())
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(&site), place));
            }
            // The client has gone again, or there is no descriptor left.
            Err(_) => sleep(EXHAUSTED_WAIT).await,
        }
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>, place: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.reply(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    // What goes wrong here is between the client and its network.
    if timeout(CONNECTION, served.as_mut()).await.is_err() {
        served.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER, served).await;
    }
    drop(place);
}
