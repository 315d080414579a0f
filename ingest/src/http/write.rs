//! What comes in by HTTP: SenML packs, and the second chance of quarantined messages.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use wire::GatewayId;

use super::problem::{MEDIA_TYPE, Problem, UNAVAILABLE, UNPROCESSABLE};
use super::query::{Params, bad};
use super::{App, body};
use crate::clock::now_ms;
use crate::engine::SenmlTaken;
use crate::intake::cut;
use crate::senml::{MAX_BODY, SenmlFormat};
use crate::views::{self, ReplayView};

/// What became of a pack.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SenmlAnswer {
    /// Records that became readings.
    accepted: usize,
    /// Whether the same pack was taken before; nothing is counted twice.
    duplicate: bool,
    /// Records that did not, and why. They are held in the quarantine.
    refused: Vec<RefusedRecord>,
}

/// A record that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusedRecord {
    /// Its position in the pack, from 0.
    record: usize,
    /// What was wrong, what was expected, and the value.
    reason: String,
}

/// Takes a SenML pack (RFC 8428). The answer leaves when the pack is on stable storage.
#[utoipa::path(post, path = "/api/v1/senml", tag = "intake",
    params(("source" = String, Query, description = "Who sends, as the mapping file names it")),
    request_body(description = "A SenML pack, at most 64 KiB and 1000 records", content(
        (Object = "application/senml+json"),
        (Vec<u8> = "application/senml+cbor")
    )),
    responses(
        (status = 202, description = "At least one record became a reading, or all did before", body = SenmlAnswer),
        (status = 400, description = "Bad parameter or body", content_type = "application/problem+json", body = Problem),
        (status = 413, description = "Too large", content_type = "application/problem+json", body = Problem),
        (status = 415, description = "Neither JSON nor CBOR", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "No record could be used; the pack is in the quarantine", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "Not now", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn senml(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["source"])?;
    let source = params.text("source").ok_or_else(|| {
        bad("source", "missing: the source of a mapping file expected", "缺少：应为映射文件中的来源名称")
    })?;
    let source = GatewayId::new(source)
        .map_err(|error| bad("source", &error.to_string(), "应为 1 至 32 个小写字母、数字或 -"))?;
    let format = format_of(&headers)?;
    let body = body::whole(&headers, body, MAX_BODY).await?;
    let taken = app.engine.take_senml(&source, format, body.to_vec(), now_ms()).await;
    let list = |refused: Vec<(usize, String)>| {
        refused.into_iter().map(|(record, reason)| RefusedRecord { record, reason }).collect()
    };
    let answer = match taken {
        SenmlTaken::Durable { accepted, refused } => {
            SenmlAnswer { accepted, duplicate: false, refused: list(refused) }
        }
        SenmlTaken::Duplicate => SenmlAnswer { accepted: 0, duplicate: true, refused: Vec::new() },
        SenmlTaken::Refused { refused } => {
            let all: Vec<String> = refused
                .iter()
                .take(20)
                .map(|(record, reason)| format!("record {record}: {reason}"))
                .collect();
            let (count, all) = (refused.len(), all.join("; "));
            return Err(Problem::new(
                UNPROCESSABLE,
                format!("no record could be used, the pack is held in the quarantine: {all}"),
                format!("没有可用的记录（{count} 条被拒），数据包已隔离保存：{all}"),
            ));
        }
        SenmlTaken::Unavailable { detail } => {
            return Err(Problem::new(
                UNAVAILABLE,
                format!("try again later: {detail}"),
                format!("请稍后重试：{detail}"),
            ));
        }
    };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// Judges a quarantined message again, after a mapping, the catalogue or the list of gateways was mended.
#[utoipa::path(post, path = "/api/v1/quarantine/{id}/replay", tag = "intake",
    params(("id" = u64, Path, description = "As /api/v1/quarantine lists it")),
    responses(
        (status = 200, description = "What became of it", body = ReplayView),
        (status = 404, description = "No such message, or its body is not kept any more", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "Not now", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn replay(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<ReplayView>, Problem> {
    Params::read(&uri, &[])?;
    let number = id.parse::<u64>().map_err(|_| {
        let shown = cut(&id, 40);
        bad(
            "id",
            &format!("{shown:?} is not a number from /api/v1/quarantine"),
            &format!("{shown:?} 不是 /api/v1/quarantine 中的编号"),
        )
    })?;
    Ok(Json(views::replay(&app.engine, number, now_ms()).await?))
}

fn format_of(headers: &HeaderMap) -> Result<SenmlFormat, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = given.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    [SenmlFormat::Json, SenmlFormat::Cbor].into_iter().find(|format| format.media_type() == media_type).ok_or_else(|| {
        let shown = cut(given, 60);
        Problem::new(
            MEDIA_TYPE,
            format!("Content-Type {shown:?} is not understood: application/senml+json or application/senml+cbor expected"),
            format!("不支持 Content-Type {shown:?}：应为 application/senml+json 或 application/senml+cbor"),
        )
    })
}
