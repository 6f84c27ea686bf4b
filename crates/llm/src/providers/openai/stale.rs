//! Connections that have gone stale: a server closes what has been idle for some seconds, just as the next request
//! leaves on it. Nothing has read that request, so it may be sent again.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tower::{Layer, Service};

/// A reset says that nobody has read what was sent: whoever has read it closes in another way. It comes after one way
/// there and back.
const RESET_WITHIN: Duration = Duration::from_secs(2);
/// A connection that is closed in the usual way was closed before the request arrived, if that is seen at once.
const CLOSED_WITHIN: Duration = Duration::from_millis(250);

tokio::task_local! {
    /// Whether a connection was opened for the request that this task sends.
    static OPENED: Arc<AtomicBool>;
}

/// Runs what sends one request. Says besides its result whether a connection was opened for it.
pub(super) async fn watched<T>(sending: impl Future<Output = T>) -> (T, bool) {
    let opened = Arc::new(AtomicBool::new(false));
    let result = OPENED.scope(Arc::clone(&opened), sending).await;
    (result, opened.load(Relaxed))
}

/// Whether an error that came `after` a request was sent, on a connection that had been used before, shows that the
/// request was not read.
pub(super) fn is_unread(error: &reqwest::Error, after: Duration) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
            return matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe) && after < RESET_WITHIN;
        }
        // The words of hyper, whose types are not ours to look at.
        if cause.to_string().contains("connection closed before message completed") {
            return after < CLOSED_WITHIN;
        }
        next = cause.source();
    }
    false
}

/// Takes note of every connection that is opened, also in a place of its own.
#[derive(Clone, Debug)]
pub(super) struct Noted(pub(super) Arc<AtomicBool>);

impl<S> Layer<S> for Noted {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting(inner, Arc::clone(&self.0))
    }
}

/// What opens connections, watched.
#[derive(Clone, Debug)]
pub(super) struct Noting<S>(S, Arc<AtomicBool>);

impl<S, R> Service<R> for Noting<S>
where
    S: Service<R>,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let opened = OPENED.try_with(Arc::clone).ok();
        let (connecting, connected) = (self.0.call(request), Arc::clone(&self.1));
        Box::pin(async move {
            let connection = connecting.await;
            connected.fetch_or(connection.is_ok(), Relaxed);
            if let (Ok(_), Some(opened)) = (&connection, opened) {
                opened.store(true, Relaxed);
            }
            connection
        })
    }
}
