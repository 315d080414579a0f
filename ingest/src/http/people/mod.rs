//! People over HTTP: how accounts and keys look, and what goes wrong.
//!
//! - [`sessions`]: logging in and out, the first admin; [`accounts`]: what admins do; [`own`]: one's password and keys;
//!   [`passkeys`]: one's passkeys

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{
    BAD_CONTENT, CONFLICT, FORBIDDEN, INTERNAL, NOT_FOUND, PASSKEY_NEEDED, Problem, TOO_MANY, UNAVAILABLE,
    UNKNOWN_PERSON,
};
use crate::people::account::{self, Account, Key, Login, Passkey};
use crate::people::passkey::Refused;
use crate::people::role::Duty;
use crate::people::session::Session;
use crate::people::{FRESH_MS, PeopleError, key_text};

pub(super) mod accounts;
pub(super) mod own;
pub(super) mod passkeys;
pub(super) mod sessions;

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SessionView {
    /// The account.
    account: AccountView,
    /// Whether a password has to be chosen before anything else: POST /api/v1/me/password.
    choose_password: bool,
    /// When a passkey was shown in this session, milliseconds since 1970 UTC; null when it came by password alone.
    passkey_ms: Option<i64>,
    /// When the session ends if nothing is asked any more, milliseconds since 1970 UTC.
    ends_ms: i64,
}

/// An account, as those see it who may.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AccountView {
    /// The name to log in with; never changes.
    #[schema(value_type = String)]
    name: Login,
    /// The name others see.
    shown: String,
    /// Whether it can be used.
    state: account::State,
    /// What this person may do, and where.
    roles: Vec<Duty>,
    /// The keys this person signs with, retired ones too.
    keys: Vec<KeyView>,
    /// The passkeys this person logs in with.
    passkeys: Vec<PasskeyView>,
    /// Until when the password an admin made is good, milliseconds since 1970 UTC; null when an own one is chosen.
    choose_until_ms: Option<i64>,
    /// When it was created, milliseconds since 1970 UTC.
    created_ms: i64,
    /// When name, state or roles last changed, milliseconds since 1970 UTC.
    changed_ms: i64,
}

/// A public key.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct KeyView {
    /// The 32 bytes of an Ed25519 key, base64url without padding. Or `sm2:` and the 33 of a compressed point.
    key: String,
    /// What its owner calls it.
    label: String,
    /// Since when, milliseconds since 1970 UTC.
    added_ms: i64,
    /// Since when it signs nothing any more, milliseconds since 1970 UTC.
    retired_ms: Option<i64>,
}

/// A passkey.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PasskeyView {
    /// Its id, base64url without padding.
    id: String,
    /// What its owner calls it.
    label: String,
    /// Since when, milliseconds since 1970 UTC.
    added_ms: i64,
    /// When somebody last logged in with it, milliseconds since 1970 UTC.
    used_ms: Option<i64>,
}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> Self {
        Self {
            name: account.name.clone(),
            shown: account.shown.clone(),
            state: account.state,
            roles: account.roles.clone(),
            keys: account.keys.iter().map(KeyView::from).collect(),
            passkeys: account.passkeys.iter().map(PasskeyView::from).collect(),
            choose_until_ms: account.choose_until_ms,
            created_ms: account.created_ms,
            changed_ms: account.changed_ms,
        }
    }
}

impl From<&Key> for KeyView {
    fn from(key: &Key) -> Self {
        let Key { public, label, added_ms, retired_ms } = key;
        Self { key: key_text(public), label: label.clone(), added_ms: *added_ms, retired_ms: *retired_ms }
    }
}

impl From<&Passkey> for PasskeyView {
    fn from(passkey: &Passkey) -> Self {
        let Passkey { id, label, added_ms, used_ms } = passkey;
        Self { id: id.to_string(), label: label.clone(), added_ms: *added_ms, used_ms: *used_ms }
    }
}

impl From<&Session> for SessionView {
    fn from(session: &Session) -> Self {
        Self {
            account: AccountView::from(&*session.account),
            choose_password: session.account.choose_until_ms.is_some(),
            passkey_ms: session.passkey_ms,
            ends_ms: session.ends_ms(),
        }
    }
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Self {
        let detail = error.to_string();
        match error {
            PeopleError::WrongLogin => Self::new(UNKNOWN_PERSON, detail, "用户名或密码错误，或账户已停用"),
            PeopleError::TooLate => {
                Self::new(UNKNOWN_PERSON, detail, "一次性密码已过期：请联系管理员重新生成")
            }
            PeopleError::Wait { wait_ms } => {
                let wait_s = (wait_ms + 999) / 1000;
                let problem = Self::new(TOO_MANY, detail, format!("失败次数过多：请在 {wait_s} 秒后重试"));
                Self { retry_s: Some(wait_s), ..problem }
            }
            PeopleError::NoLink => {
                Self::new(FORBIDDEN, detail, "此链接已使用或已过期：请重新启动 ingest 以获得新链接")
            }
            PeopleError::NotAsked => {
                Self::new(UNKNOWN_PERSON, detail, "此处没有等待通行密钥、已使用过或已超时：请重新开始")
            }
            PeopleError::Passkey(why) => {
                let zh = match why {
                    Refused::CounterBack => "通行密钥的计数倒退，可能已被复制：须由管理员移除".to_owned(),
                    Refused::Unfit(why) => format!("通行密钥未被接受：{why}"),
                };
                Self::new(UNKNOWN_PERSON, detail, zh)
            }
            PeopleError::PasskeyNeeded => {
                Self::new(PASSKEY_NEEDED, detail, "此操作需要通行密钥：请先在“我”的页面登记，或用它重新登录")
            }
            PeopleError::PasskeyStale => {
                let minutes = FRESH_MS / 60_000;
                let zh = format!("上次使用通行密钥已超过 {minutes} 分钟：请退出后重新登录");
                Self::new(PASSKEY_NEEDED, detail, zh)
            }
            PeopleError::PasskeysOff => {
                Self::new(CONFLICT, detail, "通行密钥未启用：运维人员须将 http.origin 设为打开控制台的地址")
            }
            PeopleError::Forbidden(why) => Self::new(FORBIDDEN, detail, format!("无权操作：{why}")),
            PeopleError::NotFound { name, .. } => Self::new(NOT_FOUND, detail, format!("不存在：{name:?}")),
            PeopleError::Taken { name, .. } => {
                Self::new(CONFLICT, detail, format!("{name:?} 已被占用：用户名与密钥永久属于一人"))
            }
            PeopleError::Unusable { field, detail: why } => {
                Self::new(BAD_CONTENT, detail, format!("{field} 无法使用：{why}"))
            }
            PeopleError::Busy => Self::new(UNAVAILABLE, detail, "同时登录的人过多：请几秒后重试"),
            PeopleError::Database(why) => {
                tracing::error!(error = why, "人员数据库无响应 the database of people does not answer");
                let detail = "the database does not answer; try again later";
                Self::new(UNAVAILABLE, detail, "数据库无响应，请稍后重试")
            }
            PeopleError::Stopped => Self::new(UNAVAILABLE, detail, "接入服务正在停止或操作意外中断：请重试"),
            PeopleError::System => Self::new(INTERNAL, detail, "系统无法提供随机数或内存"),
        }
    }
}
