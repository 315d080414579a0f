//! The program: its arguments, checked before anything starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use seal::note::NoteKey;

use super::{MAX_LOGS, MemoryError, Witness};
use crate::config::address;
use crate::tlog::Folder;
use crate::tlog::keyfile::{KeyFileError, KeyRole, load, make};

/// What the command teaches.
pub const EXAMPLES: &str = "\
A witness is run by another body than the log's: it cosigns what a log shows only if the log begins with what it showed before.
Seals want such cosignatures, so nobody can rewrite the log unseen. 见证人由另一机构运行：只有当日志包含此前所见的全部内容时才签名。

Examples / 示例:
  ingest witness --new-key w1.key --name witness.example/w1
      makes a key and prints the verifier to give to the log 生成密钥并显示公钥
  ingest witness --listen 127.0.0.1:8090 --data w1 --key w1.key --log log.example/seals+3cf63f1e+AVlR...
      watches this log; its verifier is given by whoever runs it 见证该日志

Keep the data folder: a witness that forgets could be shown another history. It refuses to start with a memory that it cannot
read. If it is lost, retire the key. Without TLS, which is not built yet, only loopback addresses are served: put a proxy in
front. 请保管好数据目录：见证记录一旦丢失，应停用该密钥。

Answers (C2SP tlog-witness v1): 200 cosigned; 400 malformed; 403 not signed by the log; 404 unknown log; 409 with the size seen
last, or another tree of the same size; 422 the log does not begin with what was seen. A fork is said on stderr.";

/// `ingest witness`.
#[derive(Debug, Args)]
#[group(skip)]
pub struct WitnessArgs {
    /// Where to listen; port 0 takes a free one 监听地址
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "new_key")]
    listen: Option<SocketAddr>,
    /// Folder of what was seen 数据目录
    #[arg(long, value_name = "DIR", required_unless_present = "new_key")]
    data: Option<PathBuf>,
    /// The witness's key 密钥文件
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// Verifier of a log to watch, once for each 所见证日志的公钥
    #[arg(long = "log", value_name = "VKEY", required_unless_present = "new_key", value_parser = log_verifier)]
    logs: Vec<NoteKey>,
    /// Make a key in a new file, print its verifier, and end 生成新密钥
    #[arg(long, value_name = "FILE", requires = "name", conflicts_with_all = ["listen", "data", "key", "logs"])]
    new_key: Option<PathBuf>,
    /// Name of the new key, such as witness.example/w1 密钥名称
    #[arg(long, value_name = "NAME", requires = "new_key")]
    name: Option<String>,
}

fn log_verifier(text: &str) -> Result<NoteKey, String> {
    NoteKey::parse_log_verifier(text).ok_or_else(|| {
        format!("{text:?} is not the verifier of a log: name+id+key expected, as the log's operator gives it")
    })
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// An address that is not for this machine only.
    #[error(
        "--listen {0} can be reached from elsewhere, and TLS is not built yet: use a loopback address and a proxy in front"
    )]
    NotLoopback(SocketAddr),
    /// Two logs of one name, or too many.
    #[error("--log {0}: given twice, or more than {MAX_LOGS} logs")]
    Logs(String),
    /// The key.
    #[error("{0}")]
    Key(#[from] KeyFileError),
    /// The data folder.
    #[error("{0}: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// What it remembers.
    #[error("{0}")]
    Memory(#[from] MemoryError),
    /// A required argument that is not there.
    #[error("--listen, --data, --key and --log are needed, or --new-key with --name")]
    Incomplete,
}

/// What the arguments ask for, done as far as it goes without a network.
#[derive(Debug)]
pub enum Ready {
    /// A key was made; its verifier.
    Key(String),
    /// A witness that can answer here.
    Serve(SocketAddr, Box<Witness<Folder>>),
}

impl WitnessArgs {
    /// Does what is asked for, or gets ready to serve.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn ready(self) -> Result<Ready, WitnessError> {
        if let (Some(path), Some(name)) = (&self.new_key, &self.name) {
            return Ok(Ready::Key(make(path, name, KeyRole::Witness)?));
        }
        let (Some(listen), Some(data), Some(key)) = (self.listen, self.data, self.key) else {
            return Err(WitnessError::Incomplete);
        };
        if !listen.ip().is_loopback() {
            return Err(WitnessError::NotLoopback(listen));
        }
        for (number, log) in self.logs.iter().enumerate() {
            if number >= MAX_LOGS || self.logs[..number].iter().any(|other| other.name == log.name) {
                return Err(WitnessError::Logs(log.name.clone()));
            }
        }
        let key = load(&key, KeyRole::Witness)?;
        let folder = Folder::open(&data).map_err(|error| WitnessError::Folder(data, error))?;
        Ok(Ready::Serve(listen, Box::new(Witness::open(folder, key, self.logs)?)))
    }
}
