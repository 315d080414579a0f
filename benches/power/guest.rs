//! The rig's helper inside the guest; std only, so that plain rustc builds it for the box.
//!
//! `guest promises DEVICE SECTOR`: reads the gateway's log on stdin and writes its newest `gateway::durable` line to a
//! sector past the file system, so that the promise lies in the record of the disk at its place. O_DIRECT without a
//! sync: the promise must not flush the disk for the gateway. All other lines are passed on.
//!
//! `guest relay HOST:PORT`: 127.0.0.1:1883 leads there, because without TLS a gateway speaks to its own machine only.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;

/// `O_DIRECT` of Linux on 64-bit ARM.
const O_DIRECT: i32 = 0x10000;
/// Bytes of a sector, and what direct writes must be aligned to.
const SECTOR: usize = 512;
/// What the gateway says when numbers have become durable.
const DURABLE: &str = "gateway::durable: ";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["promises", device, sector] => promises(device, sector.parse().map_err(io::Error::other)?),
        ["relay", to] => relay(to),
        _ => Err(io::Error::other("guest promises DEVICE SECTOR | guest relay HOST:PORT")),
    }
}

fn promises(device: &str, sector: u64) -> io::Result<()> {
    let disk = OpenOptions::new().write(true).custom_flags(O_DIRECT).open(device)?;
    let mut room = vec![0; 2 * SECTOR];
    let aligned = room.as_ptr().align_offset(SECTOR);
    let mut chunk = vec![0; 1 << 16];
    let mut text = String::new();
    loop {
        let read = io::stdin().read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        let Some(whole) = text.rfind('\n') else { continue };
        let mut newest = None;
        for line in text[..whole].lines() {
            match line.split_once(DURABLE) {
                Some((_, promise)) => newest = Some(promise),
                None => println!("{line}"),
            }
        }
        // A gateway that is faster than this disk is behind is sampled: a promise is a lower bound.
        if let Some(promise) = newest {
            let bytes = &mut room[aligned..aligned + SECTOR];
            bytes.fill(0);
            let line = format!("PROMISE {promise}\n");
            bytes[..line.len()].copy_from_slice(line.as_bytes());
            disk.write_at(bytes, sector * SECTOR as u64)?;
        }
        text.drain(..=whole);
        io::stdout().flush()?;
    }
}

fn relay(to: &str) -> io::Result<()> {
    for inward in TcpListener::bind("127.0.0.1:1883")?.incoming() {
        let inward = inward?;
        let Ok(outward) = TcpStream::connect(to) else { continue };
        for (mut from, mut onto) in [(inward.try_clone()?, outward.try_clone()?), (outward, inward)] {
            thread::spawn(move || {
                // One side has closed: the other shall hear of it.
                let _ = io::copy(&mut from, &mut onto);
                let _ = onto.shutdown(std::net::Shutdown::Both);
            });
        }
    }
    Ok(())
}
