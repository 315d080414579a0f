//! How stores, ingest's log and the gateway's own words are read.

use std::fs;
use std::path::Path;

use anyhow::Context;
use gateway::buffer::{self, InspectError};
use ingest::pool::apply::kind;
use wire::frame::crc32c;
use wire::{Frame, Header, Lane, LossReason, Payload};

use super::judge::{Found, Loss, Past, Promise};
use crate::segments;

/// In the gateway's log, in front of what has become durable.
pub const DURABLE: &str = "gateway::durable: ";

/// The newest promise in what a gateway said; a line that was cut off says nothing.
pub fn promised(said: &str) -> Option<Promise> {
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    whole.lines().rev().find_map(|line| Promise::parse(line.split_once(DURABLE)?.1))
}

/// Looks at the buffer in a data folder.
///
/// # Errors
/// [`InspectError`], unless there is simply no buffer yet.
pub fn store(data: &Path) -> Result<Found, InspectError> {
    let mut found =
        Found { inspection: None, frames: std::collections::BTreeMap::new(), losses: Vec::new(), corrupt: 0 };
    let looked = buffer::inspect(data, |lane, sequence, bytes| {
        found.frames.insert((lane as u8, sequence), crc32c(bytes));
        if lane == Lane::Health {
            let (losses, corrupt) = losses(bytes);
            found.losses.extend(losses);
            found.corrupt += corrupt;
        }
    });
    found.inspection = match looked {
        Ok(inspection) => Some(inspection),
        Err(InspectError::Missing(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(found)
}

/// The loss records of a frame, and how many of them speak of damage.
fn losses(frame: &[u8]) -> (Vec<Loss>, usize) {
    match Frame::decode(frame).map(|frame| frame.payload) {
        Ok(Payload::Losses(losses)) => {
            let corrupt = losses.losses.iter().filter(|loss| loss.reason == LossReason::Corrupt).count();
            (losses.losses.iter().map(|loss| (loss.lane as u8, loss.from, loss.to)).collect(), corrupt)
        }
        _ => (Vec::new(), 0),
    }
}

/// Adds what ingest's log holds of a store. Gives sentences about numbers that came twice with other content.
///
/// # Errors
/// Of the file system.
pub fn ingest(folder: &Path, store: u64, past: &mut Past) -> anyhow::Result<Vec<String>> {
    let mut twice = Vec::new();
    for (base, path) in segments::list(&folder.join("log"))? {
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        segments::read(base, &bytes, |record| {
            let Some(header) = Header::peek(record.payload).ok().filter(|_| record.kind == kind::FRAME)
            else {
                return;
            };
            if header.store != store {
                return;
            }
            let key = (header.lane as u8, header.sequence);
            let sum = crc32c(record.payload);
            past.taken.insert(key);
            if past.known.insert(key, sum).is_some_and(|known| known != sum) {
                twice.push(format!(
                    "ingest has {} {} with two contents",
                    header.lane.as_str(),
                    header.sequence
                ));
            }
            if header.lane == Lane::Health {
                past.losses.extend(losses(record.payload).0);
            }
        });
    }
    Ok(twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_promise_counts() {
        let line = |n: u64| format!("T DEBUG gateway::durable: store=7 next=[{n}, 1, 1, 1, 1]\n");
        let said = format!("{}T INFO other: words\n{}", line(2), line(3));
        assert_eq!(promised(&said).map(|promise| promise.next[0]), Some(3));
        assert_eq!(promised(&said[..said.len() - 1]).map(|promise| promise.next[0]), Some(2), "cut off");
        assert_eq!(promised("nothing\n"), None);
    }
}
