//! Everything that is asked. Each handler reads its parameters, asks [`crate::views`], and answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::geojson::FeatureCollection;
use super::problem::Problem;
use super::query::{Params, in_order};
use crate::clock::now_ms;
use crate::metrics;
use crate::views::{
    self, AlarmView, CellQuery, CellsView, CheckView, GatewayDetail, GatewayView, HealthView, MAX_READINGS,
    Page, QuantityView, QuarantineView, ReadingsView, SensorView, StatsView,
};

pub(super) type Answer<T> = Result<Json<T>, Problem>;

/// Span of readings when nothing is asked: ten minutes.
const DEFAULT_SPAN_MS: i64 = 600_000;

/// Whether ingest can do its work.
#[utoipa::path(get, path = "/api/v1/health", tag = "system",
    responses((status = 200, description = "ok or degraded, and why", body = HealthView)))]
pub(super) async fn health(State(app): State<Arc<App>>, uri: Uri) -> Answer<HealthView> {
    Params::read(&uri, &[])?;
    let mut health = views::health(&app.engine).await;
    if let Some(link) = &app.link {
        let trouble = link.trouble();
        if trouble.is_some() {
            health.status = "degraded";
        }
        let ok = trouble.is_none();
        health.checks.push(CheckView {
            name: "broker",
            ok,
            detail: trouble.unwrap_or_else(|| "connected".into()),
        });
    }
    Ok(Json(health))
}

/// Counts of everything.
#[utoipa::path(get, path = "/api/v1/stats", tag = "system",
    responses((status = 200, description = "Counters", body = StatsView)))]
pub(super) async fn stats(State(app): State<Arc<App>>, uri: Uri) -> Answer<StatsView> {
    Params::read(&uri, &[])?;
    Ok(Json(views::stats(&app.engine, now_ms())))
}

/// The gateways and how complete their lanes are.
#[utoipa::path(get, path = "/api/v1/gateways", tag = "state",
    params(
        ("limit" = Option<usize>, Query, description = "Items of a page, 1 to 1000, 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before")
    ),
    responses(
        (status = 200, description = "A page of gateways", body = Page<GatewayView>),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn gateways(State(app): State<Arc<App>>, uri: Uri) -> Answer<Page<GatewayView>> {
    let page = Params::read(&uri, &["limit", "cursor"])?.page()?;
    Ok(Json(views::gateways(&app.engine, page, now_ms()).await?))
}

/// One gateway: its gauges with their words, its lanes, and what it lost and why.
#[utoipa::path(get, path = "/api/v1/gateways/{id}", tag = "state",
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The gateway", body = GatewayDetail),
        (status = 404, description = "No such gateway", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn gateway(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<GatewayDetail> {
    Params::read(&uri, &[])?;
    Ok(Json(views::gateway(&app.engine, &id, now_ms()).await?))
}

/// The sensors with their newest readings.
#[utoipa::path(get, path = "/api/v1/sensors", tag = "state",
    params(
        ("gateway" = Option<String>, Query, description = "Only of this gateway or source"),
        ("quantity" = Option<String>, Query, description = "Only of this quantity, by its word"),
        ("limit" = Option<usize>, Query, description = "Items of a page, 1 to 1000, 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before")
    ),
    responses(
        (status = 200, description = "A page of sensors", body = Page<SensorView>),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn sensors(State(app): State<Arc<App>>, uri: Uri) -> Answer<Page<SensorView>> {
    let params = Params::read(&uri, &["gateway", "quantity", "limit", "cursor"])?;
    let (gateway, quantity) =
        (params.text("gateway").map(Into::into), params.text("quantity").map(Into::into));
    Ok(Json(views::sensors(&app.engine, gateway, quantity, params.page()?).await?))
}

/// One sensor.
#[utoipa::path(get, path = "/api/v1/sensors/{id}", tag = "state",
    params(("id" = String, Path, description = "City-wide name, gateway:sensor")),
    responses(
        (status = 200, description = "The sensor", body = SensorView),
        (status = 404, description = "No such sensor", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn sensor(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<SensorView> {
    Params::read(&uri, &[])?;
    Ok(Json(views::sensor(&app.engine, &id).await?))
}

/// The readings of a sensor in a span of time; the newest are kept when there are more than `limit`.
#[utoipa::path(get, path = "/api/v1/sensors/{id}/readings", tag = "data",
    params(
        ("id" = String, Path, description = "City-wide name, gateway:sensor"),
        ("from" = Option<String>, Query, description = "Start, inclusive; ten minutes before `to` when absent"),
        ("to" = Option<String>, Query, description = "End, exclusive; now when absent"),
        ("limit" = Option<usize>, Query, description = "Most readings, 1 to 10000, 1000 when absent")
    ),
    responses(
        (status = 200, description = "The readings, oldest first", body = ReadingsView),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such sensor", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn readings(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<ReadingsView> {
    let params = Params::read(&uri, &["from", "to", "limit"])?;
    let to_ms = params.time("to")?.unwrap_or_else(|| now_ms() + 1);
    let from_ms = params.time("from")?.unwrap_or(to_ms - DEFAULT_SPAN_MS);
    in_order(from_ms, to_ms)?;
    let limit = params.limit(MAX_READINGS)?.unwrap_or(1000);
    Ok(Json(views::readings(&app.engine, &id, from_ms, to_ms, limit).await?))
}

/// The kinds of measurement this city knows.
#[utoipa::path(get, path = "/api/v1/quantities", tag = "state",
    responses((status = 200, description = "All quantities", body = Page<QuantityView>)))]
pub(super) async fn quantities(State(app): State<Arc<App>>, uri: Uri) -> Answer<Page<QuantityView>> {
    Params::read(&uri, &[])?;
    Ok(Json(views::quantities(&app.engine).await?))
}

/// Aggregates of a quantity over the cells of a map. Without `from` and `to`: the newest window of each cell.
#[utoipa::path(get, path = "/api/v1/cells", tag = "data",
    params(
        ("quantity" = String, Query, description = "Its word, such as air-temperature"),
        ("window" = Option<String>, Query, description = "1m, 1h or 1d; 1m when absent"),
        ("from" = Option<String>, Query, description = "Windows that start here or later"),
        ("to" = Option<String>, Query, description = "Windows that start before"),
        ("precision" = Option<u8>, Query, description = "Characters of the geohash: 5, 6 or 7; 6 when absent"),
        ("bbox" = Option<String>, Query, description = "west,south,east,north in degrees"),
        ("format" = Option<String>, Query, description = "json or geojson; the Accept header application/geo+json does the same")
    ),
    responses(
        (status = 200, description = "The cells", content(
            (CellsView = "application/json"),
            (FeatureCollection = "application/geo+json")
        )),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn cells(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["quantity", "window", "from", "to", "precision", "bbox", "format"])?;
    let quantity = params.quantity()?;
    let (window_ms, precision, bbox) = (params.window()?, params.precision()?, params.bbox()?);
    let as_geojson = match params.parsed(
        "format",
        |text| ["json", "geojson"].iter().position(|f| *f == text),
        "json or geojson",
        " json 或 geojson",
    )? {
        Some(format) => format == 1,
        None => headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("application/geo+json")),
    };
    let (from_ms, to_ms) = params.span()?;
    let query = CellQuery { quantity: quantity.into(), window_ms, from_ms, to_ms, precision, bbox };
    let view = views::cells(&app.engine, query).await?;
    if as_geojson {
        let mut response = Json(FeatureCollection::from(view)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/geo+json"));
        return Ok(response);
    }
    Ok(Json(view).into_response())
}

/// Alarms, the newest first.
#[utoipa::path(get, path = "/api/v1/alarms", tag = "state",
    params(
        ("state" = Option<String>, Query, description = "active (with blind ones) or all; active when absent"),
        ("limit" = Option<usize>, Query, description = "Items of a page, 1 to 1000, 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before")
    ),
    responses(
        (status = 200, description = "A page of alarms", body = Page<AlarmView>),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn alarms(State(app): State<Arc<App>>, uri: Uri) -> Answer<Page<AlarmView>> {
    let params = Params::read(&uri, &["state", "limit", "cursor"])?;
    let all = params
        .parsed(
            "state",
            |text| ["active", "all"].iter().position(|state| *state == text),
            "active or all",
            " active 或 all",
        )?
        .is_some_and(|state| state == 1);
    Ok(Json(views::alarms(&app.engine, all, params.page()?).await?))
}

/// What was refused, the newest first, with its reason.
#[utoipa::path(get, path = "/api/v1/quarantine", tag = "intake",
    params(
        ("limit" = Option<usize>, Query, description = "Items of a page, 1 to 1000, 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before")
    ),
    responses(
        (status = 200, description = "A page of refused messages", body = Page<QuarantineView>),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn quarantine(State(app): State<Arc<App>>, uri: Uri) -> Answer<Page<QuarantineView>> {
    let page = Params::read(&uri, &["limit", "cursor"])?.page()?;
    Ok(Json(views::quarantine(&app.engine, page).await?))
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "system",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
pub(super) async fn openapi(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.document.clone()).into_response()
}

/// The same counts for Prometheus and its kin.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, description = "OpenMetrics 1.0", content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = metrics::text(app.engine.counters(), &app.broker, &app.counts);
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response()
}
