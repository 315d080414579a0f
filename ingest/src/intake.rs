//! What an MQTT publish is worth: topic in, verdict out. Both brokers, ours and a foreign one, ask here.

use wire::topic::{self, Uplink};

use crate::admit::RefusalClass;
use crate::engine::{Engine, SenmlTaken, Taken, unknown_topic};
use crate::senml::SenmlFormat;

/// What becomes of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// On stable storage, now or before: the sender may forget it. A note tells of parts that were refused.
    Durable {
        /// What the sender should know, if anything.
        note: Option<String>,
    },
    /// Refused for good: sending it again is useless.
    Refused {
        /// Why.
        why: Why,
        /// For people.
        detail: String,
        /// Whether the content is held in the quarantine, so that nothing is lost when a protocol that knows no
        /// refusal acknowledges it.
        held: bool,
    },
    /// Not now: the sender keeps it and tries again.
    Later {
        /// For people.
        detail: String,
    },
}

/// Why a publish was refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The content is wrong.
    Payload,
    /// The topic is none of ours, or does not fit the content.
    Topic,
    /// This sender may not send it.
    Sender,
}

/// Judges a publish and waits until its fate is on stable storage. `sender` is the MQTT client id where our own
/// broker knows it; behind a foreign broker its access rules vouch for the topic.
pub async fn take(
    engine: &Engine,
    sender: Option<&str>,
    topic: &str,
    payload: Vec<u8>,
    received_ms: i64,
) -> Verdict {
    match topic::parse_uplink(topic) {
        None => {
            let held = engine
                .refuse(sender.unwrap_or("unknown"), None, unknown_topic(topic), payload, received_ms)
                .await;
            if let Taken::Unavailable { detail } = held {
                return Verdict::Later { detail };
            }
            let detail = format!(
                "topic {:?} is none of ours: wf/1/{{gateway}}/up/{{alarm|seal|reading|frame|health}} or senml/{{source}} expected",
                cut(topic, 80)
            );
            Verdict::Refused { why: Why::Topic, detail, held: true }
        }
        Some(Uplink::Frame { gateway, lane }) => {
            if let Some(client) = sender
                && client != gateway.as_str()
            {
                let detail = format!(
                    "client {:?} may not publish for gateway {:?}: connect with the gateway's id as client id",
                    cut(client, 64),
                    gateway.as_str()
                );
                return Verdict::Refused { why: Why::Sender, detail, held: false };
            }
            of_frame(engine.take_frame(&gateway, lane, payload, received_ms).await)
        }
        Some(Uplink::Senml { source }) => {
            let format = SenmlFormat::guess(&payload);
            of_senml(engine.take_senml(&source, format, payload, received_ms).await)
        }
    }
}

fn of_frame(taken: Taken) -> Verdict {
    match taken {
        Taken::Durable | Taken::Duplicate => Verdict::Durable { note: None },
        Taken::Refused { reason, detail } => {
            let why = match reason.class() {
                RefusalClass::Content => Why::Payload,
                RefusalClass::Topic => Why::Topic,
                RefusalClass::Unauthorised => Why::Sender,
            };
            Verdict::Refused { why, detail: format!("{}: {detail}", reason.as_str()), held: true }
        }
        Taken::Unavailable { detail } => Verdict::Later { detail },
    }
}

fn of_senml(taken: SenmlTaken) -> Verdict {
    match taken {
        SenmlTaken::Duplicate => {
            Verdict::Durable { note: Some("duplicate: the same pack was taken before".into()) }
        }
        SenmlTaken::Durable { refused, .. } if refused.is_empty() => Verdict::Durable { note: None },
        SenmlTaken::Durable { accepted, refused } => {
            let note = format!("{accepted} records taken, {} refused: {}", refused.len(), first(&refused));
            Verdict::Durable { note: Some(note) }
        }
        SenmlTaken::Refused { refused } => {
            let detail = format!("no record taken, {} refused: {}", refused.len(), first(&refused));
            Verdict::Refused { why: Why::Payload, detail, held: true }
        }
        SenmlTaken::Unavailable { detail } => Verdict::Later { detail },
    }
}

fn first(refused: &[(usize, String)]) -> String {
    refused.first().map(|(record, reason)| format!("record {record}: {reason}")).unwrap_or_default()
}

/// The first `most` characters of a text of unknown origin, for messages.
pub fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::Reason;

    #[test]
    fn refusals_say_what_the_sender_can_change() {
        let of = |reason| match of_frame(Taken::Refused { reason, detail: "d".into() }) {
            Verdict::Refused { why, detail, held: true } => (why, detail),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(Reason::Damaged), (Why::Payload, "damaged: d".into()));
        assert_eq!(of(Reason::UnknownGateway).0, Why::Sender);
    }

    #[test]
    fn a_pack_taken_in_part_says_so() {
        let taken = SenmlTaken::Durable { accepted: 2, refused: vec![(1, "no unit".into())] };
        assert_eq!(
            of_senml(taken),
            Verdict::Durable { note: Some("2 records taken, 1 refused: record 1: no unit".into()) }
        );
        assert_eq!(
            of_senml(SenmlTaken::Durable { accepted: 2, refused: vec![] }),
            Verdict::Durable { note: None }
        );
    }
}
