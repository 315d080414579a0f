//! The address frames are shipped to.

use std::fmt;
use std::net::IpAddr;

/// An MQTT 5 broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Not of the form expected.
    #[error("{0:?} is not a broker address: mqtt://HOST:PORT expected, for example mqtt://127.0.0.1:1883")]
    Form(String),
    /// Asks for TLS.
    #[error(
        "{0:?} asks for TLS, which this version cannot speak yet: use mqtt:// to a broker on this machine, or to a tunnel (WireGuard, ssh -L) that ends on it"
    )]
    Tls(String),
    /// In clear over a network.
    #[error(
        "{0:?} is not on this machine. Without TLS anyone on the way could read, forge and swallow alarms, and this version cannot speak TLS yet: use mqtt://127.0.0.1:PORT and run ingest here, or end a tunnel (WireGuard, ssh -L) here"
    )]
    NotLoopback(String),
}

impl Broker {
    /// Reads `mqtt://host[:port]`; the port is 1883 when absent.
    ///
    /// # Errors
    /// [`BrokerError`] for anything else, and for hosts that are not loopback.
    pub fn parse(text: &str) -> Result<Self, BrokerError> {
        if ["mqtts://", "ssl://", "tls://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(BrokerError::Tls(text.into()));
        }
        let form = || BrokerError::Form(text.into());
        let rest = text.strip_prefix("mqtt://").ok_or_else(form)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (host, tail) = v6.split_once(']').ok_or_else(form)?;
                (host, tail.strip_prefix(':'))
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map_or(Ok(1883), str::parse::<u16>).map_err(|_| form())?;
        if host.is_empty() || port == 0 || host.contains(['/', '@', ':']) && host.parse::<IpAddr>().is_err() {
            return Err(form());
        }
        let loopback =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !loopback {
            return Err(BrokerError::NotLoopback(text.into()));
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "mqtt://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "mqtt://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let ok = |text: &str| Broker::parse(text).map(|b| b.to_string());
        assert_eq!(ok("mqtt://127.0.0.1:1883"), Ok("mqtt://127.0.0.1:1883".into()));
        assert_eq!(ok("mqtt://localhost"), Ok("mqtt://localhost:1883".into()));
        assert_eq!(ok("mqtt://[::1]:99/"), Ok("mqtt://[::1]:99".into()));
        for text in [
            "",
            "127.0.0.1:1883",
            "mqtt://",
            "mqtt://127.0.0.1:x",
            "mqtt://127.0.0.1:0",
            "mqtt://a@127.0.0.1",
            "mqtt://[::1",
        ] {
            assert!(matches!(ok(text), Err(BrokerError::Form(_))), "{text}");
        }
        for text in
            ["mqtt://10.0.0.1:1883", "mqtt://example.org", "mqtt://0.0.0.0:1883", "mqtt://127.evil.example"]
        {
            assert!(matches!(ok(text), Err(BrokerError::NotLoopback(_))), "{text}");
        }
        assert!(matches!(ok("mqtts://127.0.0.1:8883"), Err(BrokerError::Tls(_))));
    }
}
