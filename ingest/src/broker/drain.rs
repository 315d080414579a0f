//! Lets publishes finish that arrived just before their connection ended.
//!
//! ntex-mqtt 9.0.0 shuts a connection's handlers down as soon as the peer is gone. A publish that was read but not
//! begun by then panics in ntex ("Pipeline is shutting down"): contained in its task, but loud, and the publish
//! is gone. So the shutdown waits here, for a moment, until what was read is done.

use std::cell::Cell;
use std::time::Duration;

use ntex_service::{Ctx, Middleware, Service};
use tokio::sync::Notify;

/// How long publishes of a gone peer may take: a few group commits on a slow disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often other tasks of the thread get their turn first: what was read last is begun by one of them.
const TURNS: usize = 16;

/// Wraps the handlers of each connection.
pub(super) struct Drain;

impl<S, St> Middleware<S, St> for Drain {
    type Service = Drained<S>;

    fn create(&self, _: &St, service: S) -> Drained<S> {
        Drained { service, busy: Cell::new(0), ended: Cell::new(false), idle: Notify::new() }
    }
}

/// The handlers of one connection.
pub(super) struct Drained<S> {
    service: S,
    busy: Cell<usize>,
    ended: Cell<bool>,
    idle: Notify,
}

/// One call, counted from its first poll to its end, whichever way it ends.
struct Busy<'a, S>(&'a Drained<S>);

impl<S> Drop for Busy<'_, S> {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.idle.notify_one();
    }
}

impl<S, St, Req> Service<St, Req> for Drained<S>
where
    S: Service<St, Req>,
    S::Res: Default,
{
    type Res = S::Res;
    type Error = S::Error;

    async fn ready(&self, ctx: Ctx<'_, Self, St>) -> Result<(), S::Error> {
        ctx.ready(&self.service).await
    }

    async fn call(&self, request: Req, ctx: Ctx<'_, Self, St>) -> Result<S::Res, S::Error> {
        if self.ended.get() {
            return Ok(S::Res::default());
        }
        self.busy.set(self.busy.get() + 1);
        let _busy = Busy(self);
        ctx.call_nowait(&self.service, request).await
    }

    async fn shutdown(&self, ctx: Ctx<'_, Self, St>) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let drained = async {
            while self.busy.get() > 0 {
                self.idle.notified().await;
            }
        };
        if tokio::time::timeout(PATIENCE, drained).await.is_err() {
            tracing::debug!(busy = self.busy.get(), "publishes of a gone peer did not finish in time");
        }
        self.ended.set(true);
        ctx.shutdown(&self.service).await;
    }
}
