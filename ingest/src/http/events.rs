//! Server-sent events: the live feed over HTTP.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::problem::{Problem, UNAVAILABLE};
use super::query::{Params, bad};
use super::{App, Counts};
use crate::feeds::{Feed, Next, TOPICS, Topics};
use crate::intake::cut;

/// Time between heartbeats when nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The live feed as server-sent events.
///
/// `alarm` carries one alarm, `gateway` one gateway without lanes and health, `cells` the cells of one quantity
/// that changed. `reset` means that events were missed: read the snapshot again. Ids are `{run}-{n}`; with
/// Last-Event-ID the stream goes on where it broke as long as the ring of 10,000 events still holds the next one.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "state",
    params(
        ("topics" = Option<String>, Query, description = "Comma-separated: alarm, cells, gateway. All when absent."),
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event seen.")
    ),
    responses(
        (status = 200, description = "A stream that does not end", content_type = "text/event-stream", body = String),
        (status = 400, description = "Unknown topic or parameter", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "All places for streams are taken", content_type = "application/problem+json", body = Problem)
    )
)]
pub(super) async fn events(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["topics"])?;
    let topics = match params.text("topics") {
        None => Topics::ALL,
        Some(list) => Topics::parse(list).map_err(|word| {
            let (word, known) = (cut(&word, 40), TOPICS.join(", "));
            bad("topics", &format!("{word:?} is not one of: {known}"), &format!("{word:?} 不在 {known} 之中"))
        })?,
    };
    let place = app.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            UNAVAILABLE,
            "all places for event streams are taken; try again later",
            "事件流名额已满，请稍后再试",
        )
    })?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let (position, reset) = app.feed.position(last);
    app.counts.streams.fetch_add(1, Relaxed);
    let mut listener = Listener {
        newest: app.feed.watch(),
        feed: app.feed.clone(),
        stopping: app.stopping.clone(),
        topics,
        position,
        ready: VecDeque::new(),
        _open: Open { counts: app.counts.clone(), _place: place },
    };
    if reset {
        listener.reset();
    }
    let stream = stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // Proxies in between must not hold events back.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

/// Counts an open stream and holds its place.
struct Open {
    counts: Arc<Counts>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counts.streams.fetch_sub(1, Relaxed);
    }
}

/// One stream: a position in the feed and the events read from it but not yet written.
struct Listener {
    feed: Arc<Feed>,
    newest: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    topics: Topics,
    position: u64,
    /// At most [`crate::feeds::MAX_AT_ONCE`].
    ready: VecDeque<Event>,
    _open: Open,
}

impl Listener {
    /// The next event; `None` when the service stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if *self.stopping.borrow() {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            // Marked as seen before asking, so that an event in between wakes us again.
            self.newest.mark_unchanged();
            match self.feed.after(self.position, self.topics) {
                Next::Events { events, position } => {
                    let moved = position != self.position;
                    self.position = position;
                    for event in events {
                        let id = self.feed.id(event.number);
                        self.ready.push_back(Event::default().event(event.kind).id(id).data(&event.data));
                    }
                    if moved {
                        continue;
                    }
                }
                Next::Reset { position } => {
                    self.position = position;
                    self.reset();
                    continue;
                }
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                _ = self.stopping.changed() => {}
            }
        }
    }

    fn reset(&mut self) {
        let id = self.feed.id(self.position);
        self.ready.push_back(Event::default().event("reset").id(id).data("{}"));
    }
}
