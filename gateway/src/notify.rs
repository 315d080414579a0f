//! What the service manager is told: `sd_notify(3)`, the protocol of systemd and of those who speak like it.
//!
//! A message is one datagram of `KEY=value` lines. Forty lines over the standard library instead of a crate: the
//! crates connect only to paths (systemd in a container uses abstract names), and read the environment anew for
//! each message, so that a test could not hand in a socket of its own.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The service manager, if there is one. Clones share one socket.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
    folder: Option<PathBuf>,
}

impl Manager {
    /// Nobody: whoever started the gateway does not want to be told.
    pub fn none() -> Self {
        Self::default()
    }

    /// The one that `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID` and `RUNTIME_DIRECTORY` name. One that cannot be
    /// reached is nobody, with a warning.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        // Several are separated by colons.
        let folder = variable("RUNTIME_DIRECTORY").and_then(|all| all.split(':').next().map(PathBuf::from));
        let unheard = Self { folder: folder.clone(), ..Self::none() };
        let Some(address) = variable("NOTIFY_SOCKET") else { return unheard };
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = variable("WATCHDOG_USEC").filter(|_| ours).and_then(|usec| usec.parse().ok());
        match Self::at(&address, watchdog.map(Duration::from_micros)) {
            Ok(manager) => Self { folder, ..manager },
            Err(error) => {
                tracing::warn!(address, %error, "NOTIFY_SOCKET cannot be used: the service manager is told nothing");
                unheard
            }
        }
    }

    /// The one at this address: a path, or `@` and an abstract name. `watchdog`: how long it waits for a sign of
    /// life before it kills.
    ///
    /// # Errors
    /// The operating system's, when nobody is there.
    pub fn at(address: &str, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A manager that does not read must not stop the gateway.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some(Arc::new(socket)),
            watchdog: watchdog.filter(|limit| !limit.is_zero()),
            folder: None,
        })
    }

    /// How often it wants a sign of life, in ms: twice in its limit, as its documentation advises.
    pub fn sign_every_ms(&self) -> Option<u64> {
        self.watchdog.map(|limit| u64::try_from(limit.as_millis() / 2).unwrap_or(u64::MAX))
    }

    /// A folder in memory for what need not outlive a power cut, if it gave one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Buses and buffer are open, the threads run.
    pub fn ready(&self, line: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(line)));
    }

    /// How it is, for people.
    pub fn status(&self, line: &str) {
        self.tell(&format!("STATUS={}", one_line(line)));
    }

    /// It lives and makes progress.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// It was told to stop, and does.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=正在停止 stopping");
    }

    fn tell(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!(%error, message, "the service manager was not told");
        }
    }
}

/// A line break would begin another key.
fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    #[test]
    fn a_path_and_an_abstract_name_hear_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("watchfire-notify-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a name");
        for (socket, address) in [
            (UnixDatagram::bind(&path), path.display().to_string()),
            (UnixDatagram::bind_addr(&abstract_name), format!("@{name}")),
        ] {
            let socket = socket.expect("bound");
            let manager = Manager::at(&address, Some(Duration::from_secs(60))).expect("somebody is there");
            assert_eq!(manager.sign_every_ms(), Some(30_000));
            manager.ready("three\nlines\nof it");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=three; lines; of it");
            manager.alive();
            assert_eq!(heard(&socket), "WATCHDOG=1");
            drop(socket);
            manager.stopping();
        }
        assert!(Manager::at(&path.display().to_string(), None).is_err(), "nobody listens any more");
        assert_eq!(Manager::none().sign_every_ms(), None);
    }
}
