//! `ingest seal`: what the keepers of keys and those who check do, without an account and without trust in the office.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use seal::keys::Algorithm;
use seal::policy::Roots;

use crate::client;
use crate::config::address;
use crate::tlog::keyfile::{self, KeyFileError, KeyRole};

mod audit;
mod rules;
mod sign;
mod verify;

/// What the command teaches.
pub const EXAMPLES: &str = "\
To set up an office of seals / 启用印章业务:
  ingest seal key log.key --name seals.example/log      the log's key 日志密钥
  ingest seal key issuer.key --name issuer              the issuer's 签发机关密钥
  ingest seal key root-1.key --name root-1              one for each body that decides about rules; keep them off the server
                                                        根密钥，由各机构离线保管
  国密 with SM2, for any but the log's: --algorithm sm2
  then [seals] in the configuration, see configs/ingest.toml

To say who may approve what / 制定规则:
  ingest seal policy rules.toml --key root-1.key --output rules.cose     signs rules 签名规则
  ingest seal policy rules.cose --key root-2.key --output rules.cose     another body signs the same 另一机构加签

To approve without a browser / 命令行审批:
  ingest seal sign --key mine.key to-sign.json          shows the grant in full, signs it 显示全部内容后签名

To check / 核验:
  ingest seal roots gongli-07 > roots.toml              keys to check by; compare them with what their owners publish
  ingest seal verify photo.jpg --roots roots.toml       is this impression covered by a grant? 该印迹是否有授权
  ingest seal audit --roots roots.toml --output copy    reads the whole log, as a stranger 通读公开日志

Exit codes: 0 it holds, 64 bad usage, 65 it does not hold, 1 could not be done.";

/// `ingest seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    #[command(subcommand)]
    deed: Deed,
    /// HTTP address of the running ingest 服务地址
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address, global = true)]
    http: SocketAddr,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// Make a key in a new file and print its public half 生成密钥
    Key {
        /// The file; only its owner can read it
        file: PathBuf,
        /// Its name, such as seals.example/log or root-1
        #[arg(long)]
        name: String,
        /// ed25519, or sm2 for any but the log's 算法
        #[arg(long, value_name = "ALGORITHM", default_value = "ed25519", value_parser = configs::roots::read_algorithm)]
        algorithm: Algorithm,
    },
    /// Sign the rules of a seal, or add a signature to rules that others have signed 签名规则
    Policy {
        /// Rules as text (TOML, see configs/seal-rules.toml), or as another body has signed them
        file: PathBuf,
        /// The key of a root
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the signed rules go
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Show a grant or a delegation in full and sign it 显示并签名授权或委托
    Sign {
        /// What GET /api/v1/applications/{grant}/to-sign or POST /api/v1/delegations/draft has answered; standard input when
        /// absent
        file: Option<PathBuf>,
        /// The approver's key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The document, to see whether it is the one of the grant 待核对的文件
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
        /// Sign without asking: only when the grant was read elsewhere
        #[arg(long)]
        yes: bool,
    },
    /// Print the keys that a device of this seal, or somebody who checks, goes by 输出信任的密钥
    Roots {
        /// The seal
        seal: String,
    },
    /// Check a receipt, a photograph of an impression, or the digest of one 核验回执、照片或摘要
    Verify {
        /// A file, or 64 hexadecimal digits as a QR code on paper carries them
        what: String,
        /// The keys to go by, see `ingest seal roots`; without it those that the server shows
        #[arg(long, value_name = "FILE")]
        roots: Option<PathBuf>,
    },
    /// Fetch the whole log, check every leaf, and keep a copy that others can check 通读并核对公开日志
    Audit {
        /// The keys to go by; without it those that the server shows
        #[arg(long, value_name = "FILE")]
        roots: Option<PathBuf>,
        /// A folder for the copy: checkpoint and tiles as they are served
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// Why a deed is not done.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It cannot be used as it was given.
    #[error("{0}")]
    Usage(String),
    /// It does not hold. What there is to say is printed.
    #[error("不成立 it does not hold")]
    DoesNotHold,
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
}

fn failed(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> SealError {
    move |error| SealError::Failed(format!("{what}: {error}"))
}

fn read(path: &Path) -> Result<Vec<u8>, SealError> {
    fs::read(path).map_err(failed(path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SealError> {
    fs::write(path, bytes).map_err(failed(path.display()))
}

/// Prints a line for whoever asked; nobody is left to tell when that fails.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Asks the server.
fn get(http: SocketAddr, path: &str) -> Result<Vec<u8>, SealError> {
    let answer = client::request(http, "GET", path, None).map_err(|error| {
        SealError::Failed(format!("http://{http}{path}: {error}; is ingest running there? --http"))
    })?;
    if answer.status == 200 {
        return Ok(answer.body);
    }
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (en, zh) = (said["detail"].as_str().unwrap_or("no detail"), said["detail_zh"].as_str().unwrap_or(""));
    Err(SealError::Failed(format!("http://{http}{path} answers {}: {zh} {en}", answer.status)))
}

/// The keys to go by: from a file, or from the server, which is said.
fn roots(http: SocketAddr, file: Option<&Path>, seal: &str) -> Result<Roots, SealError> {
    if let Some(file) = file {
        return configs::roots::load(file).map_err(SealError::Usage);
    }
    let roots = served_roots(http, seal)?;
    say(
        "注意：未给出 --roots，以下按服务器自己公布的密钥核验 note: without --roots the keys are those that the server itself shows",
    );
    Ok(roots)
}

fn served_roots(http: SocketAddr, seal: &str) -> Result<Roots, SealError> {
    let text = String::from_utf8(get(http, &format!("/api/v1/roots/{}", client::escape(seal)))?);
    let text = text.map_err(|_| SealError::Failed("the server's answer is no text".into()))?;
    configs::roots::parse("/api/v1/roots", &text).map_err(SealError::Failed)
}

impl SealArgs {
    /// Does it.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn run(self) -> Result<(), SealError> {
        let http = self.http;
        match self.deed {
            Deed::Key { file, name, algorithm: Algorithm::Sm2 } => {
                let public = keyfile::make_sm2(&file, &name)?;
                say(format_args!("公钥 key       {}", configs::roots::key_text(&public)));
                Ok(())
            }
            Deed::Key { file, name, algorithm: Algorithm::Ed25519 } => {
                let verifier = keyfile::make(&file, &name, KeyRole::Log)?;
                let key = keyfile::load(&file, KeyRole::Log)?;
                say(format_args!("公钥 key       {}", configs::roots::key_text(&key.public.key)));
                say(format_args!("日志 verifier  {verifier}"));
                Ok(())
            }
            Deed::Policy { file, key, output } => rules::sign(&file, &key, &output),
            Deed::Sign { file, key, document, yes } => {
                sign::sign(file.as_deref(), &key, document.as_deref(), yes)
            }
            Deed::Roots { seal } => {
                let roots = served_roots(http, &seal)?;
                let _ = write!(io::stdout(), "{}", configs::roots::text(&roots));
                Ok(())
            }
            Deed::Verify { what, roots } => verify::verify(http, &what, roots.as_deref()),
            Deed::Audit { roots, output } => audit::audit(http, roots.as_deref(), output.as_deref()),
        }
    }
}
