//! A well-behaved publisher: keeps what is not acknowledged and sends it again, as a gateway does.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::mqtt::{Client, LATER};

/// Most messages in flight: what the product's gateway allows itself is of this order.
const MAX_WINDOW: usize = 32;
/// Wait between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);
/// Wait before what the broker could not take is sent again, all of it together. A gateway pauses for longer, but its
/// neighbours do not wait for it.
const LATER_PAUSE: Duration = Duration::from_millis(20);
/// Number of a message that is to be sent again; MQTT gives it to none.
const AGAIN: u16 = 0;

/// A message that waits for its acknowledgement.
#[derive(Debug)]
struct Open {
    id: u16,
    topic: String,
    payload: Vec<u8>,
}

/// Publishes in order, resends after a lost connection, counts the answers.
#[derive(Debug)]
pub struct Publisher {
    broker: SocketAddr,
    name: String,
    client: Option<Client>,
    open: VecDeque<Open>,
    attempts: u32,
    /// Messages the broker took.
    pub taken: u64,
    /// Messages the broker refused, with the last reason code.
    pub refused: (u64, u8),
    /// Answers "not now": the message was sent again.
    pub later: u64,
    /// Times the connection was lost or not to be had.
    pub reconnects: u64,
}

impl Publisher {
    /// A publisher named `name` (the MQTT client id); connects with the first message. It gives up after
    /// `attempts` failed connections in a row.
    pub fn new(broker: SocketAddr, name: &str, attempts: u32) -> Self {
        let open = VecDeque::with_capacity(MAX_WINDOW);
        Self {
            broker,
            name: name.into(),
            client: None,
            open,
            attempts,
            taken: 0,
            refused: (0, 0),
            later: 0,
            reconnects: 0,
        }
    }

    /// Sends a message; waits for answers only when the window is full.
    ///
    /// # Errors
    /// The last one, when the broker cannot be reached.
    pub fn send(&mut self, topic: String, payload: Vec<u8>) -> io::Result<()> {
        self.open.push_back(Open { id: AGAIN, topic, payload });
        match self.client.as_mut().zip(self.open.back_mut()) {
            Some((client, last)) => match client.publish(&last.topic, &last.payload) {
                Ok(id) => last.id = id,
                Err(_) => self.reconnect()?,
            },
            None => self.reconnect()?,
        }
        while self.open.len() >= self.window() || self.open.iter().any(|open| open.id == AGAIN) {
            self.hear()?;
        }
        Ok(())
    }

    /// Waits until everything is answered.
    ///
    /// # Errors
    /// The last one, when the broker cannot be reached.
    pub fn settle(&mut self) -> io::Result<()> {
        while !self.open.is_empty() {
            self.hear()?;
        }
        Ok(())
    }

    fn window(&self) -> usize {
        self.client.as_ref().map_or(MAX_WINDOW, |client| MAX_WINDOW.min(usize::from(client.window)))
    }

    fn hear(&mut self) -> io::Result<()> {
        let Some(client) = &mut self.client else { return self.reconnect() };
        if self.open.iter().all(|open| open.id == AGAIN) {
            thread::sleep(LATER_PAUSE);
            let mut open = self.open.iter_mut();
            let sent = open.try_for_each(|open| {
                open.id = client.publish(&open.topic, &open.payload)?;
                Ok(())
            });
            return sent.or_else(|_: io::Error| self.reconnect());
        }
        match client.ack() {
            Ok(ack) => {
                if let Some(at) = self.open.iter().position(|open| open.id == ack.id) {
                    if ack.reason == LATER {
                        self.later += 1;
                        self.open[at].id = AGAIN;
                        return Ok(());
                    }
                    self.open.remove(at);
                    if ack.is_yes() {
                        self.taken += 1;
                    } else {
                        self.refused = (self.refused.0 + 1, ack.reason);
                    }
                }
                Ok(())
            }
            Err(_) => self.reconnect(),
        }
    }

    fn reconnect(&mut self) -> io::Result<()> {
        if self.client.take().is_some() {
            self.reconnects += 1;
        }
        let mut attempt = 0;
        loop {
            match self.connect_and_resend() {
                Ok(client) => {
                    self.client = Some(client);
                    return Ok(());
                }
                Err(error) if attempt >= self.attempts => return Err(error),
                Err(_) => {
                    attempt += 1;
                    self.reconnects += 1;
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn connect_and_resend(&mut self) -> io::Result<Client> {
        let mut client = Client::connect(self.broker, &self.name)?;
        for open in &mut self.open {
            open.id = client.publish(&open.topic, &open.payload)?;
        }
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// Takes CONNECT and one PUBLISH of 2 + 4 + 1 + 2 bytes after the fixed header.
    fn take(stream: &mut TcpStream, bytes: usize) {
        let mut buffer = vec![0; bytes];
        stream.read_exact(&mut buffer).unwrap();
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let broker = thread::spawn(move || {
            let connect = crate::mqtt::connect(crate::mqtt::Version::V5, "p").len();
            let publish = crate::mqtt::publish(crate::mqtt::Version::V5, "t", 1, b"x").len();
            for acknowledge in [false, true] {
                let (mut stream, _) = listener.accept().unwrap();
                take(&mut stream, connect);
                stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
                take(&mut stream, publish);
                if acknowledge {
                    stream.write_all(&[0x40, 2, 0, 1]).unwrap();
                    // Stays open until the client has heard it.
                    let _ = stream.read(&mut [0]);
                }
            }
        });
        let mut publisher = Publisher::new(address, "p", 5);
        publisher.send("t".into(), b"x".to_vec()).unwrap();
        publisher.settle().unwrap();
        assert_eq!((publisher.taken, publisher.refused.0, publisher.reconnects), (1, 0, 1));
        drop(publisher);
        broker.join().unwrap();
    }

    #[test]
    fn what_is_to_come_later_is_sent_again_when_the_others_are_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let broker = thread::spawn(move || {
            let bytes = |id, payload| crate::mqtt::publish(crate::mqtt::Version::V5, "t", id, payload);
            let (mut stream, _) = listener.accept().unwrap();
            take(&mut stream, crate::mqtt::connect(crate::mqtt::Version::V5, "p").len());
            stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
            take(&mut stream, 3 * bytes(1, b"x").len());
            for (id, reason) in [(1, LATER), (2, 0), (3, LATER)] {
                stream.write_all(&[0x40, 3, 0, id, reason]).unwrap();
            }
            let expected = [bytes(4, b"x"), bytes(5, b"z")].concat();
            let mut again = vec![0; expected.len()];
            stream.read_exact(&mut again).unwrap();
            assert_eq!(again, expected, "in their order");
            [4, 5].into_iter().for_each(|id| stream.write_all(&[0x40, 2, 0, id]).unwrap());
            let _ = stream.read(&mut [0]);
        });
        let mut publisher = Publisher::new(address, "p", 5);
        [b"x", b"y", b"z"]
            .into_iter()
            .for_each(|payload| publisher.send("t".into(), payload.to_vec()).unwrap());
        publisher.settle().unwrap();
        assert_eq!((publisher.taken, publisher.later, publisher.reconnects), (3, 2, 0));
        drop(publisher);
        broker.join().unwrap();
    }
}
