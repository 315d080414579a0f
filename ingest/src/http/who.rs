//! Who asks, and whether they may. Handlers that want a person take a [`Who`] and ask [`Who::must`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use axum::serve::IncomingStream;
use wire::Area;

use super::App;
use super::listener::Bounded;
use super::problem::{CHOOSE_PASSWORD, FORBIDDEN, Problem, UNKNOWN_PERSON};
use crate::clock::now_ms;
use crate::people::account::Account;
use crate::people::role::{Action, Scope, may, scopes};
use crate::people::session::{Session, Token};

/// The cookie that carries a session's token.
pub(super) const COOKIE: &str = "watchfire-session";

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        // Every connection has one; without it all share one throttle.
        Ok(peer.map_or(Self(SocketAddr::from(([0, 0, 0, 0], 0))), |peer| peer.0))
    }
}

impl Peer {
    pub(super) fn ip(self) -> IpAddr {
        self.0.ip()
    }
}

/// The person who asks, who has chosen their own password.
#[derive(Debug, Clone)]
pub(super) struct Who(pub(super) Session);

impl Who {
    /// Their account.
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.0.account
    }

    /// Where they may do something.
    pub(super) fn scopes(&self, action: Action) -> Vec<Scope> {
        scopes(&self.0.account, action)
    }

    /// Goes on only if they may do something in an area.
    ///
    /// # Errors
    /// A problem that says what would be needed.
    pub(super) fn must(&self, action: Action, area: &Area) -> Result<(), Problem> {
        if may(&self.0.account, action, area) {
            return Ok(());
        }
        let roles: Vec<&str> = action.roles().iter().map(|role| role.word()).collect();
        let (name, roles) = (&self.0.account.name, roles.join(", "));
        Err(Problem::new(
            FORBIDDEN,
            format!(
                "{name} may not {} in {:?}: that takes one of the roles {roles} there",
                action.en(),
                area.as_str()
            ),
            format!("{name} 无权在 {:?} {}：需要该区域的角色之一：{roles}", area.as_str(), action.zh()),
        ))
    }
}

impl FromRequestParts<Arc<App>> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Newcomer(session) = Newcomer::from_request_parts(parts, app).await?;
        if session.account.choose_until_ms.is_some() {
            return Err(Problem::new(
                CHOOSE_PASSWORD,
                "this password was made by an admin: choose your own first, POST /api/v1/me/password",
                "当前密码由管理员生成，请先设置自己的密码：POST /api/v1/me/password",
            ));
        }
        Ok(Self(session))
    }
}

/// The person who asks, who may still have the password an admin made. For what leads to an own one.
#[derive(Debug, Clone)]
pub(super) struct Newcomer(pub(super) Session);

impl FromRequestParts<Arc<App>> for Newcomer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let session = match token(parts) {
            Some(token) => app.people.who(&token, now_ms()).await?,
            None => None,
        };
        session.map(Self).ok_or_else(|| {
            Problem::new(
                UNKNOWN_PERSON,
                "nobody is logged in here, or the session is over: POST /api/v1/session",
                "未登录或会话已结束：请先登录 POST /api/v1/session",
            )
        })
    }
}

/// The token in the cookies.
fn token(parts: &Parts) -> Option<Token> {
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| if name == COOKIE { Token::read(value) } else { None })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn read(cookies: &[&str]) -> Option<String> {
        let mut request = Request::builder();
        for value in cookies {
            request = request.header(header::COOKIE, *value);
        }
        token(&request.body(()).unwrap().into_parts().0).map(|token| token.reveal())
    }

    #[test]
    fn a_token_is_found_among_other_cookies() {
        let text = "A".repeat(43);
        let ours = format!("{COOKIE}={text}");
        for cookies in [
            &[ours.as_str()][..],
            &[&format!("a=b; {ours}")],
            &[&format!("{ours};a=b=c")],
            &["a=b", &ours],
            &[&format!("{COOKIE}=nonsense; {ours}")],
        ] {
            assert_eq!(read(cookies), Some(text.clone()), "{cookies:?}");
        }
        for cookies in [&[][..], &[""], &["a=b"], &[&format!("x{ours}")], &[&format!("{COOKIE}={text}A")]] {
            assert_eq!(read(cookies), None, "{cookies:?}");
        }
    }
}
