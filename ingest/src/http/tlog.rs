//! The log of seals for everybody who wants to check it (C2SP tlog-tiles): its checkpoint, its tiles, its leaves.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::tlog::{Storage, Tile, Tiles, TlogError};

/// A tile never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// A checkpoint does, with every grant.
const SECONDS: &str = "public, max-age=1";

pub(super) fn routes<S: Storage, A: Clone + Send + Sync + 'static>(tiles: Tiles<S>) -> Router<A> {
    Router::new()
        .route("/tlog/checkpoint", get(checkpoint::<S>))
        .route("/tlog/tile/{*name}", get(tile::<S>))
        .with_state(tiles)
}

async fn checkpoint<S: Storage>(State(tiles): State<Tiles<S>>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, SECONDS)];
    (headers, tiles.checkpoint().to_string()).into_response()
}

async fn tile<S: Storage>(State(tiles): State<Tiles<S>>, Path(name): Path<String>) -> Response {
    let Some(tile) = Tile::parse(&name) else { return nothing() };
    let read = tokio::task::spawn_blocking(move || tiles.tile(tile)).await;
    match read {
        Ok(Ok(Some(bytes))) => {
            let headers =
                [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, FOR_EVER)];
            (headers, bytes).into_response()
        }
        Ok(Ok(None)) => nothing(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&TlogError::Disk(std::io::Error::other(error))),
    }
}

fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "没有该文件 there is no such tile in this log\n").into_response()
}

fn failed(error: &TlogError) -> Response {
    tracing::error!(%error, "日志文件无法读取 a tile cannot be read");
    (StatusCode::SERVICE_UNAVAILABLE, "暂时无法读取 the tile cannot be read now\n").into_response()
}

#[cfg(test)]
mod tests {
    use seal::keys::MemoryKey;
    use tempfile::TempDir;
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::request;
    use crate::tlog::{Folder, Tlog};

    #[tokio::test]
    async fn tiles_are_served_as_the_specification_says() {
        let folder = TempDir::new().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let mut log = Tlog::open(disk, "log.example", Box::new(MemoryKey::from_secret(&[1; 32]))).unwrap();
        log.append(&[b"leaf".as_slice(); 300]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, routes::<_, ()>(log.tiles())).into_future());
        let asked = tokio::task::spawn_blocking(move || {
            [
                "checkpoint",
                "tile/0/000",
                "tile/0/001.p/44",
                "tile/1/000.p/1",
                "tile/entries/001.p/44",
                "tile/entries/001.p/43",
                "tile/0/001",
                "tile/0/001.p/45",
                "tile/1/000",
                "tile/0/002.p/1",
                "tile/0/../0/000",
                "tile/entries/1",
            ]
            .map(|path| (path, request(addr, "GET", &format!("/tlog/{path}"), None).unwrap()))
        });
        let lengths = asked.await.unwrap().map(|(path, answer)| {
            let length = if answer.status == 200 { answer.body.len() } else { 0 };
            assert!(matches!(answer.status, 200 | 404), "{path}: {}", answer.status);
            length
        });
        let checkpoint = log.tiles().newest().len();
        assert_eq!(lengths, [checkpoint, 8192, 44 * 32, 32, 44 * 6, 43 * 6, 0, 0, 0, 0, 0, 0]);
    }
}
