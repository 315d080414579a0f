//! What is folded for a question: curves, top cells, blind spots.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::problem::Problem;
use super::query::{Params, duration, in_order};
use super::read::Answer;
use crate::clock::now_ms;
use crate::views::{
    self, By, CellQuery, CoverageQuery, CoverageView, MAX_TOP, PATIENCE_MS, SeriesQuery, SeriesView, Step,
    TopView,
};

/// Span of a curve when nothing is asked: an hour.
const DEFAULT_SPAN_MS: i64 = 3_600_000;
/// Top cells when nothing is asked.
const DEFAULT_TOP: usize = 20;

/// The span and the step of a curve.
fn series(params: &Params) -> Result<SeriesQuery, Problem> {
    let (from_ms, to_ms) = params.span()?;
    let to_ms = to_ms.unwrap_or_else(|| now_ms() + 1);
    let from_ms = from_ms.unwrap_or(to_ms - DEFAULT_SPAN_MS);
    in_order(from_ms, to_ms)?;
    let step = params.parsed("step", Step::parse, "raw, 1m, 1h or 1d", " raw、1m、1h 或 1d")?;
    Ok(SeriesQuery { from_ms, to_ms, step })
}

/// A sensor over time, in as many points as a chart can show. Readings that cannot be trusted are left out: those are
/// in `readings`.
#[utoipa::path(get, path = "/api/v1/sensors/{id}/series", tag = "data",
    params(
        ("id" = String, Path, description = "City-wide name, gateway:sensor"),
        ("from" = Option<String>, Query, description = "Start, inclusive; an hour before `to` when absent"),
        ("to" = Option<String>, Query, description = "End, exclusive; now when absent"),
        ("step" = Option<String>, Query, description = "raw, 1m, 1h or 1d; when absent the finest that gives at most 1500 points, raw within 15 minutes. Steps are whole, days are UTC days")
    ),
    responses(
        (status = 200, description = "The curve, oldest first", body = SeriesView),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such sensor", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn series_of_sensor(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<SeriesView> {
    let params = Params::read(&uri, &["from", "to", "step"])?;
    Ok(Json(views::series_of_sensor(&app.engine, &id, series(&params)?).await?))
}

/// A quantity in a cell over time, in as many points as a chart can show.
#[utoipa::path(get, path = "/api/v1/cells/{id}/series", tag = "data",
    params(
        ("id" = String, Path, description = "Geohash of 5, 6 or 7 characters"),
        ("quantity" = String, Query, description = "Its word, such as air-temperature"),
        ("from" = Option<String>, Query, description = "Start, inclusive; an hour before `to` when absent"),
        ("to" = Option<String>, Query, description = "End, exclusive; now when absent"),
        ("step" = Option<String>, Query, description = "1m, 1h or 1d; when absent the finest that gives at most 1500 points. Steps are whole, days are UTC days")
    ),
    responses(
        (status = 200, description = "The curve, oldest first; no points where nothing was measured", body = SeriesView),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "Not a geohash of 5, 6 or 7 characters", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn series_of_cell(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<SeriesView> {
    let params = Params::read(&uri, &["quantity", "from", "to", "step"])?;
    let query = series(&params)?;
    Ok(Json(views::series_of_cell(&app.engine, &id, params.quantity()?, query).await?))
}

/// The cells where a quantity is largest. Without `from` and `to`: by the newest window of each cell.
#[utoipa::path(get, path = "/api/v1/cells/top", tag = "data",
    params(
        ("quantity" = String, Query, description = "Its word, such as air-temperature"),
        ("by" = Option<String>, Query, description = "What decides: last, mean or max; last when absent"),
        ("limit" = Option<usize>, Query, description = "How many, 1 to 1000, 20 when absent"),
        ("window" = Option<String>, Query, description = "1m, 1h or 1d; 1m when absent"),
        ("from" = Option<String>, Query, description = "Windows that start here or later"),
        ("to" = Option<String>, Query, description = "Windows that start before"),
        ("precision" = Option<u8>, Query, description = "Characters of the geohash: 5, 6 or 7; 6 when absent"),
        ("bbox" = Option<String>, Query, description = "west,south,east,north in degrees")
    ),
    responses(
        (status = 200, description = "The cells, the largest first", body = TopView),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn top(State(app): State<Arc<App>>, uri: Uri) -> Answer<TopView> {
    let params =
        Params::read(&uri, &["quantity", "by", "limit", "window", "from", "to", "precision", "bbox"])?;
    let quantity = params.quantity()?.to_owned();
    let by = params.parsed("by", By::parse, "last, mean or max", " last、mean 或 max")?.unwrap_or(By::Last);
    let limit = params.limit(MAX_TOP)?.unwrap_or(DEFAULT_TOP);
    let (from_ms, to_ms) = params.span()?;
    let query = CellQuery {
        quantity,
        window_ms: params.window()?,
        from_ms,
        to_ms,
        precision: params.precision()?,
        bbox: params.bbox()?,
    };
    Ok(Json(views::top(&app.engine, query, by, limit).await?))
}

/// Blind spots: cells that have sensors, and none with a usable reading within `patience`.
#[utoipa::path(get, path = "/api/v1/coverage", tag = "state",
    params(
        ("precision" = Option<u8>, Query, description = "Characters of the geohash: 5, 6 or 7; 6 when absent"),
        ("bbox" = Option<String>, Query, description = "west,south,east,north in degrees"),
        ("patience" = Option<String>, Query, description = "How old the newest reading may be: 90s, 5m, 2h, 1d; 5m when absent")
    ),
    responses(
        (status = 200, description = "The blind cells, those with most sensors first", body = CoverageView),
        (status = 400, description = "Bad or unknown parameter", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn coverage(State(app): State<Arc<App>>, uri: Uri) -> Answer<CoverageView> {
    let params = Params::read(&uri, &["precision", "bbox", "patience"])?;
    let patience = params.parsed(
        "patience",
        duration,
        "a length of time like 90s, 5m, 2h or 1d",
        "时长，如 90s、5m、2h、1d",
    )?;
    let query = CoverageQuery {
        precision: params.precision()?,
        bbox: params.bbox()?,
        patience_ms: patience.unwrap_or(PATIENCE_MS),
    };
    Ok(Json(views::coverage(&app.engine, &app.surveys, query, now_ms()).await?))
}
