//! The MQTT topic tree. Both directions live here, so that they cannot drift apart.
//!
//! ```text
//! wf/1/{gateway}/up/{lane}     gateway → ingest   one frame
//! wf/1/{gateway}/down/receipt  ingest → gateway   one receipt
//! wf/1/{gateway}/down/seal     ingest → gateway   for its seal: an answer, a grant with its proof, rules; or nothing: ask
//! senml/{source}               third parties → ingest
//! ```

use alloc::format;
use alloc::string::String;

use crate::ids::GatewayId;
use crate::lane::Lane;

/// Where an uplink message belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uplink {
    /// A frame of one of our gateways.
    Frame {
        /// The gateway the topic names.
        gateway: GatewayId,
        /// The lane the topic names.
        lane: Lane,
    },
    /// A SenML pack of a third party.
    Senml {
        /// The source the topic names.
        source: GatewayId,
    },
}

/// The topic a gateway publishes a lane under.
pub fn up(gateway: &GatewayId, lane: Lane) -> String {
    format!("wf/1/{gateway}/up/{}", lane.as_str())
}

/// The topic a gateway hears receipts on.
pub fn receipt(gateway: &GatewayId) -> String {
    format!("wf/1/{gateway}/down/receipt")
}

/// The topic a gateway hears of its seal on.
pub fn seal(gateway: &GatewayId) -> String {
    format!("wf/1/{gateway}/down/seal")
}

/// Topic filters that cover every uplink, for a broker that is not ours.
pub const UPLINK_FILTERS: [&str; 2] = ["wf/1/+/up/+", "senml/+"];

/// Reads an uplink topic; `None` when it is not one of ours.
pub fn parse_uplink(topic: &str) -> Option<Uplink> {
    let mut levels = topic.split('/');
    let uplink = match levels.next()? {
        "wf" => {
            if levels.next()? != "1" {
                return None;
            }
            let gateway = GatewayId::new(levels.next()?).ok()?;
            if levels.next()? != "up" {
                return None;
            }
            Uplink::Frame { gateway, lane: Lane::from_word(levels.next()?)? }
        }
        "senml" => Uplink::Senml { source: GatewayId::new(levels.next()?).ok()? },
        _ => return None,
    };
    levels.next().is_none().then_some(uplink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_come_back() {
        let gateway = GatewayId::new("caotang-03").unwrap();
        for lane in Lane::ALL {
            let topic = up(&gateway, lane);
            assert_eq!(
                parse_uplink(&topic),
                Some(Uplink::Frame { gateway: gateway.clone(), lane }),
                "{topic}"
            );
        }
        assert_eq!(
            parse_uplink("senml/river-works"),
            Some(Uplink::Senml { source: GatewayId::new("river-works").unwrap() })
        );
    }

    #[test]
    fn strange_topics_are_none() {
        for topic in [
            "",
            "wf",
            "wf/2/a/up/reading",
            "wf/1/A/up/reading",
            "wf/1/a/up/x",
            "wf/1/a/up/reading/",
            "senml",
            "senml/",
            "senml/a/b",
            "x",
        ] {
            assert_eq!(parse_uplink(topic), None, "{topic}");
        }
    }
}
