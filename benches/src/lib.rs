//! One seeded city, for everything that needs the whole system or a lot of data.
//!
//! This is the only crate that sees both the gateway and ingest. Nothing here ships to a box.
//!
//! # Layout
//! - [`city`]: gateways, sensors and readings that look like a street's, the same for the same seed
//! - [`chengdu`]: a city of 22 million devices that nobody has to keep in memory
//! - [`street`]: the configuration files of a simulated street and of this machine
//! - [`layout`]: the data folder of the one command
//! - [`supervise`]: children: started, watched, restarted, stopped, never left behind
//! - [`roles`]: what those children do: the library calls of the real binaries
//! - [`live`]: one line of live counters
//! - [`mqtt`]: MQTT packets written by hand, for clients that break the rules
//! - [`mutate`]: bytes that a careful server must survive
//! - [`line`](mod@line): a bad line: delay, a bottleneck, losses
//! - [`listener`]: hears alarms as a console does, and notes when
//! - [`pump`]: a gateway with a full buffer and a contact that is pressed on command
//! - [`storm`]: thousands of gateways that return at once
//! - [`publisher`]: keeps what is not acknowledged and sends it again, as a gateway does
//! - [`siege`]: one attacker, and how it was answered
//! - [`witness`]: remembers what was sent and compares it with what the API gives back
//! - [`http`]: the HTTP client of `ingest query`
//! - [`sequences`]: which numbers of a lane are where
//! - [`order`]: in which order a backlog came in
//! - [`pool`]: the readings files, read as a stranger would
//! - [`power`]: what a recorded disk holds after a power cut, and whether that will do
//! - [`sim`]: the whole system in virtual time, from one seed
//! - [`segments`]: ingest's log, read as its documentation describes it
//! - [`table`]: figures in columns, and what repeated runs say
//! - [`process`]: what the kernel says about a process
//!
//! # Programs
//! - `watchfire`: the one command: ingest, this machine, and a simulated street
//! - `codec`: bytes and nanoseconds per reading
//! - `chengdu`: the city minute: 22 million devices over MQTT, and what that takes of ingest
//! - `ask`: typical questions of a console, put to ingest during the city minute: how long the answers take
//! - `export`: the same readings as files, for the peers
//! - `stages`: where the time of a reading goes inside ingest; `tables`: what a city's sensors and checkpoints cost
//! - `load`: valid frames at a chosen rate
//! - `alarms`: from a sensor's change to the console, while a backlog drains; the same over a bad line; a storm
//! - `hostile`: random and mutated packets between well-behaved ones
//! - `audit`: 0 lost, 0 doubled, from the boxes' counters to the Parquet files
//! - `power`: the tool of `benches/power/run`: power cuts and `kill -9` of one gateway, judged by its promises
//! - `cuts`: the tool of `benches/power/city`: power cuts of ingest, judged by what it acknowledged
//! - `sim`: thousands of simulated cities, each held against the promises
//! - `tlog`: the log of seals at ten million leaves; logs to be checked by others, and forked ones
//! - `kills`: `kill -9` and long stops in full flow, each judged by the audit

pub use ingest::client as http;

pub mod chengdu;
pub mod city;
pub mod layout;
pub mod line;
pub mod listener;
pub mod live;
pub mod mqtt;
pub mod mutate;
pub mod order;
pub mod pool;
pub mod power;
pub mod process;
pub mod publisher;
pub mod pump;
pub mod roles;
pub mod segments;
pub mod sequences;
pub mod siege;
pub mod sim;
pub mod storm;
pub mod street;
pub mod supervise;
pub mod table;
pub mod witness;
