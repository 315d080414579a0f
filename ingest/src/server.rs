//! All parts of ingest, started and stopped in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

use crate::broker::{self, Broker, Listeners};
use crate::clock::now_ms;
use crate::config::{Config, Intake};
use crate::console::Console;
use crate::engine::{Engine, EngineThreads, StartError};
use crate::external::External;
use crate::feeds::Feed;
use crate::http::{Http, Parts};
use crate::office::{Downlink, Office, OfficeError, OfficeTask, Settings};
use crate::people::passkey::Site;
use crate::people::password::Cost;
use crate::people::session::Token;
use crate::people::{People, PeopleError};

/// Why ingest could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder, the checkpoint, the database.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// The people.
    #[error("people: {0}")]
    People(#[from] PeopleError),
    /// The office of seals.
    #[error("seals: {0}")]
    Office(#[from] OfficeError),
    /// An address that cannot be listened on.
    #[error("cannot listen on {addr} for {what}: {error}; is another ingest running, or is the port taken?")]
    Listen {
        /// For what: MQTT or HTTP.
        what: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A thread of the engine ended in mid-service.
    #[error(
        "接入服务的内部线程已终止；已确认的数据都在日志中，重新启动即可恢复 a thread of the engine has ended; what was acknowledged \
         is in the log: start ingest again. The error above says why"
    )]
    Ended,
    /// A thread of ours ended while starting or stopping.
    #[error("a thread of ingest ended unexpectedly: {0}")]
    Thread(String),
}

/// A running ingest.
pub struct Server {
    /// Where the embedded broker listens; `None` with an external broker.
    pub mqtt_addr: Option<SocketAddr>,
    /// Where HTTP listens.
    pub http_addr: SocketAddr,
    /// A link that makes the first admin, once; `None` when there is one. A secret: for whoever started ingest.
    pub first_link: Option<String>,
    engine: Engine,
    threads: EngineThreads,
    mqtt: Mqtt,
    office: Option<OfficeTask>,
    http: Http,
}

/// Where publishes come from.
enum Mqtt {
    Embedded(Broker),
    External(External),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("mqtt_addr", &self.mqtt_addr)
            .field("http_addr", &self.http_addr)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Recovers the data folder, then opens the doors. Needs a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// [`ServeError`]; whatever was started by then is stopped again.
    pub async fn start(config: Config) -> Result<Self, ServeError> {
        let feed = Arc::new(Feed::new(fastrand::u64(..)));
        let (of_engine, its_feed) = (config.engine.clone(), feed.clone());
        let (engine, threads) = blocking(move || Engine::start(of_engine, its_feed)).await??;
        let (people, first) = match people(&config).await {
            Ok(people) => people,
            Err(error) => {
                blocking(move || threads.stop()).await?;
                return Err(error.into());
            }
        };
        let site = config.site.clone();
        let counts = Arc::new(broker::Counts::default());
        let listeners = Listeners::default();
        let mqtt = match &config.intake {
            Intake::External(url) => Mqtt::External(External::start(url, engine.clone())),
            Intake::Embedded(addr) => {
                let started = Broker::start(
                    *addr,
                    config.mqtt_threads,
                    config.mqtt_connections,
                    engine.clone(),
                    counts.clone(),
                    listeners.clone(),
                );
                match started {
                    Ok(broker) => Mqtt::Embedded(broker),
                    Err(error) => {
                        blocking(move || threads.stop()).await?;
                        return Err(ServeError::Listen { what: "MQTT", addr: *addr, error });
                    }
                }
            }
        };
        let downlink: Downlink = match &mqtt {
            Mqtt::External(external) => external.downlink(),
            Mqtt::Embedded(_) => Arc::new(move |gateway, bytes| listeners.send(gateway, bytes)),
        };
        let office = match office(&config, &engine, downlink, &feed).await {
            Ok(office) => office,
            Err(error) => {
                mqtt.stop().await?;
                blocking(move || threads.stop()).await?;
                return Err(error.into());
            }
        };
        let (office, office_task) = office.unzip();
        let console =
            Console::new(config.tiles.as_deref(), office.is_some(), site.as_ref().map(Site::origin));
        let parts = Parts {
            engine: engine.clone(),
            people,
            office,
            feed,
            console,
            broker: counts,
            link: match &mqtt {
                Mqtt::External(external) => Some(external.link()),
                Mqtt::Embedded(_) => None,
            },
            connections: config.http_connections,
            streams: config.streams,
        };
        let http = match Http::start(config.http, parts).await {
            Ok(http) => http,
            Err(error) => {
                mqtt.stop().await?;
                blocking(move || threads.stop()).await?;
                return Err(ServeError::Listen { what: "HTTP", addr: config.http, error });
            }
        };
        let mqtt_addr = match &mqtt {
            Mqtt::Embedded(broker) => Some(broker.addr()),
            Mqtt::External(_) => None,
        };
        let http_addr = http.addr();
        // Where passkeys are good, if anywhere: the admin wants one too.
        let base = site.map_or_else(|| format!("http://{http_addr}"), |site| site.origin().to_owned());
        let first_link = first.map(|token| format!("{base}/first#{}", token.reveal()));
        Ok(Self { mqtt_addr, http_addr, first_link, engine, threads, mqtt, office: office_task, http })
    }

    /// The engine inside, for those who start ingest in their own process.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Closes the doors, then writes what is still in memory. Bounded, but for the last write to a slow disk.
    ///
    /// # Errors
    /// [`ServeError::Thread`] when something had ended before; the log holds everything all the same.
    pub async fn stop(self) -> Result<(), ServeError> {
        let Self { threads, mqtt, office, http, .. } = self;
        mqtt.stop().await?;
        http.stop().await;
        if let Some(office) = office {
            office.stop();
        }
        blocking(move || threads.stop()).await
    }
}

impl Mqtt {
    async fn stop(self) -> Result<(), ServeError> {
        match self {
            Mqtt::Embedded(broker) => blocking(move || broker.stop()).await,
            Mqtt::External(external) => {
                external.stop().await;
                Ok(())
            }
        }
    }
}

/// The people, and the token for the first admin.
async fn people(config: &Config) -> Result<(People, Option<Token>), PeopleError> {
    let people = People::open(&config.engine.database_url(), Cost::Full, config.site.clone()).await?;
    let token = people.first_token(now_ms()).await?;
    Ok((people, token))
}

/// The office of seals, if there is to be one.
async fn office(
    config: &Config,
    engine: &Engine,
    downlink: Downlink,
    feed: &Arc<Feed>,
) -> Result<Option<(Office, OfficeTask)>, OfficeError> {
    let Some(seals) = config.seals.clone() else { return Ok(None) };
    let settings = Settings {
        database: config.engine.database_url(),
        folder: config.engine.data.join("seals"),
        log_key: seals.log_key,
        issuer_key: seals.issuer_key,
        witnesses: seals.witnesses,
        witnesses_needed: seals.witnesses_needed,
        roots: seals.roots,
        roots_needed: seals.roots_needed,
        photo_patience: seals.photo_patience,
    };
    Office::start(settings, engine.mail(), downlink, feed.clone()).await.map(Some)
}

/// Starting and stopping threads takes a while: not on the runtime's own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServeError::Thread(error.to_string()))
}

/// Serves until `shutdown` comes, then stops in order.
///
/// # Errors
/// [`ServeError::Ended`] when it can serve no more, so that a supervisor starts it again; else as [`Server::start`] and [`Server::stop`].
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let data = config.engine.data.display().to_string();
    let server = Server::start(config).await?;
    let mqtt = server.mqtt_addr.map_or_else(|| "external".to_owned(), |addr| addr.to_string());
    tracing::info!(mqtt, http = %server.http_addr, data, "接入服务已启动 ingest is serving");
    if let Some(link) = &server.first_link {
        tracing::warn!(
            "尚无管理员：请在一小时内打开此一次性链接创建 nobody manages this city yet: open this link within an hour, it works once: {link}"
        );
    }
    let engine = server.engine.clone();
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        () = engine.ended() => Err(ServeError::Ended),
    };
    tracing::info!("正在停止 stopping");
    server.stop().await?;
    tracing::info!("已停止 stopped");
    ended
}
