//! What holds for every request: who may ask, and the headers of every answer.
//!
//! Without TLS and users only this machine may come in, but a web page from elsewhere, opened in a browser on
//! this machine, could ask too. So a request must name this machine, or the configured origin if a proxy stands before
//! us (a page that makes its own name point here does neither), and a change must not come from another page.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Counts;
use super::problem::{FOREIGN, Problem};

/// The console loads nothing from elsewhere but map tiles, which a user may choose.
const CONTENT_POLICY: &str = "default-src 'self'; img-src 'self' data: blob: https: http:; object-src 'none'; \
                              base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a browser says of the page a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the guard knows.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) counts: Arc<Counts>,
    /// The host of the configured origin, `seals.example.org`.
    pub(super) name: Option<Arc<str>>,
}

pub(super) async fn guard(State(post): State<Post>, request: Request, next: Next) -> Response {
    let judged = judge(request.method(), request.headers(), request.uri().host(), post.name.as_deref());
    let mut response = match judged {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(count) =
        post.counts.answers.get(usize::from(response.status().as_u16() / 100).wrapping_sub(1))
    {
        count.fetch_add(1, Relaxed);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in
        [("cross-origin-resource-policy", "same-origin"), ("cross-origin-opener-policy", "same-origin")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What has no word on caching is an answer of the API: true now only.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn judge(
    method: &Method,
    headers: &HeaderMap,
    uri_host: Option<&str>,
    name: Option<&str>,
) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("\u{fffd}"));
    let host = text(header::HOST).or(uri_host);
    if let Some(host) = host
        && !is_this_machine(host)
        && !name.is_some_and(|name| name.eq_ignore_ascii_case(host))
    {
        return Err(Problem::new(
            FOREIGN,
            format!(
                "the request is for {host:?}, and this service answers to localhost, to addresses and to http.origin only; use http://127.0.0.1"
            ),
            format!(
                "请求的主机名是 {host:?}，本服务只回应 localhost、IP 地址或配置的 http.origin；请使用 http://127.0.0.1"
            ),
        ));
    }
    if method != Method::GET && method != Method::HEAD {
        let foreign_origin =
            text(header::ORIGIN).is_some_and(|origin| origin.split_once("://").map(|(_, rest)| rest) != host);
        // Another port of this machine is another page, but the same site, and gets the same cookies.
        let foreign_page = text(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none");
        if foreign_origin || foreign_page {
            return Err(Problem::new(
                FOREIGN,
                "a change may not come from a web page of another address",
                "不接受来自其他网页的修改请求",
            ));
        }
    }
    Ok(())
}

/// `localhost` or an address, with or without port: names that nobody else can make point here.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, pairs: &[(header::HeaderName, &'static str)]) -> bool {
        let headers =
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        judge(&method, &headers, None, Some("seals.example")).is_ok()
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "10.0.0.1",
            "seals.example",
        ] {
            assert!(ask(Method::GET, &[(header::HOST, host)]), "{host}");
        }
        for host in [
            "seals.example:8080",
            "x.seals.example",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!ask(Method::GET, &[(header::HOST, host)]), "{host}");
        }
        assert!(ask(Method::GET, &[]), "HTTP/1.0");
    }

    #[test]
    fn changes_come_from_our_own_page_or_from_no_page() {
        let host = (header::HOST, "127.0.0.1:8080");
        assert!(ask(Method::POST, std::slice::from_ref(&host)));
        assert!(ask(Method::POST, &[host.clone(), (header::ORIGIN, "http://127.0.0.1:8080")]));
        for origin in ["http://127.0.0.1:9999", "https://evil.example", "null"] {
            assert!(!ask(Method::POST, &[host.clone(), (header::ORIGIN, origin)]), "{origin}");
        }
        for (site, taken) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("", false)]
        {
            assert_eq!(ask(Method::DELETE, &[host.clone(), (FETCH_SITE, site)]), taken, "{site}");
            assert!(ask(Method::GET, &[host.clone(), (FETCH_SITE, site)]), "{site}");
        }
    }
}
