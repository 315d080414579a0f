//! Settings of `ingest serve`: file, then overrides of the command line, then checked as a whole.
//!
//! Every setting has a default, so that `ingest serve` works with no file at all. See `configs/ingest.toml` for
//! the commented list.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use configs::strict::Problem;
use configs::{Catalogue, Document, Problems, Section};
use wire::GatewayId;

use crate::admit::Registration;
use crate::engine::EngineConfig;
use crate::people::passkey::Site;
use crate::senml::Mappings;

mod seals;

pub use seals::Seals;

/// Where publishes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intake {
    /// Our own broker listens here; port 0 takes a free one.
    Embedded(SocketAddr),
    /// Somebody else's broker, `mqtt://host:port`.
    External(BrokerUrl),
}

/// Where an external broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Name or address.
    pub host: String,
    /// Port, 1883 when none is given.
    pub port: u16,
}

impl BrokerUrl {
    /// Reads `mqtt://host[:port]`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is not a broker: {why}; mqtt://host:port expected");
        if text.starts_with("mqtts://") {
            return Err(wrong("TLS is not supported yet"));
        }
        let rest = text.strip_prefix("mqtt://").ok_or_else(|| wrong("it does not start with mqtt://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(wrong("only a host and a port may follow"));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') || host.ends_with(']') => (
                host,
                port.parse::<u16>()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(|| wrong("the port is no number from 1 to 65535"))?,
            ),
            _ => (rest, 1883),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        Ok(Self { host: host.into(), port })
    }
}

/// Everything `ingest serve` needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where publishes come from.
    pub intake: Intake,
    /// Event loops of the embedded broker.
    pub mqtt_threads: usize,
    /// Connections of the embedded broker at once.
    pub mqtt_connections: usize,
    /// Where the HTTP API and the console listen; port 0 takes a free one.
    pub http: SocketAddr,
    /// Connections of the HTTP server at once.
    pub http_connections: usize,
    /// The address at which people open the console, to which their passkeys are bound; none by default: no passkeys.
    pub site: Option<Site>,
    /// Event streams at once.
    pub streams: usize,
    /// Tiles under the console's map, `https://…/{z}/{x}/{y}.png`; none by default: the console works offline.
    pub tiles: Option<String>,
    /// The office of seals; none by default.
    pub seals: Option<Seals>,
    /// The engine's part, with catalogue and mappings loaded.
    pub engine: EngineConfig,
}

/// What the command line says over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--mqtt`
    pub mqtt: Option<SocketAddr>,
    /// `--broker`
    pub broker: Option<BrokerUrl>,
    /// `--http`
    pub http: Option<SocketAddr>,
    /// `--data`
    pub data: Option<PathBuf>,
}

/// The mapping files that come with the product, in use when no file names a folder.
const EXAMPLE_MAPPINGS: [(&str, &str); 2] = [
    ("configs/senml/river-works.toml", include_str!("../../configs/senml/river-works.toml")),
    ("configs/senml/clean-air.toml", include_str!("../../configs/senml/clean-air.toml")),
];

impl Config {
    /// The defaults, with data in `data`: loopback 1883 and 8080, any gateway, the example mappings.
    ///
    /// # Errors
    /// Mistakes in the built-in examples; none in a build whose tests passed.
    pub fn with_data(data: PathBuf) -> Result<Self, Problems> {
        let catalogue = Arc::new(Catalogue::builtin());
        let mut mappings = Mappings::default();
        for (file, text) in EXAMPLE_MAPPINGS {
            mappings.add(file, text, &catalogue)?;
        }
        Ok(Self {
            intake: Intake::Embedded(SocketAddr::from(([127, 0, 0, 1], 1883))),
            mqtt_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get).clamp(1, 4),
            mqtt_connections: 10_000,
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            http_connections: 1024,
            site: None,
            streams: 256,
            tiles: None,
            seals: None,
            engine: EngineConfig::new(data, catalogue, Arc::new(mappings)),
        })
    }

    /// Reads a file and applies the overrides. Relative paths in the file start at the file's folder.
    ///
    /// # Errors
    /// Every mistake of the file, of the mapping files it names, and of the overrides.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![Problem {
                file: file.clone(),
                line: 0,
                key: String::new(),
                message: format!("cannot be read: {error}"),
            }])
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (config, mut problems) = Self::read(&file, &text, folder)?;
        match config.apply(overrides) {
            Ok(config) if problems.0.is_empty() => Ok(config),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.0.extend(more.0);
                Err(problems)
            }
        }
    }

    /// Applies the command line and checks the whole.
    ///
    /// # Errors
    /// Addresses that may not be used.
    pub fn apply(mut self, overrides: &Overrides) -> Result<Self, Problems> {
        if let Some(mqtt) = overrides.mqtt {
            self.intake = Intake::Embedded(mqtt);
        }
        if let Some(broker) = &overrides.broker {
            self.intake = Intake::External(broker.clone());
        }
        if let Some(http) = overrides.http {
            self.http = http;
        }
        if let Some(data) = &overrides.data {
            self.engine.data = data.clone();
        }
        let mut problems = Vec::new();
        let mut check = |key: &str, addr: SocketAddr| {
            if !addr.ip().is_loopback() {
                problems.push(Problem {
                    file: "addresses".into(),
                    line: 0,
                    key: key.into(),
                    message: format!(
                        "{addr} can be reached from other machines, and TLS is not built yet: anybody could deliver and read. \
                         Use 127.0.0.1 or [::1], and a tunnel (ssh -L, WireGuard) to come from elsewhere. \
                         {addr} 可被其他机器访问，而 TLS 尚未实现：请改用 127.0.0.1，远程访问请用隧道"
                    ),
                });
            }
        };
        if let Intake::Embedded(addr) = self.intake {
            check("mqtt.listen", addr);
        }
        check("http.listen", self.http);
        if problems.is_empty() { Ok(self) } else { Err(Problems(problems)) }
    }

    fn read(file: &str, text: &str, folder: &Path) -> Result<(Self, Problems), Problems> {
        let document = Document::parse(file, text);
        let mut config = Self::with_data(folder.join("data"))?;
        let mut more = Problems::default();
        let mut root = document.root();
        if let Some(data) = root.optional("data", |text| {
            if text.is_empty() { Err("a folder expected") } else { Ok(folder.join(text)) }
        }) {
            config.engine.data = data;
        }
        config.read_mqtt(root.section("mqtt"));
        config.read_http(root.section("http"));
        config.read_engine(&mut root);
        config.read_gateways(root.section("gateways"));
        config.seals = seals::read(root.section("seals"), folder);
        let mut senml = root.section("senml");
        if let Some(mappings) = senml.optional("mappings", |text| Ok::<_, String>(folder.join(text))) {
            match Mappings::load(&mappings, &config.engine.catalogue) {
                Ok(mappings) => config.engine.mappings = Arc::new(mappings),
                Err(problems) => more.0.extend(problems.0),
            }
        }
        drop((senml, root));
        let mut problems = document.finish();
        problems.0.extend(more.0);
        Ok((config, problems))
    }

    fn read_mqtt(&mut self, mut section: Section<'_>) {
        let listen = section.optional("listen", address);
        let broker = section.optional("broker", BrokerUrl::parse);
        match (listen, broker) {
            (Some(_), Some(_)) => section.problem(
                "broker",
                "listen and broker exclude each other: our own broker, or an external one",
            ),
            (Some(listen), None) => self.intake = Intake::Embedded(listen),
            (None, Some(broker)) => self.intake = Intake::External(broker),
            (None, None) => {}
        }
        if let Some(threads) = section.integer("threads", 1..=64) {
            self.mqtt_threads = threads as usize;
        }
        if let Some(connections) = section.integer("connections", 1..=1_000_000) {
            self.mqtt_connections = connections as usize;
        }
    }

    fn read_http(&mut self, mut section: Section<'_>) {
        if let Some(listen) = section.optional("listen", address) {
            self.http = listen;
        }
        if let Some(connections) = section.integer("connections", 1..=100_000) {
            self.http_connections = connections as usize;
        }
        self.site = section.optional("origin", Site::new);
        if let Some(streams) = section.integer("streams", 1..=10_000) {
            self.streams = streams as usize;
        }
        self.tiles = section.optional("tiles", |text| {
            let whole = ["{z}", "{x}", "{y}"].iter().all(|part| text.contains(part));
            let safe = text
                .chars()
                .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | ';' | ',' | '<' | '>' | '\\'));
            if whole && safe && (text.starts_with("https://") || text.starts_with("http://")) {
                Ok(text.to_owned())
            } else {
                Err(format!("{text:?} is not a tile URL: https://host/path/{{z}}/{{x}}/{{y}}.png expected"))
            }
        });
    }

    fn read_engine(&mut self, root: &mut Section<'_>) {
        let engine = &mut self.engine;
        let mut log = root.section("log");
        if let Some(bytes) = log.size_bytes("segment", (1 << 20)..=(1 << 30)) {
            engine.segment_bytes = bytes;
        }
        if let Some(ms) = log.duration_ms("keep", 0..=365 * 86_400_000) {
            engine.keep_log_ms = ms as i64;
        }
        if let Some(bytes) = log.size_bytes("keep_bytes", 0..=(1 << 50)) {
            engine.keep_log_bytes = bytes;
        }
        let mut pool = root.section("pool");
        if let Some(ms) = pool.duration_ms("parquet_every", 100..=3_600_000) {
            engine.parquet_every_ms = ms as i64;
        }
        if let Some(rows) = pool.integer("parquet_rows", 1000..=50_000_000) {
            engine.parquet_rows = rows as usize;
        }
        if let Some(ms) = pool.duration_ms("windows_every", 100..=3_600_000) {
            engine.windows_every_ms = ms as i64;
        }
        if let Some(percent) = pool.integer("compact_core_percent", 1..=100) {
            engine.compaction.core_percent = percent as u64;
        }
        if let Some(bytes) = pool.size_bytes("compact_per_second", (64 << 10)..=(16 << 30)) {
            engine.compaction.bytes_per_s = bytes;
        }
        if let Some(ms) = pool.duration_ms("hot", 60_000..=30 * 86_400_000) {
            engine.hot_ms = ms as i64;
        }
        if let Some(bytes) = pool.size_bytes("hot_bytes", (1 << 20)..=(1 << 40)) {
            engine.hot_bytes = bytes as usize;
        }
        let mut quarantine = root.section("quarantine");
        if let Some(bytes) = quarantine.size_bytes("keep_bytes", (1 << 20)..=(1 << 40)) {
            engine.quarantine_bytes = bytes;
        }
        let mut registry = root.section("registry");
        if let Some(url) = registry.optional("database", database) {
            engine.database = Some(url);
        }
    }

    fn read_gateways(&mut self, mut section: Section<'_>) {
        let open = section.flag("open");
        let mut listed = BTreeSet::new();
        for text in section.texts("known") {
            match GatewayId::new(&text) {
                Ok(gateway) => {
                    if !listed.insert(gateway) {
                        section.problem("known", format!("{text:?} is listed twice"));
                    }
                }
                Err(error) => section.problem("known", error.to_string()),
            }
        }
        match (open, listed.is_empty()) {
            (Some(true), false) => {
                section.problem("open", "open = true and a list of known gateways exclude each other")
            }
            (Some(false), true) => section.problem("known", "open = false needs at least one known gateway"),
            (_, false) => self.engine.registration = Registration::Listed(listed),
            (_, true) => {}
        }
    }
}

/// An address as it is typed: `127.0.0.1:1883`, `[::1]:1883`, `localhost:1883`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("{text:?} is not an address: ip:port expected, such as 127.0.0.1:1883"))
}

fn database(text: &str) -> Result<String, String> {
    if text.starts_with("sqlite:") || text.starts_with("postgres://") || text.starts_with("postgresql://") {
        Ok(text.to_owned())
    } else {
        Err("a database URL expected: sqlite:path or postgres://user@host/name".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Problems> {
        let (config, problems) = Config::read("ingest.toml", text, Path::new("/srv"))?;
        if problems.0.is_empty() { config.apply(&Overrides::default()) } else { Err(problems) }
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = read("").unwrap();
        assert_eq!(config.intake, Intake::Embedded("127.0.0.1:1883".parse().unwrap()));
        assert_eq!(config.http, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.engine.data, Path::new("/srv/data"));
        assert_eq!(config.engine.registration, Registration::Open);
        assert_eq!(config.engine.mappings.len(), EXAMPLE_MAPPINGS.len());
    }

    #[test]
    fn the_shipped_file_is_good_and_says_the_defaults() {
        let path = Path::new("../configs/ingest.toml");
        let shipped =
            Config::load(path, &Overrides::default()).unwrap_or_else(|problems| panic!("{problems}"));
        let default = Config::with_data(shipped.engine.data.clone()).unwrap();
        assert_eq!((shipped.http, shipped.http_connections), (default.http, default.http_connections));
        assert_eq!((&shipped.intake, shipped.streams), (&default.intake, default.streams));
        assert_eq!(shipped.mqtt_connections, default.mqtt_connections);
        let (of_file, of_code) = (&shipped.engine, &default.engine);
        assert_eq!(of_file.segment_bytes, of_code.segment_bytes);
        assert_eq!(
            (of_file.keep_log_ms, of_file.keep_log_bytes),
            (of_code.keep_log_ms, of_code.keep_log_bytes)
        );
        assert_eq!(
            (of_file.parquet_every_ms, of_file.parquet_rows, of_file.windows_every_ms),
            (of_code.parquet_every_ms, of_code.parquet_rows, of_code.windows_every_ms)
        );
        assert_eq!(of_file.compaction, of_code.compaction);
        assert_eq!((of_file.hot_ms, of_file.hot_bytes), (of_code.hot_ms, of_code.hot_bytes));
        assert_eq!(of_file.quarantine_bytes, of_code.quarantine_bytes);
        assert_eq!(of_file.mappings.len(), of_code.mappings.len());
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let problems = read(
            "data = 3\n[mqtt]\nlisten = '1883'\nconnection = 3\n[http]\nstreams = 0\ntiles = 'x'\norigin = 'http://city.example'\n\
             [log]\nkeep = '1'\n[gateways]\nopen = false\nknown = ['Box 1']\n[registry]\ndatabase = 'mysql://x'\n",
        )
        .unwrap_err()
        .to_string();
        for expected in [
            "ingest.toml:1: data: a text in quotes expected",
            "ingest.toml:3: mqtt.listen: \"1883\" is not an address",
            "ingest.toml:4: mqtt.connection: unknown key: did you mean \"connections\"?",
            "http.streams: 0 is out of range",
            "http.tiles: \"x\" is not a tile URL",
            "http.origin: \"http://city.example\" is no origin for passkeys",
            "log.keep: \"1\" is not a duration",
            "gateways.known: \"Box 1\" is not a gateway id",
            "registry.database: a database URL expected",
        ] {
            assert!(problems.contains(expected), "{expected:?} not in:\n{problems}");
        }
    }

    #[test]
    fn without_tls_only_loopback_is_served() {
        let problems =
            read("[mqtt]\nlisten = '0.0.0.0:1883'\n[http]\nlisten = '192.168.1.5:80'\n").unwrap_err();
        assert_eq!(problems.0.len(), 2, "{problems}");
        assert!(problems.to_string().contains("TLS is not built yet"), "{problems}");
        assert!(read("[mqtt]\nlisten = '[::1]:0'\n[http]\nlisten = 'localhost:0'\n").is_ok());
    }

    #[test]
    fn the_command_line_wins() {
        let overrides = Overrides {
            mqtt: Some("127.0.0.1:5".parse().unwrap()),
            http: Some("127.0.0.1:6".parse().unwrap()),
            data: Some("/d".into()),
            broker: None,
        };
        let config = read("[mqtt]\nbroker = 'mqtt://b:1884'\n").unwrap();
        assert_eq!(config.intake, Intake::External(BrokerUrl { host: "b".into(), port: 1884 }));
        let config = config.apply(&overrides).unwrap();
        assert_eq!(config.intake, Intake::Embedded("127.0.0.1:5".parse().unwrap()));
        assert_eq!((config.http.port(), config.engine.data.as_path()), (6, Path::new("/d")));
        let outside = Overrides { http: Some("10.0.0.1:80".parse().unwrap()), ..Overrides::default() };
        assert!(read("").unwrap().apply(&outside).is_err());
    }

    #[test]
    fn a_list_of_gateways_closes_the_door() {
        let config = read("[gateways]\nknown = ['a', 'b']\n").unwrap();
        assert!(!config.engine.registration.knows(&GatewayId::new("c").unwrap()));
        assert!(config.engine.registration.knows(&GatewayId::new("a").unwrap()));
        assert!(read("[gateways]\nopen = true\nknown = ['a']\n").is_err());
        assert!(read("[gateways]\nopen = false\n").is_err());
    }

    #[test]
    fn broker_urls_are_read() {
        let url = |text| BrokerUrl::parse(text).map(|url| (url.host, url.port));
        assert_eq!(url("mqtt://10.0.0.1"), Ok(("10.0.0.1".into(), 1883)));
        assert_eq!(url("mqtt://broker.example:8884/"), Ok(("broker.example".into(), 8884)));
        assert_eq!(url("mqtt://[::1]:1884"), Ok(("::1".into(), 1884)));
        for bad in [
            "10.0.0.1:1883",
            "mqtts://a",
            "mqtt://",
            "mqtt://:1",
            "mqtt://a:0",
            "mqtt://a:x",
            "mqtt://u@a",
            "http://a",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
