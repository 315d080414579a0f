//! A small scripted MQTT 5 broker: the test decides what each publish is answered.
//!
//! It knows just the packets a gateway sends (MQTT 5.0, section 3): CONNECT, PUBLISH with QoS 1, SUBSCRIBE, PINGREQ,
//! DISCONNECT. One thread per connection, std sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wire::{Frame, Lane};

/// What the broker does with a publish.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Say {
    /// PUBACK with this reason.
    Ack(u8),
    /// Nothing.
    Silence,
    /// Closes the connection.
    HangUp,
    /// Neither reads nor answers any more, and does not close either: the far end of a half-open connection.
    Freeze,
}

/// A publish as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publish {
    pub(crate) connection: usize,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

impl Publish {
    /// The lane its topic names.
    pub(crate) fn lane(&self) -> Lane {
        Lane::from_word(self.topic.rsplit('/').next().unwrap()).unwrap()
    }

    /// What it carries.
    pub(crate) fn frame(&self) -> Frame {
        Frame::decode(&self.payload).expect("a sound frame")
    }
}

type Script = Arc<Mutex<Box<dyn FnMut(&Publish) -> Say + Send>>>;

/// A running broker; its threads end with the test process.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) published: Receiver<Publish>,
    heard: Arc<Mutex<Vec<Publish>>>,
    script: Script,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Broker {
    /// Starts on a free port, acknowledging everything.
    #[allow(clippy::disallowed_methods, reason = "a test's queue is as long as the test")]
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, published) = channel();
        let script: Script = Arc::new(Mutex::new(Box::new(|_| Say::Ack(0))));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (their_script, their_streams, ear) =
            (Arc::clone(&script), Arc::clone(&streams), Arc::clone(&heard));
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                their_streams.lock().unwrap().push(stream.try_clone().unwrap());
                let (script, sender, ear) = (Arc::clone(&their_script), sender.clone(), Arc::clone(&ear));
                // A broken connection is what half of the tests are about.
                std::thread::spawn(move || serve(connection, stream, &script, &sender, &ear).ok());
            }
        });
        Self { address, published, heard, script, streams }
    }

    /// From now on publishes are answered so.
    pub(crate) fn script(&self, script: impl FnMut(&Publish) -> Say + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// The next publish of a lane, within some ten seconds; those of other lanes are thrown away.
    pub(crate) fn next(&self, lane: Lane) -> Publish {
        // A gateway publishes less than fifty times a second in these tests.
        for _ in 0..500 {
            let publish = self.published.recv_timeout(Duration::from_secs(10)).expect("a publish");
            if publish.lane() == lane {
                return publish;
            }
        }
        panic!("nothing came in lane {lane:?}");
    }

    /// Every publish since the start.
    pub(crate) fn heard(&self) -> Vec<Publish> {
        self.heard.lock().unwrap().clone()
    }

    /// Sends a message to whoever is connected.
    pub(crate) fn send(&self, topic: &str, payload: &[u8]) {
        let mut body = text(topic);
        body.push(0); // no properties
        body.extend(payload);
        let packet = packet(0x30, &body);
        for stream in self.streams.lock().unwrap().iter_mut() {
            let _ = stream.write_all(&packet);
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = length > 127;
        bytes.push((length % 128) as u8 | if more { 128 } else { 0 });
        length /= 128;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn byte(stream: &mut TcpStream) -> std::io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Reads one packet: its first byte and its body.
fn read_packet(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let first = byte(stream)?;
    let mut length = 0_usize;
    for shift in (0..28).step_by(7) {
        let next = byte(stream)?;
        length |= usize::from(next & 127) << shift;
        if next & 128 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((first, body))
}

fn serve(
    connection: usize,
    mut stream: TcpStream,
    script: &Script,
    sender: &Sender<Publish>,
    ear: &Mutex<Vec<Publish>>,
) -> std::io::Result<()> {
    loop {
        let (first, body) = read_packet(&mut stream)?;
        match first >> 4 {
            1 => {
                assert_eq!(&body[..7], b"\x00\x04MQTT\x05", "MQTT 5");
                assert_eq!(body[7] & 2, 2, "clean start");
                // CONNACK: no session, success, no properties
                stream.write_all(&packet(0x20, &[0, 0, 0]))?;
            }
            3 => {
                assert_eq!(first & 6, 2, "QoS 1");
                let topic_length = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let (topic, rest) = body[2..].split_at(topic_length);
                let (id, rest) = rest.split_at(2);
                assert_eq!(rest[0], 0, "no properties");
                let publish = Publish {
                    connection,
                    topic: String::from_utf8(topic.to_vec()).unwrap(),
                    payload: rest[1..].to_vec(),
                };
                let say = (script.lock().unwrap())(&publish);
                ear.lock().unwrap().push(publish.clone());
                if sender.send(publish).is_err() {
                    return Ok(());
                }
                match say {
                    Say::Ack(reason) => stream.write_all(&packet(0x40, &[id[0], id[1], reason, 0]))?,
                    Say::Silence => {}
                    Say::Freeze => loop {
                        std::thread::park();
                    },
                    Say::HangUp => {
                        // What lies unread when a socket closes makes it a reset, which takes acknowledgements that
                        // are on their way with it: so the rest is read to its end.
                        stream.shutdown(std::net::Shutdown::Write)?;
                        return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
                    }
                }
            }
            8 => stream.write_all(&packet(0x90, &[body[0], body[1], 0, 1]))?,
            12 => stream.write_all(&packet(0xd0, &[]))?,
            14 => return Ok(()),
            other => panic!("a gateway sends no packet of type {other}"),
        }
    }
}
