//! `ingest`: the service that takes the city's frames in.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use configs::Problems;
use ingest::config::{BrokerUrl, Config, Overrides, address};
use ingest::office::command::{self, SealArgs, SealError};
use ingest::query::{self, QueryArgs, QueryError};
use ingest::witness::{self, Ready, WitnessArgs, WitnessError};
use tokio::signal::unix::{SignalKind, signal};

/// How it is set is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a configuration or a question that cannot be used (sysexits.h EX_USAGE).
const BAD_USAGE: u8 = 64;
/// Exit code when something was checked and does not hold (sysexits.h EX_DATAERR).
const DOES_NOT_HOLD: u8 = 65;
/// Where data goes when nobody says.
const DEFAULT_DATA: &str = "data/ingest";

/// Takes in what gateways and third-party sensors say, keeps it, and shows it.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Try it on this machine / 在本机试用:
  ingest serve --data /tmp/city
  then open http://127.0.0.1:8080 and publish a reading:
  mosquitto_pub -V 5 -q 1 -p 1883 -t senml/river-works \\
    -m '[{\"n\":\"station/jinjiang-2/level\",\"u\":\"m\",\"v\":3.42}]'

An acknowledgement (MQTT PUBACK, HTTP 202) leaves when the message is on stable storage.
Without TLS, which is not built yet, only loopback addresses are served.
RUST_LOG sets what is logged to stderr, e.g. RUST_LOG=ingest=debug."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGINT or SIGTERM. Works without a file: every setting has a default.
    Serve(ServeArgs),
    /// Read the configuration and the mapping files it names, report every mistake at once, start nothing.
    /// Exit code 64 when there is one.
    Check {
        /// The file, such as configs/ingest.toml
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Ask a running ingest and print the answer as a table, CSV or Arrow. 查询运行中的 ingest
    #[command(after_help = query::EXAMPLES)]
    Query(QueryArgs),
    /// Watch somebody else's log of seals and cosign what only grew. 见证其他机构的印章日志
    #[command(after_help = witness::EXAMPLES)]
    Witness(WitnessArgs),
    /// Keys, rules, signatures and checks of seals. 印章：密钥、规则、签名与核验
    #[command(after_help = command::EXAMPLES)]
    Seal(SealArgs),
}

#[derive(Args)]
struct ServeArgs {
    /// Settings; see configs/ingest.toml for the commented list
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the embedded MQTT broker listens [default: 127.0.0.1:1883]; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = address, conflicts_with = "broker")]
    mqtt: Option<std::net::SocketAddr>,
    /// Where API and console listen [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = address)]
    http: Option<std::net::SocketAddr>,
    /// Folder of the log, the pool and the registry [default: data/ingest]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use an external MQTT 5 broker instead of the embedded one: mqtt://host:port. Gateways then need receipts = true
    #[arg(long, value_name = "URL", value_parser = BrokerUrl::parse)]
    broker: Option<BrokerUrl>,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Check { config } => check(&config),
        Command::Serve(args) => serve(args),
        Command::Query(args) => ask(args),
        Command::Witness(args) => watch(args),
        Command::Seal(args) => seal(args),
    }
}

#[allow(clippy::print_stdout)] // the answer of a command
fn check(path: &std::path::Path) -> ExitCode {
    match Config::load(path, &Overrides::default()) {
        Ok(config) => {
            println!("{}: 正确 good; {} mapped sources", path.display(), config.engine.mappings.len());
            ExitCode::SUCCESS
        }
        Err(problems) => refuse(&problems),
    }
}

fn ask(args: QueryArgs) -> ExitCode {
    use std::io::Write as _;
    let (said, code) = match query::run(args, ingest::clock::now_ms()) {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(warning)) => (warning, ExitCode::SUCCESS),
        Err(error @ QueryError::Question(_)) => (error.to_string(), ExitCode::from(BAD_USAGE)),
        Err(error) => (error.to_string(), ExitCode::FAILURE),
    };
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{said}");
    code
}

fn seal(args: SealArgs) -> ExitCode {
    use std::io::Write as _;
    let Err(error) = args.run() else { return ExitCode::SUCCESS };
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{error}");
    match error {
        SealError::Usage(_) | SealError::Key(_) => ExitCode::from(BAD_USAGE),
        SealError::DoesNotHold => ExitCode::from(DOES_NOT_HOLD),
        SealError::Failed(_) => ExitCode::FAILURE,
    }
}

#[allow(clippy::print_stdout)] // the verifier of a new key
fn watch(args: WitnessArgs) -> ExitCode {
    let (listen, witness) = match args.ready() {
        Ok(Ready::Serve(listen, witness)) => (listen, *witness),
        Ok(Ready::Key(verifier)) => {
            println!("{verifier}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            tracing::error!("见证人无法启动 {error}");
            let is_usage = matches!(
                error,
                WitnessError::NotLoopback(_)
                    | WitnessError::Logs(_)
                    | WitnessError::Incomplete
                    | WitnessError::Key(_)
            );
            return if is_usage { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE };
        }
    };
    let served = tokio::runtime::Builder::new_multi_thread().enable_all().build().and_then(|runtime| {
        runtime.block_on(async {
            let stop = told_to_stop();
            let listener = tokio::net::TcpListener::bind(listen).await?;
            let seen: Vec<String> = witness.seen().map(|(log, size)| format!("{log}: {size}")).collect();
            tracing::info!(http = %listener.local_addr()?, ?seen, "见证人已启动 the witness is serving");
            ingest::http::serve_witness(listener, witness, stop).await
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%listen, %error, "无法见证 cannot serve");
            ExitCode::FAILURE
        }
    }
}

fn refuse(problems: &Problems) -> ExitCode {
    use std::io::Write as _;
    let count = problems.0.len();
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{problems}配置有误 configuration refused; 错误 mistakes: {count}");
    ExitCode::from(BAD_USAGE)
}

fn serve(args: ServeArgs) -> ExitCode {
    let overrides = Overrides { mqtt: args.mqtt, broker: args.broker, http: args.http, data: args.data };
    let config = match &args.config {
        Some(path) => Config::load(path, &overrides),
        None => Config::with_data(DEFAULT_DATA.into()).and_then(|config| config.apply(&overrides)),
    };
    let config = match config {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "无法启动 cannot start");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async { ingest::serve(config, told_to_stop()).await });
    // Whatever still runs is not ours to wait for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("无法服务 {error}");
            ExitCode::FAILURE
        }
    }
}

/// Comes with SIGINT or SIGTERM. The handlers stand when this returns, not only when the future is first polled: a
/// signal during start-up must stop in order too.
fn told_to_stop() -> impl Future<Output = ()> {
    let handlers = signal(SignalKind::interrupt()).and_then(|i| Ok((i, signal(SignalKind::terminate())?)));
    async move {
        match handlers {
            Ok((mut interrupt, mut terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            // Without handlers the signals end the process at once, which the log is made for.
            Err(error) => {
                tracing::warn!(%error, "无法处理信号 signals cannot be handled");
                std::future::pending().await
            }
        }
    }
}
