//! The code on paper: an address under which anybody verifies an impression. The one file that names qrcode.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use super::{content, digest};
use crate::http::App;
use crate::http::problem::Problem;
use crate::office::hex;

/// Narrowest picture, in pixels of a screen; on paper it may have any size.
const WIDTH: u32 = 240;

/// The code that is printed beside an impression (ISO/IEC 18004, level M): the address of this service where it is verified.
#[utoipa::path(get, path = "/api/v1/impressions/{digest}/code", tag = "seals",
    params(("digest" = String, Path, description = "SHA-256 of a receipt or of a photograph, hexadecimal")),
    responses(
        (status = 200, description = "The code", content_type = "image/svg+xml", body = String),
        (status = 400, description = "No digest", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "No office here", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn code(
    State(app): State<Arc<App>>,
    Path(asked): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.office()?;
    let name = hex(&digest(&asked)?[..]);
    // Without an origin in the configuration it is the address by which whoever asks has come; the guard knows it.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let origin = app.people.site().map_or_else(|| format!("http://{host}"), |site| site.origin().to_owned());
    let address = format!("{origin}/verify#{name}");
    // Paper is folded and soiled: level M reads with a seventh of it lost.
    let code = QrCode::with_error_correction_level(address.as_bytes(), EcLevel::M).map_err(|error| {
        content(
            format!("{address} does not fit a code: {error}"),
            format!("{address} 无法编为二维码：{error}"),
        )
    })?;
    let picture = code.render::<svg::Color<'_>>().min_dimensions(WIDTH, WIDTH).build();
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], picture).into_response())
}
