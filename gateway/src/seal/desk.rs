//! The local interface: who sits beside the seal asks here.
//!
//! A socket `seal.sock` in the data folder that only the gateway's user opens; lines of JSON, a request and an answer each:
//! ```text
//! {"do":"status"}
//! {"do":"present","grant":"hexadecimal digits or base64"}      a grant that somebody brings, without a network
//! {"do":"stamp","grant":"3f2a…","shown":"pin 1234"}            shown: where there is no keypad; waits for the end of it
//! {"do":"ask"}                                                 ask the authority now
//! ```

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as Lines};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::{Link, NoWish, Wish, words};

/// Name of the socket in the data folder.
const SOCKET: &str = "seal.sock";
/// Longest line, in bytes: a grant in hexadecimal digits, twice over.
const MAX_LINE: u64 = 16 * 1024;
/// Most people at once: a clerk, an installer, a program, and one that hangs.
const MAX_GUESTS: usize = 4;
/// How long somebody may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// How long an answer may take: a use with two photographs and a slow disk.
const ANSWER: Duration = Duration::from_secs(120);

/// What somebody at the desk wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// How the seal is.
    Status,
    /// Ask the authority now.
    Ask,
    /// Hold this grant.
    Present {
        /// As it was issued, in hexadecimal digits or base64.
        grant: String,
    },
    /// Make one use of a grant that is held.
    Stamp {
        /// How its name begins, in hexadecimal digits; empty where only one is held.
        grant: String,
        /// What the person shows, as `pin 1234` or `card 04a2`, where there is no keypad.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<String>,
    },
}

/// Where the desk of the seal with this data folder is.
pub fn socket(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// Opens the desk.
///
/// # Errors
/// The operating system's.
pub fn open(data: &Path) -> io::Result<UnixListener> {
    let path = socket(data);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the desk until it is dropped.
pub async fn serve(listener: UnixListener, link: Link) {
    let room = std::sync::Arc::new(Semaphore::new(MAX_GUESTS));
    loop {
        let Ok(place) = std::sync::Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let link = link.clone();
                tokio::spawn(async move {
                    // Whoever hangs up has said enough.
                    let _ = receive(stream, &link).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "nobody can come to the seal's desk");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn receive(mut stream: UnixStream, link: &Link) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut lines = Lines::new(reading);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut lines).take(MAX_LINE);
        let Ok(read) = timeout(SILENCE, bounded.read_until(b'\n', &mut line)).await else { return Ok(()) };
        if read? == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n");
        let answer = match serde_json::from_slice(&line) {
            _ if !is_whole => words::bad("a line of at most 16 KiB expected"),
            Ok(request) => answer(request, link).await,
            Err(error) => words::bad(&error.to_string()),
        };
        writing.write_all(format!("{answer}\n").as_bytes()).await?;
        if !is_whole {
            return Ok(());
        }
    }
}

async fn answer(request: Request, link: &Link) -> Value {
    let is_status = request == Request::Status;
    if let (Request::Present { grant }, Some(lines)) = (&request, link.lines())
        && words::bytes_of(grant).is_some_and(|bytes| lines.said(&bytes))
    {
        return words::passed_on();
    }
    let (reply, answer) = oneshot::channel();
    let mut answer = match link.wish(Wish::Desk(request, reply)) {
        Ok(()) => match timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => answer,
            _ => words::busy(),
        },
        Err(NoWish::Busy) => words::busy(),
        Err(NoWish::NoSeal) => words::no_seal(is_status),
    };
    if let (true, Some(lines)) = (is_status, link.lines()) {
        answer["lines"] = lines.status().into();
    }
    answer
}

/// Asks the desk of a running gateway, for the command line.
///
/// # Errors
/// No gateway answers there.
pub fn ask(data: &Path, request: &Request) -> io::Result<Value> {
    let mut stream = Blocking::connect(socket(data))?;
    stream.set_read_timeout(Some(ANSWER + Duration::from_secs(5)))?;
    stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(1 << 20)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_manual_says() {
        let stamp = |shown: Option<&str>| Request::Stamp { grant: "3f".into(), shown: shown.map(Into::into) };
        for (line, request) in [
            (r#"{"do":"status"}"#, Some(Request::Status)),
            (r#"{"do":"ask"}"#, Some(Request::Ask)),
            (r#"{"do":"present","grant":"82"}"#, Some(Request::Present { grant: "82".into() })),
            (r#"{"do":"stamp","grant":"3f"}"#, Some(stamp(None))),
            (r#"{"do":"stamp","grant":"3f","shown":"pin 1"}"#, Some(stamp(Some("pin 1")))),
            (r#"{"do":"stamp"}"#, None),
            (r#"{"do":"open"}"#, None),
            (r#"{"do":"stamp","grant":"3f","force":true}"#, None),
        ] {
            assert_eq!(serde_json::from_str(line).ok(), request, "{line}");
            if let Some(request) = request {
                assert_eq!(serde_json::to_string(&request).unwrap(), line);
            }
        }
    }
}
