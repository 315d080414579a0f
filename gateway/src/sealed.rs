//! `gateway seal`: what an installer or a clerk asks of the smart seal.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use ::seal::keys::Algorithm;
use clap::Subcommand;
use gateway::Config;
use gateway::seal::desk::{self, Request};
use gateway::seal::people::hash;
use gateway::seal::{key, words};
use serde_json::Value;

use super::{COULD_NOT_START, File, answer, complain, with_config};

/// It was refused, or did not end as it should.
const REFUSED: u8 = 2;

#[derive(Subcommand)]
#[command(after_help = "\
安装 To install one:
  gateway seal init --config gateway.toml      生成设备密钥，打印公钥，报主管部门登记
                                               makes the key of the device and prints what is enrolled
                                               国密 with keys of SM2: --algorithm sm2
  gateway seal pin <<< 271828                  人员 PIN 的散列 what stands for a PIN in the file of people
  gateway check --config gateway.toml
  gateway run --config gateway.toml
用印 To stamp:
  gateway seal status --config gateway.toml    查看授权 which grants are held
  gateway seal stamp --config gateway.toml --grant 3f2a
                                               先在键盘输入 PIN 或刷卡，再运行；放好纸张，20 秒内按压
                                               show the PIN or card first; lay the paper, press within 20 s
线路上的印章 A seal at the end of a serial line ([[seal_line]]):
  gateway seal line --config gateway.toml      本端公钥和指纹，输入印章；印章的公钥写入配置；两端核对指纹
                                               this end's key and fingerprint, for the seal; the seal's key goes into the
                                               configuration; both are compared, in groups of four
没有网络 Without a network:
  gateway seal present --config gateway.toml --grant \"$(cat grant.txt)\"

Exit codes: 0 fine, 2 refused or not stamped once, 1 no gateway answers, 64 the configuration is wrong.")]
pub(crate) enum Command {
    /// 生成设备密钥（只能一次）并打印公钥 Make the key of the device, once, and print what is enrolled.
    Init(Init),
    /// 由标准输入读取 PIN，打印其散列，写入人员文件 Read a PIN from standard input and print what stands for it in the file of
    /// people.
    Pin,
    /// 查看印章状态和授权 How it is, and which grants it holds.
    Status(Asked),
    /// 用印一次 Make one use of a grant, and wait for the end of it.
    Stamp(Stamp),
    /// 离线带入授权 Bring a grant by hand.
    Present(Present),
    /// 显示本机线路密钥的公钥和指纹（首次运行时生成） Show the key of this end of serial lines to seals; it is made at the first look.
    Line(File),
    /// 立即联系平台 Ask the authority now.
    Ask(Asked),
}

#[derive(clap::Args)]
pub(crate) struct Init {
    #[command(flatten)]
    file: File,
    /// ed25519, or sm2 where the state asks for it.
    #[arg(long, value_name = "ALGORITHM", default_value = "ed25519", value_parser = configs::roots::read_algorithm)]
    algorithm: Algorithm,
}

#[derive(clap::Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    file: File,
    /// For programs.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Stamp {
    #[command(flatten)]
    asked: Asked,
    /// How the name of the grant begins, as `status` shows it; not needed where only one is held.
    #[arg(long, value_name = "HEX", default_value = "")]
    grant: String,
    /// Where there is no keypad: `pin 1234` or `card 04a2f3`. Other users of this machine see it while it runs.
    #[arg(long, value_name = "WHAT")]
    shown: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Present {
    #[command(flatten)]
    asked: Asked,
    /// The grant as it was issued, in hexadecimal digits or base64.
    #[arg(long, value_name = "GRANT")]
    grant: String,
}

pub(crate) fn run(command: Command) -> ExitCode {
    match command {
        Command::Init(Init { file, algorithm }) => {
            with_seal(&file, |_, key| match key::make(&key, algorithm) {
                Ok(made) => {
                    answer(&key::words(&made));
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    complain(&error.to_string());
                    ExitCode::from(COULD_NOT_START)
                }
            })
        }
        Command::Line(file) => with_config(&file, |config| match key::of_lines(&config.data) {
            Ok(secret) => {
                answer(&key::line_words(&line::noise::public(&secret)));
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain(&error.to_string());
                ExitCode::from(COULD_NOT_START)
            }
        }),
        Command::Pin => pin(),
        Command::Status(asked) => ask(&asked, &Request::Status),
        Command::Ask(asked) => ask(&asked, &Request::Ask),
        Command::Stamp(Stamp { asked, grant, shown }) => ask(&asked, &Request::Stamp { grant, shown }),
        Command::Present(Present { asked, grant }) => ask(&asked, &Request::Present { grant }),
    }
}

fn pin() -> ExitCode {
    let mut typed = String::new();
    // Longer than a PIN is enough to know that it is none.
    let read = std::io::stdin().take(64).read_to_string(&mut typed);
    match read
        .map_err(|error| error.to_string())
        .and_then(|_| hash(typed.trim()).map_err(|error| error.to_string()))
    {
        Ok(hash) => {
            answer(&format!("{hash}\n"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(&why);
            ExitCode::from(super::WRONG_CONFIG)
        }
    }
}

/// With the data folder and the file of the key.
fn with_seal(file: &File, act: impl FnOnce(PathBuf, PathBuf) -> ExitCode) -> ExitCode {
    with_config(file, |config: Config| match config.seal {
        Some(seal) => act(config.data, seal.key),
        None => no_seal(),
    })
}

fn no_seal() -> ExitCode {
    complain("配置中没有印章 this gateway has no seal: a section [seal] expected, see configs/gateway.toml");
    ExitCode::from(super::WRONG_CONFIG)
}

fn ask(asked: &Asked, request: &Request) -> ExitCode {
    with_config(&asked.file, |config| match desk::ask(&config.data, request) {
        _ if !config.has_seals() => no_seal(),
        Ok(found) => {
            let is_status = *request == Request::Status;
            answer(&match (asked.json, is_status) {
                (true, _) => format!("{found}\n"),
                (false, true) => words::status_told(&found),
                (false, false) => words::told(&found),
            });
            if found["ok"] == Value::Bool(true) { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
        }
        Err(error) => {
            complain(&format!(
                "印章未运行 no gateway answers at {}: {error}; start it with gateway run",
                desk::socket(&config.data).display()
            ));
            ExitCode::from(COULD_NOT_START)
        }
    })
}
