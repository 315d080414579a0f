//! Seals: what is applied for, approved, granted and stamped.
//!
//! - [`cases`]: from application to grant; [`delegations`]: who approves in whose place; [`devices`]: seals themselves
//! - [`public`]: what can be checked; [`code`]: the code on paper that leads there

use base64ct::{Base64, Encoding as _};
use seal::grant::Id;
use seal::keys::{Digest, PublicKey};

use super::App;
use super::problem::{BAD_CONTENT, INTERNAL, NOT_FOUND, Problem, REFUSED_BY_OFFICE, UNAVAILABLE};
use super::query::Params;
use super::who::Who;
use crate::intake::cut;
use crate::office::{Office, OfficeError, unhex};
use crate::people::read_key;

pub(super) mod cases;
pub(super) mod code;
pub(super) mod delegations;
pub(super) mod devices;
pub(super) mod public;

impl From<OfficeError> for Problem {
    fn from(error: OfficeError) -> Self {
        let detail = error.to_string();
        match error {
            OfficeError::No(no) => Self::new(REFUSED_BY_OFFICE, no.en, no.zh),
            OfficeError::NotThere { what, name } => {
                Self::new(NOT_FOUND, detail, format!("没有这个 {what}：{name:?}"))
            }
            OfficeError::SetBack { .. }
            | OfficeError::Ahead { .. }
            | OfficeError::Database(_)
            | OfficeError::Log(_)
            | OfficeError::File(_)
            | OfficeError::KeyFile(_)
            | OfficeError::Key => {
                tracing::error!(detail, "印章业务故障 the office of seals has a problem");
                Self::new(INTERNAL, detail.clone(), format!("印章业务故障：{detail}"))
            }
        }
    }
}

impl App {
    fn office(&self) -> Result<&Office, Problem> {
        self.office.as_ref().ok_or_else(|| {
            Problem::new(
                UNAVAILABLE,
                "there is no office of seals here: [seals] in the configuration sets one up",
                "本机未启用印章业务：请在配置中设置 [seals]",
            )
        })
    }
}

fn content(en: impl Into<String>, zh: impl Into<String>) -> Problem {
    Problem::new(BAD_CONTENT, en, zh)
}

fn id(text: &str) -> Result<Id, Problem> {
    unhex::<16>(text).map(Id::from).ok_or_else(|| {
        let shown = cut(text, 60);
        content(
            format!("{shown:?} is no id: 32 hexadecimal digits expected"),
            format!("{shown:?} 不是编号：应为 32 位十六进制"),
        )
    })
}

fn digest(text: &str) -> Result<Digest, Problem> {
    unhex::<32>(text).map(Digest::from).ok_or_else(|| {
        let shown = cut(text, 80);
        content(
            format!("{shown:?} is no SHA-256 digest: 64 hexadecimal digits expected"),
            format!("{shown:?} 不是 SHA-256 摘要：应为 64 位十六进制"),
        )
    })
}

fn key(text: &str) -> Result<PublicKey, Problem> {
    read_key(text).map_err(|why| {
        let (shown, (zh, en)) = (cut(text, 60), why.sentences());
        content(format!("{shown:?} {en}"), format!("{shown:?} {zh}"))
    })
}

/// The number of something, by which a list goes on.
fn number(params: &Params, name: &str) -> Result<Option<i64>, Problem> {
    params.parsed(name, |text| text.parse().ok(), "a number of the list", "列表中的编号")
}

/// A key of whoever asks: only what they have registered themselves, and have not retired, signs for them.
fn own_key(who: &Who, text: &str) -> Result<PublicKey, Problem> {
    let key = key(text)?;
    if who.account().signs_with(&key) {
        return Ok(key);
    }
    Err(Problem::new(
        REFUSED_BY_OFFICE,
        "this key is not registered under your name, or no longer: POST /api/v1/me/keys",
        "该密钥未登记在您名下或已停用：POST /api/v1/me/keys",
    ))
}

fn bytes(text: &str, what: &str) -> Result<Vec<u8>, Problem> {
    Base64::decode_vec(text)
        .map_err(|_| content(format!("{what} is no base64"), format!("{what} 不是有效的 base64")))
}
