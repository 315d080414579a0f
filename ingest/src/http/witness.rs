//! A witness over HTTP: one question, add-checkpoint (C2SP tlog-witness).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;

use super::listener::Bounded;
use crate::clock::now_ms;
use crate::tlog::Storage;
use crate::witness::{MAX_SUBMISSION, Verdict, Witness};

/// Connections at once: a few logs, each with one question at a time.
const CONNECTIONS: usize = 64;

type Shared<S> = Arc<Mutex<Witness<S>>>;

/// Answers submissions until `shutdown`.
///
/// # Errors
/// What the system said to serving.
pub async fn serve_witness<S: Storage>(
    listener: TcpListener,
    witness: Witness<S>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint::<S>))
        .layer(DefaultBodyLimit::max(MAX_SUBMISSION))
        .with_state(Arc::new(Mutex::new(witness)));
    let listener = Bounded::new(listener, CONNECTIONS, Arc::default());
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn add_checkpoint<S: Storage>(State(witness): State<Shared<S>>, body: Bytes) -> Response {
    // One at a time: between looking at what was seen and remembering the new one nothing may come.
    let judged = tokio::task::spawn_blocking(move || {
        let now_s = u64::try_from(now_ms() / 1000).unwrap_or(0);
        witness.lock().unwrap_or_else(PoisonError::into_inner).add_checkpoint(&body, now_s)
    });
    match judged.await {
        Ok(verdict) => answer(verdict),
        Err(error) => answer(Verdict::Failed(error.to_string())),
    }
}

fn answer(verdict: Verdict) -> Response {
    const SIZE: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/x.tlog.size")];
    let size = |size: u64| (StatusCode::CONFLICT, SIZE, format!("{size}\n")).into_response();
    match verdict {
        Verdict::Cosigned(line) => line.into_response(),
        Verdict::Malformed(what) => (StatusCode::BAD_REQUEST, format!("请求有误 {what}\n")).into_response(),
        Verdict::NotSigned => {
            (StatusCode::FORBIDDEN, "没有该日志的有效签名 no signature by this log's key\n").into_response()
        }
        Verdict::Unknown => {
            (StatusCode::NOT_FOUND, "此处不见证该日志 this witness does not watch this log\n").into_response()
        }
        Verdict::Seen(seen) => size(seen),
        Verdict::Forked { size: seen, evidence: [before, now] } => {
            tracing::error!(
                "日志分叉：同一大小出现两棵树，均由日志签名，请保存为证据 A FORKED LOG: two trees of {seen} leaves, both signed by \
                 the log. Keep this as proof:\n{before}\n{now}"
            );
            size(seen)
        }
        Verdict::Inconsistent { evidence: [before, now] } => {
            tracing::error!(
                "日志与此前所见不一致，拒绝签名 NOT CONSISTENT: the log does not begin with what was seen, or its proof is wrong. \
                 Seen before, shown now:\n{before}\n{now}"
            );
            let said = "与此前所见不一致 the log does not begin with what this witness has seen\n";
            (StatusCode::UNPROCESSABLE_ENTITY, said).into_response()
        }
        Verdict::Failed(why) => {
            tracing::error!("见证人无法签名 the witness cannot cosign: {why}");
            (StatusCode::SERVICE_UNAVAILABLE, "暂时无法签名 it cannot cosign now; try again later\n")
                .into_response()
        }
    }
}
