//! The live feed: what changed, for everybody who listens.
//!
//! One bounded ring holds the newest events. A listener is only a position in it: nothing is queued per listener,
//! a slow one costs nothing, and one that falls out of the ring is told to reload (`reset`) instead of being
//! served a history with holes. A listener that comes back with the id of the last event it saw goes on from
//! there, as long as the ring still holds the next one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Most events kept: an hour of a district at three events a second.
pub const MAX_EVENTS: usize = 10_000;
/// Most bytes kept: one event of changed cells takes some kilobytes.
pub const MAX_BYTES: usize = 32 << 20;
/// Most events handed to a listener at once, so that one who resumes from far back takes breath.
pub const MAX_AT_ONCE: usize = 256;

/// Kinds of events, as `?topics=` and the `event:` line of the stream name them.
pub const TOPICS: [&str; 4] = ["alarm", "cells", "gateway", "seal"];

/// One thing that happened.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in this run, from 1.
    pub number: u64,
    /// Its kind, one of [`TOPICS`].
    pub kind: &'static str,
    /// JSON text, serialised once for all listeners.
    pub data: String,
}

/// Which kinds a listener wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topics([bool; TOPICS.len()]);

impl Topics {
    /// All of them.
    pub const ALL: Topics = Topics([true; TOPICS.len()]);

    /// Reads `alarm,cells`.
    ///
    /// # Errors
    /// The word that is none of [`TOPICS`].
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut wanted = [false; TOPICS.len()];
        for word in list.split(',').map(str::trim) {
            let index = TOPICS.iter().position(|topic| *topic == word).ok_or_else(|| word.to_owned())?;
            wanted[index] = true;
        }
        Ok(Self(wanted))
    }

    fn wants(self, kind: &str) -> bool {
        TOPICS.iter().zip(self.0).any(|(topic, wanted)| wanted && *topic == kind)
    }
}

/// What a listener gets when it asks.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Events after its position, perhaps none; ask again from `position`.
    Events {
        /// The events it wants.
        events: Vec<Arc<Event>>,
        /// Where to ask from next time.
        position: u64,
    },
    /// Events it has not seen are gone: reload the snapshot, then go on from `position`.
    Reset {
        /// Where to go on.
        position: u64,
    },
}

/// The ring itself: no locks, no clock.
#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    next: u64,
    max_events: usize,
    max_bytes: usize,
}

impl Ring {
    fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, next: 1, max_events, max_bytes }
    }

    fn push(&mut self, kind: &'static str, data: String) -> u64 {
        let number = self.next;
        self.next += 1;
        self.bytes += data.len();
        self.events.push_back(Arc::new(Event { number, kind, data }));
        while self.events.len() > self.max_events || self.bytes > self.max_bytes {
            let Some(gone) = self.events.pop_front() else { break };
            self.bytes -= gone.data.len();
        }
        number
    }

    fn oldest(&self) -> u64 {
        self.events.front().map_or(self.next, |event| event.number)
    }

    fn after(&self, position: u64, topics: Topics) -> Next {
        if position >= self.next || position + 1 < self.oldest() {
            return Next::Reset { position: self.next - 1 };
        }
        let skip = (position + 1 - self.oldest()) as usize;
        let mut events = Vec::new();
        let mut seen = position;
        for event in self.events.iter().skip(skip) {
            if events.len() == MAX_AT_ONCE {
                break;
            }
            seen = event.number;
            if topics.wants(event.kind) {
                events.push(event.clone());
            }
        }
        Next::Events { events, position: seen }
    }
}

/// The feed: publishers push, listeners ask.
#[derive(Debug)]
pub struct Feed {
    run: String,
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

impl Feed {
    /// An empty feed; `run` tells this start of the service from all others, so that an id of an earlier run is
    /// never taken for one of this.
    pub fn new(run: u64) -> Self {
        Self {
            run: format!("{run:016x}"),
            ring: Mutex::new(Ring::new(MAX_EVENTS, MAX_BYTES)),
            newest: watch::channel(0).0,
        }
    }

    /// Tells everybody. Cheap, never blocks for long, callable from any thread. `kind` is one of [`TOPICS`].
    pub fn publish(&self, kind: &'static str, data: serde_json::Value) {
        let text = data.to_string();
        let number = self.ring.lock().unwrap_or_else(PoisonError::into_inner).push(kind, text);
        self.newest.send_if_modified(|newest| {
            let newer = number > *newest;
            *newest = number.max(*newest);
            newer
        });
    }

    /// The id line of an event: `{run}-{number}`.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// Where a listener starts: after the event it names, if that was in this run, else now. The flag says
    /// whether it must reload first, because what it missed is unknown.
    pub fn position(&self, last_event_id: Option<&str>) -> (u64, bool) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let now = ring.next - 1;
        let Some(id) = last_event_id else { return (now, false) };
        let number = id
            .split_once('-')
            .filter(|(run, _)| *run == self.run)
            .and_then(|(_, number)| number.parse::<u64>().ok());
        match number {
            Some(number) if number < ring.next && number.saturating_add(1) >= ring.oldest() => {
                (number, false)
            }
            _ => (now, true),
        }
    }

    /// The events after `position` that `topics` asks for, at most [`MAX_AT_ONCE`].
    pub fn after(&self, position: u64, topics: Topics) -> Next {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).after(position, topics)
    }

    /// Follows the number of the newest event.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(next: Next) -> Vec<u64> {
        match next {
            Next::Events { events, .. } => events.iter().map(|event| event.number).collect(),
            Next::Reset { position } => panic!("reset to {position}"),
        }
    }

    #[test]
    fn a_listener_gets_what_it_has_not_seen() {
        let mut ring = Ring::new(10, 1000);
        for kind in ["alarm", "cells", "alarm"] {
            ring.push(kind, "{}".into());
        }
        assert_eq!(numbers(ring.after(0, Topics::ALL)), [1, 2, 3]);
        assert_eq!(numbers(ring.after(2, Topics::ALL)), [3]);
        assert_eq!(numbers(ring.after(3, Topics::ALL)), Vec::<u64>::new());
        assert_eq!(numbers(ring.after(0, Topics::parse("alarm").unwrap())), [1, 3]);
    }

    #[test]
    fn unwanted_events_move_the_position_too() {
        let mut ring = Ring::new(10, 1000);
        ring.push("cells", "{}".into());
        let next = ring.after(0, Topics::parse("alarm,gateway").unwrap());
        assert_eq!(next, Next::Events { events: Vec::new(), position: 1 });
    }

    #[test]
    fn who_falls_out_of_the_ring_reloads() {
        let mut ring = Ring::new(3, 1000);
        for _ in 0..5 {
            ring.push("alarm", "{}".into());
        }
        assert_eq!(numbers(ring.after(2, Topics::ALL)), [3, 4, 5]);
        assert_eq!(ring.after(1, Topics::ALL), Next::Reset { position: 5 });
        assert_eq!(ring.after(6, Topics::ALL), Next::Reset { position: 5 }, "a position of the future");
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut ring = Ring::new(1000, 10);
        for _ in 0..4 {
            ring.push("alarm", "12345".into());
        }
        assert_eq!((ring.events.len(), ring.bytes, ring.oldest()), (2, 10, 3));
    }

    #[test]
    fn an_id_resumes_in_its_own_run_only() {
        let feed = Feed::new(7);
        for _ in 0..3 {
            feed.publish("alarm", serde_json::json!({}));
        }
        assert_eq!(feed.position(None), (3, false));
        assert_eq!(feed.position(Some(&feed.id(1))), (1, false));
        assert_eq!(feed.position(Some(&Feed::new(8).id(1))), (3, true));
        for strange in ["", "-", "7-1", "x", "0000000000000007-9", "0000000000000007-18446744073709551615"] {
            assert_eq!(feed.position(Some(strange)), (3, true), "{strange}");
        }
    }

    #[test]
    fn a_batch_is_bounded_and_goes_on() {
        let mut ring = Ring::new(1000, 100_000);
        for _ in 0..MAX_AT_ONCE + 1 {
            ring.push("alarm", "{}".into());
        }
        let Next::Events { events, position } = ring.after(0, Topics::ALL) else { panic!() };
        assert_eq!((events.len(), position), (MAX_AT_ONCE, MAX_AT_ONCE as u64));
        assert_eq!(numbers(ring.after(position, Topics::ALL)).len(), 1);
    }

    #[test]
    fn unknown_topics_are_named() {
        assert_eq!(Topics::parse("alarm,celsl"), Err("celsl".into()));
        assert_eq!(Topics::parse(""), Err(String::new()));
    }
}
