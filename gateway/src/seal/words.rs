//! What the desk answers: JSON for programs, with sentences for people in Chinese and English.

use ::seal::delegation::{Delegation, Deputed};
use ::seal::keys::PublicKey;
use ::seal::memory::Memory;
use ::seal::policy::Policy;
use ::seal::receipt::{Outcome, TimeQuality, UseOf};
use ::seal::refusal::Refusal;
use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};

use super::driver::Now;
use super::grants::Held;
use super::{hex, key};

/// It was refused. `more`: what else the person at the seal should know; `receipt`: number of the receipt of it.
pub fn refused(why: Refusal, more: Option<&str>, receipt: Option<u64>) -> Value {
    let (zh, en) = why.sentences();
    let (zh, en) = match more {
        None => (zh.to_owned(), en.to_owned()),
        Some(more) => (format!("{zh}（{more}）"), format!("{en} ({more})")),
    };
    json!({ "ok": false, "refused": why.as_str(), "zh": zh, "en": en, "receipt": receipt })
}

/// It has ended: how, and how often it was pressed; `receipt` is there once it is signed.
pub fn ended(used: &UseOf, (outcome, presses): (Outcome, u8), receipt: Option<u64>) -> Value {
    let (word, zh, en) = match outcome {
        Outcome::Stamped => ("stamped", "已用印。", "Stamped."),
        Outcome::PressedAgain => (
            "pressed_again",
            "多次按压，请保留纸张并联系管理员。",
            "Pressed more than once. Keep the paper and call the administrator.",
        ),
        Outcome::NotPressed => {
            ("not_pressed", "未按压，本次授权次数已消耗。", "Not pressed in time. The use is spent.")
        }
        Outcome::Tampered => {
            ("tampered", "检测到拆动，设备已锁定。", "Somebody has tampered with it: this device is locked.")
        }
        Outcome::NotClosed => (
            "not_closed",
            "印章未能闭合，请勿离开并联系管理员。",
            "It has not closed. Stay there and call the administrator.",
        ),
        Outcome::Unknown | Outcome::Refused => {
            ("unknown", "结果未知，本次授权次数已消耗。", "Nobody knows how it ended. The use is spent.")
        }
    };
    json!({
        "ok": outcome == Outcome::Stamped,
        "outcome": word,
        "zh": zh,
        "en": en,
        "grant": hex(&used.grant[..]),
        "use": used.number,
        "of": used.of,
        "presses": presses,
        "receipt": receipt,
    })
}

/// A grant is held.
pub fn held(name: &str) -> Value {
    json!({ "ok": true, "grant": name, "zh": "授权已收下。", "en": "The grant is held." })
}

/// No such grant is held, or more than one.
pub fn unknown(name: &str, held: usize) -> Value {
    json!({
        "ok": false,
        "refused": "unknown_grant",
        "zh": format!("没有（或不止一份）编号以“{name}”开头的授权，设备现有 {held} 份：gateway seal status 可查看。"),
        "en": format!("No grant, or more than one, begins with {name:?}; {held} are held: gateway seal status shows them."),
    })
}

/// The authority will be asked.
pub fn asked(is_online: bool) -> Value {
    let (zh, en) = if is_online {
        ("正在联系平台。", "The authority is asked now.")
    } else {
        (
            "连接恢复后立即联系平台。",
            "The authority is asked as soon as the connection stands and what waits has gone.",
        )
    };
    json!({ "ok": true, "online": is_online, "zh": zh, "en": en })
}

/// It is too busy, or ends.
pub fn busy() -> Value {
    json!({
        "ok": false, "refused": "busy",
        "zh": "印章正忙，请稍后再试。", "en": "The seal is busy. Try again in a moment."
    })
}

/// No seal hangs on the gateway itself; that is no mistake of who asks how things are.
pub fn no_seal(is_status: bool) -> Value {
    json!({
        "ok": is_status, "refused": "no_seal",
        "zh": "本网关未直接连接印章；线路上的印章请在其设备上操作。",
        "en": "No seal hangs on this gateway itself; one at the end of a line is used where it is."
    })
}

/// A grant was given to the seal at the end of a line, which it names.
pub fn passed_on() -> Value {
    json!({ "ok": true, "zh": "授权已转交线路上的印章。", "en": "The grant was passed on to the seal at the end of a line." })
}

/// The request was not understood.
pub fn bad(why: &str) -> Value {
    json!({ "ok": false, "refused": "bad_request", "zh": format!("无法理解请求：{why}"), "en": format!("Not understood: {why}") })
}

/// Bytes given as hexadecimal digits or base64.
pub fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    // A grant begins with a list of two, 82: in base64 that is a g, which is no digit.
    let is_hex =
        text.len().is_multiple_of(2) && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex {
        let pair = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        return (0..text.len()).step_by(2).map(pair).collect();
    }
    let decoded = Base64::decode_vec(text).or_else(|_| Base64UrlUnpadded::decode_vec(text));
    decoded.ok().filter(|bytes| !bytes.is_empty())
}

/// How the seal is.
pub struct Status<'a> {
    pub(super) seal: &'a str,
    pub(super) key: PublicKey,
    pub(super) policy: Option<&'a Policy>,
    pub(super) deputed: &'a [Deputed],
    pub(super) memory: &'a Memory,
    pub(super) grants: &'a [Held],
    pub(super) now: Now,
    pub(super) counter: Option<u64>,
    /// Why the hands are not ready, if they are not.
    pub(super) hands: Option<String>,
    pub(super) alone_s: Option<u64>,
    pub(super) is_online: bool,
    pub(super) is_tampered: bool,
    pub(super) has_journal: bool,
    pub(super) is_stamping: bool,
    pub(super) has_shown: bool,
}

impl Status<'_> {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        let lease = self.policy.map(|policy| policy.lease);
        let lease_s = lease.zip(self.alone_s).map(|(lease, alone_s)| lease.most_s.saturating_sub(alone_s));
        let stamps = lease.map(|lease| lease.most_stamps.saturating_sub(self.memory.stamps_alone));
        let grants: Vec<Value> = self.grants.iter().map(|held| self.grant(held)).collect();
        json!({
            "ok": true,
            "seal": self.seal,
            "key": configs::roots::key_text(&self.key),
            "fingerprint": key::fingerprint(&self.key),
            "policy": self.policy.map(|policy| policy.number),
            "test": self.policy.map(|policy| policy.is_test),
            "online": self.is_online,
            "heard_s_ago": self.alone_s,
            "lease_left_s": lease_s,
            "lease_left_stamps": stamps,
            "time_s": self.now.at_s,
            "time_known": self.now.time == TimeQuality::Synced,
            "ready": self.hands.is_none(),
            "not_ready": self.hands,
            "journal": self.has_journal,
            "stamping": self.is_stamping,
            "tampered": self.is_tampered,
            "locked": self.memory.is_locked,
            "counter": self.counter,
            "remembered": self.memory.counter,
            "receipts": self.memory.receipts,
            "receipt_owed": self.memory.owed.is_some(),
            "person_shown": self.has_shown,
            "grants": grants,
            "deputies": self.deputed.iter().map(deputy).collect::<Vec<Value>>(),
        })
    }

    fn grant(&self, held: &Held) -> Value {
        let grant = &held.grant;
        json!({
            "grant": hex(&grant.id[..]),
            "matter": grant.matter,
            "document": hex(&grant.document[..]),
            "pages": grant.pages,
            "applicant": grant.applicant,
            "left": held.left(self.memory),
            "of": grant.max_uses,
            "not_before_s": grant.not_before_s,
            "expires_s": grant.expires_s,
            "person": grant.evidence.person,
            "photographs": grant.evidence.before || grant.evidence.after,
        })
    }
}

fn deputy(deputed: &Deputed) -> Value {
    let Delegation { id, from, to, matters, from_s, until_s, .. } = deputed.delegation();
    json!({
        "delegation": hex(&id[..]), "from": from, "to": to, "matters": matters, "from_s": from_s, "until_s": until_s,
    })
}

/// What a person reads of an answer.
pub fn told(answer: &Value) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    // Writing into a String has no way to fail.
    for language in ["zh", "en"] {
        if let Some(sentence) = answer[language].as_str() {
            let _ = writeln!(out, "{sentence}");
        }
    }
    for (key, name) in
        [("grant", "授权 grant"), ("use", "第几次 use"), ("of", "共 of"), ("receipt", "回执 receipt")]
    {
        match &answer[key] {
            Value::String(text) => drop(writeln!(out, "{name}  {text}")),
            Value::Number(number) => drop(writeln!(out, "{name}  {number}")),
            _ => {}
        }
    }
    out
}

/// What a person reads of the status.
pub fn status_told(status: &Value) -> String {
    let lines = status["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: String = lines.iter().map(line_told).collect();
    if status["refused"] == "no_seal" { lines } else { format!("{}{lines}", seal_told(status)) }
}

/// What a person reads of a seal at the end of a line.
fn line_told(line: &Value) -> String {
    let text = |key: &str| match &line[key] {
        Value::String(text) => text.clone(),
        Value::Null => "—".into(),
        other => other.to_string(),
    };
    let state = match line["trouble"].as_str() {
        Some(trouble) if !trouble.is_empty() => format!("端口故障 the port cannot be used: {trouble}"),
        _ if line["connected"] == true => {
            format!("已连接 connected {} 秒 s，{} 秒前 s ago", text("connected_s"), text("heard_s_ago"))
        }
        _ => {
            "未连接：检查接线，核对两端指纹 not connected: look at the wires, compare the fingerprints".into()
        }
    };
    format!(
        "线路 line           {}  {}  {state}\n  指纹 fingerprint  {}\n  收 up {}  发 down {}  拒绝握手 handshakes refused {}  拒绝 refused {}  杂波 noise {}\n",
        text("seal"),
        text("port"),
        text("fingerprint"),
        text("carried_up"),
        text("carried_down"),
        text("handshakes_refused"),
        text("records_refused"),
        text("noise"),
    )
}

/// What a person reads of the seal that hangs on the gateway itself.
fn seal_told(status: &Value) -> String {
    use std::fmt::Write;
    let text = |key: &str| match &status[key] {
        Value::String(text) => text.clone(),
        Value::Null => "—".into(),
        other => other.to_string(),
    };
    let yes = |key: &str| status[key] == true;
    let state = [
        (yes("tampered"), "已锁定（检测到拆动） locked: tampered with"),
        (yes("locked"), "已锁定（平台） locked by the authority"),
        (!yes("journal"), "存储故障 the journal cannot be read"),
        (status["policy"].is_null(), "等待规则 waiting for rules"),
        (status["counter"] != status["remembered"], "存储与计数器不符 memory and counter differ: connect it"),
        (status["heard_s_ago"].is_null(), "等待联系平台 waiting to hear from the authority"),
        (!yes("time_known"), "时间未知 the time is not known"),
        (!yes("ready"), "硬件未就绪 the hands are not ready"),
        (yes("stamping"), "正在用印 stamping"),
    ];
    let state = state.iter().find(|(is_so, _)| *is_so).map_or("可用 ready", |(_, words)| words);
    let online = if yes("online") { "已连接 connected" } else { "未连接 not connected" };
    let mut out = String::new();
    let _ = writeln!(out, "印章 seal           {}  {state}", text("seal"));
    if let Some(why) = status["not_ready"].as_str() {
        let _ = writeln!(out, "                    {why}");
    }
    let _ = writeln!(out, "指纹 fingerprint    {}", text("fingerprint"));
    let _ = writeln!(out, "规则 rules          {}", text("policy"));
    let _ = writeln!(
        out,
        "平台 authority      {online}，{} 秒前 s ago；离线余量 alone for {} 秒 s, {} 次 stamps",
        text("heard_s_ago"),
        text("lease_left_s"),
        text("lease_left_stamps")
    );
    let _ = writeln!(out, "回执 receipts       {}；计数 counter {}", text("receipts"), text("counter"));
    for deputy in status["deputies"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (to, from) = (deputy["to"].as_str().unwrap_or("?"), deputy["from"].as_str().unwrap_or("?"));
        let until = deputy["until_s"].as_i64().and_then(|at_s| jiff::Timestamp::from_second(at_s).ok());
        let until = until.map_or_else(|| "?".into(), |until| until.to_string());
        let _ = writeln!(out, "代理审批 deputy     {to} 代 in place of {from}  至 until {until}");
    }
    let grants = status["grants"].as_array().map(Vec::as_slice).unwrap_or_default();
    let _ = writeln!(out, "授权 grants         {}", grants.len());
    for grant in grants {
        let field = |key: &str| match &grant[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let expires = grant["expires_s"].as_i64().and_then(|at_s| jiff::Timestamp::from_second(at_s).ok());
        let _ = writeln!(
            out,
            "  {}  {}  {} 页 pages  余 left {}/{}  至 until {}\n    文件 document {}",
            field("grant"),
            field("matter"),
            field("pages"),
            field("left"),
            field("of"),
            expires.map_or("—".into(), |at| at.to_string()),
            field("document"),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_may_be_brought_in_either_spelling() {
        for (text, bytes) in [
            ("82410a", Some(vec![0x82, 0x41, 0x0a])),
            (" 82410A\n", Some(vec![0x82, 0x41, 0x0a])),
            ("gkEK", Some(vec![0x82, 0x41, 0x0a])),
            ("gkE", Some(vec![0x82, 0x41])),
            ("gk=", None),
            ("", None),
            ("8", None),
            ("这不是", None),
        ] {
            assert_eq!(bytes_of(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn people_are_told_in_both_languages() {
        let answer = refused(Refusal::Person, Some("不正确 not right"), Some(7));
        let told = told(&answer);
        for part in ["请先验证身份。（不正确", "Show first who you are.", "receipt  7"] {
            assert!(told.contains(part), "{part} is missing in\n{told}");
        }
        assert_eq!((&answer["ok"], &answer["refused"]), (&Value::Bool(false), &Value::from("person")));
    }

    #[test]
    fn a_line_is_told_with_what_was_refused_there() {
        let line = |connected: bool, trouble: &str| {
            json!({
                "seal": "gongli-08", "port": "/dev/ttyS1", "fingerprint": "d56b 7762 f5c0 b60e fca0",
                "connected": connected, "connected_s": 61, "heard_s_ago": 1, "handshakes_refused": 7,
                "records_refused": 3, "noise": 2, "carried_up": 5, "carried_down": 4, "trouble": trouble,
            })
        };
        let mut status = no_seal(true);
        status["lines"] = json!([line(true, ""), line(false, ""), line(false, "No such device")]);
        let told = status_told(&status);
        for part in [
            "已连接 connected 61 秒 s，1 秒前 s ago",
            "未连接：检查接线，核对两端指纹",
            "端口故障 the port cannot be used: No such device",
            "d56b 7762 f5c0 b60e fca0",
            "拒绝握手 handshakes refused 7",
        ] {
            assert!(told.contains(part), "{part} is missing in\n{told}");
        }
        assert!(!told.contains("印章 seal "), "no seal hangs on the gateway itself:\n{told}");
    }
}
