//! The HTTP face: API, event stream, metrics, console. The only folder that knows axum.
//!
//! # Layout
//! - [`listener`]: how many connections, and how long a silent one may stay
//! - [`problem`], [`query`], [`body`]: what goes wrong, and how questions and forms are read
//! - [`who`]: who asks, and whether they may; [`people`]: sessions, accounts, keys
//! - [`read`]: what is there now, readings and cells; [`curves`]: what is folded for a question: series, top cells,
//!   blind spots; [`write`]: SenML in, quarantine replay
//! - [`seals`]: what may be stamped and what was
//! - [`events`]: server-sent events
//! - [`tlog`]: the log of seals as tiles; [`witness`]: `ingest witness`, a server of its own
//! - [`guard`]: headers on every answer, and who may ask at all
//!
//! Routes and OpenAPI document come from the same `#[utoipa::path]`, so that they cannot diverge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::broker;
use crate::console::Console;
use crate::engine::Engine;
use crate::external::Link;
use crate::feeds::Feed;
use crate::office::Office;
use crate::people::People;
use crate::views::Surveys;

mod body;
mod curves;
mod events;
mod geojson;
mod guard;
mod listener;
mod people;
mod problem;
mod query;
mod read;
mod seals;
mod tlog;
mod who;
mod witness;
mod write;

use people::{accounts, own, passkeys, sessions};
use problem::{METHOD, NOT_FOUND, Problem};
use seals::{cases, code, delegations, devices, public};
use who::Peer;

pub(crate) use query::duration;
pub use witness::serve_witness;

/// How long connections may take to finish at the end.
const CLOSING: Duration = Duration::from_secs(3);

/// What every handler can reach.
struct App {
    engine: Engine,
    people: People,
    office: Option<Office>,
    feed: Arc<Feed>,
    console: Console,
    broker: Arc<broker::Counts>,
    link: Option<Arc<Link>>,
    /// Where the sensors are, and how they are.
    surveys: Surveys,
    /// Places for event streams.
    streams: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    document: String,
    counts: Arc<Counts>,
}

/// What the HTTP server counted since its start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answers by class of status, 1xx to 5xx.
    pub answers: [std::sync::atomic::AtomicU64; 5],
    /// Event streams open now.
    pub streams: std::sync::atomic::AtomicUsize,
    /// Connections open now.
    pub open: std::sync::atomic::AtomicUsize,
}

/// What the server is made of.
pub struct Parts {
    /// Answers questions and takes packs.
    pub engine: Engine,
    /// Knows who asks.
    pub people: People,
    /// Grants stamps, if there is an office of seals.
    pub office: Option<Office>,
    /// Where events come from.
    pub feed: Arc<Feed>,
    /// The console's files.
    pub console: Console,
    /// For `/metrics`.
    pub broker: Arc<broker::Counts>,
    /// The external broker, if there is one, for `/health`.
    pub link: Option<Arc<Link>>,
    /// Connections at once.
    pub connections: usize,
    /// Event streams at once.
    pub streams: usize,
}

/// A running HTTP server.
pub struct Http {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("addr", &self.addr).finish_non_exhaustive()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Watchfire ingest",
        description = "What a city's gateways and third-party sensors say. Times are integer milliseconds since 1970 UTC named *_ms; \
                       from and to take RFC 3339 too. Coordinates are WGS-84 degrees. Errors are RFC 9457 problem details with a Chinese \
                       detail beside the English one. 城市网关与第三方传感器数据接口。"
    ),
    tags(
        (name = "state", description = "What is there now 当前状态"),
        (name = "data", description = "Readings and aggregates 读数与聚合"),
        (name = "intake", description = "What comes in and what was refused 接入与隔离"),
        (name = "people", description = "Sessions, accounts, keys 会话、账户与密钥"),
        (name = "seals", description = "Seals: applications, grants, receipts, verification 印章：申请、授权、回执、核验"),
        (name = "system", description = "The service itself 服务自身")
    )
)]
struct Document;

/// All documented routes.
fn api() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(read::health))
        .routes(routes!(read::stats))
        .routes(routes!(read::gateways))
        .routes(routes!(read::gateway))
        .routes(routes!(read::sensors))
        .routes(routes!(read::sensor))
        .routes(routes!(read::readings))
        .routes(routes!(read::quantities))
        .routes(routes!(read::cells))
        .routes(routes!(curves::series_of_sensor))
        .routes(routes!(curves::series_of_cell))
        .routes(routes!(curves::top))
        .routes(routes!(curves::coverage))
        .routes(routes!(read::alarms))
        .routes(routes!(read::quarantine))
        .routes(routes!(write::replay))
        .routes(routes!(write::senml))
        .routes(routes!(events::events))
        .routes(routes!(sessions::session, sessions::enter, sessions::leave))
        .routes(routes!(sessions::enter_with_passkey))
        .routes(routes!(sessions::first))
        .routes(routes!(accounts::accounts, accounts::create))
        .routes(routes!(accounts::account, accounts::change))
        .routes(routes!(accounts::reset))
        .routes(routes!(accounts::take_passkey))
        .routes(routes!(own::choose))
        .routes(routes!(own::keys, own::add_key))
        .routes(routes!(own::retire_key))
        .routes(routes!(passkeys::passkeys, passkeys::add))
        .routes(routes!(passkeys::ask))
        .routes(routes!(passkeys::rename))
        .routes(routes!(passkeys::remove))
        .routes(routes!(public::trust))
        .routes(routes!(public::roots))
        .routes(routes!(devices::seals, devices::enrol))
        .routes(routes!(devices::timeline))
        .routes(routes!(devices::lock))
        .routes(routes!(devices::clear))
        .routes(routes!(devices::put_policy))
        .routes(routes!(cases::applications, cases::apply))
        .routes(routes!(cases::application))
        .routes(routes!(cases::to_sign))
        .routes(routes!(cases::approve))
        .routes(routes!(cases::reject))
        .routes(routes!(cases::cancel))
        .routes(routes!(cases::revoke))
        .routes(routes!(cases::carried))
        .routes(routes!(delegations::delegations, delegations::give))
        .routes(routes!(delegations::draft))
        .routes(routes!(delegations::withdraw))
        .routes(routes!(public::findings))
        .routes(routes!(public::impressions))
        .routes(routes!(code::code))
        .routes(routes!(public::picture))
        .routes(routes!(read::openapi))
        .routes(routes!(read::metrics))
}

fn router(parts: Parts, stopping: watch::Receiver<bool>) -> (Router, Arc<Counts>) {
    let (router, document) = api().split_for_parts();
    // A document of plain data has no way to fail.
    let document = document.to_json().unwrap_or_default();
    let counts = Arc::new(Counts::default());
    let tlog = parts.office.as_ref().map(|office| tlog::routes(office.tiles())).unwrap_or_default();
    let name = parts.people.site().map(|site| site.host().into());
    let app = Arc::new(App {
        engine: parts.engine,
        people: parts.people,
        office: parts.office,
        feed: parts.feed,
        console: parts.console,
        broker: parts.broker,
        link: parts.link,
        surveys: Surveys::default(),
        streams: Arc::new(Semaphore::new(parts.streams)),
        stopping,
        document,
        counts: counts.clone(),
    });
    let post = guard::Post { counts: counts.clone(), name };
    let router = router
        .route("/", get(page))
        // Addresses on paper and in a terminal: the page reads what follows #, which no server sees.
        .route("/first", get(page))
        .route("/verify", get(page))
        .route("/console/{*path}", get(asset))
        .merge(tlog)
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(post, guard::guard))
        .with_state(app);
    (router, counts)
}

impl Http {
    /// Listens on `addr`; port 0 takes a free one. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the system said to listening.
    pub async fn start(addr: SocketAddr, parts: Parts) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let connections = parts.connections;
        let (router, counts) = router(parts, stopping.clone());
        let listener = listener::Bounded::new(listener, connections, counts);
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>())
                .with_graceful_shutdown(stopped(stopping));
            if let Err(error) = served.await {
                tracing::error!(%error, "HTTP 服务异常结束 the HTTP server ended");
            }
        });
        Ok(Self { addr, stop, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends event streams, lets requests finish for a moment, and ends.
    pub async fn stop(mut self) {
        // Without receivers the server is gone already.
        let _ = self.stop.send(true);
        if tokio::time::timeout(CLOSING, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn page(app: axum::extract::State<Arc<App>>, headers: HeaderMap) -> Response {
    serve_asset(&app, "index.html", &headers)
}

async fn asset(
    app: axum::extract::State<Arc<App>>,
    axum::extract::Path(path): axum::extract::Path<String>,
    headers: HeaderMap,
) -> Response {
    serve_asset(&app, &path, &headers)
}

fn serve_asset(app: &App, path: &str, asked: &HeaderMap) -> Response {
    let Some(asset) = app.console.get(path) else {
        return nothing_at(&format!("/console/{path}")).into_response();
    };
    // The tag changes with every release, so asking each time is cheap and never stale.
    let headers = [(header::ETAG, asset.etag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == asset.etag.as_bytes());
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, asset.media_type)], asset.bytes.to_vec()).into_response()
}

async fn nothing(uri: Uri) -> Problem {
    nothing_at(uri.path())
}

fn nothing_at(path: &str) -> Problem {
    let shown = crate::intake::cut(path, 100);
    Problem::new(
        NOT_FOUND,
        format!("there is nothing at {shown:?}; the API is described at /api/v1/openapi.json"),
        format!("{shown:?} 处没有内容；接口说明见 /api/v1/openapi.json"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        METHOD,
        format!("{method} is not possible at {:?}; see /api/v1/openapi.json", uri.path()),
        format!("{:?} 不支持 {method}；见 /api/v1/openapi.json", uri.path()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_documented_with_its_answers() {
        let document: serde_json::Value = serde_json::to_value(api().into_openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 56);
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().unwrap() {
                let what = format!("{method} {path}");
                assert!(operation["tags"][0].is_string(), "{what} has no tag");
                assert!(
                    operation["summary"].is_string() || operation["description"].is_string(),
                    "{what} has no text"
                );
                let answers = operation["responses"].as_object().unwrap();
                assert!(answers.keys().any(|status| status.starts_with('2')), "{what}");
            }
        }
    }
}
