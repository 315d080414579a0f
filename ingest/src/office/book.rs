//! What the office knows of a seal, and whether what the seal says agrees with it (pure).
//!
//! Receipts are compared one by one, as they come: numbers without gaps, each with the digest of the one before, uses within
//! their grants, a counter that moves by one with each use and never back. What does not agree is a [`Finding`]: the receipt
//! is kept all the same, because it is evidence.

use std::fmt;

use seal::grant::{Evidence, Id};
use seal::keys::{Digest, PublicKey};
use seal::receipt::{Outcome, Receipt};
use wire::{Area, GatewayId};

/// A seal as the office has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// Its name.
    pub seal: String,
    /// Where it belongs.
    pub area: Area,
    /// The gateway that it is part of.
    pub gateway: GatewayId,
    /// The key of its device.
    pub key: PublicKey,
    /// Number of its newest rules; 0 when it has none.
    pub policy: u32,
    /// The epoch of its revocations.
    pub epoch: u32,
    /// The sequence that the next grant for it gets.
    pub next_sequence: u64,
    /// Grants below this one are over.
    pub min_sequence: u64,
    /// How many times of tampering somebody has looked into.
    pub cleared: u32,
    /// Whether it is locked from here.
    pub is_locked: bool,
    /// Number of its last receipt.
    pub receipts: u64,
    /// Digest of that.
    pub last_receipt: Digest,
    /// What its counter showed then.
    pub counter: u64,
    /// How many times of tampering it has told.
    pub tampered: u32,
    /// When it was heard last, in milliseconds since 1970 UTC.
    pub heard_ms: i64,
    /// The question of a hello that did not agree: it was told the time, and asked again.
    pub doubted: Option<Id>,
    /// The last receipt of a use that somebody was made to do.
    pub duress: u64,
}

/// A grant as far as receipts are measured by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The digest of what was signed.
    pub digest: Digest,
    /// Its number at the seal.
    pub sequence: u64,
    /// How many uses it has.
    pub max_uses: u16,
    /// The newest use of which there is a receipt.
    pub used: u16,
    /// When it was taken back, in seconds since 1970 UTC.
    pub revoked_s: Option<u64>,
    /// What had to be photographed.
    pub evidence: Evidence,
}

/// What does not agree, or what somebody has to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Receipts from one number to another are missing.
    Gap(u64, u64),
    /// Two different receipts have one number: two devices with one key, or one that was set back.
    Twin(u64),
    /// It does not name the receipt before it.
    Chain(u64),
    /// Its grant was never given.
    Unlogged,
    /// Its grant said something else.
    Changed,
    /// More uses than granted.
    OverUsed(u16, u16),
    /// A use that there is a receipt of already.
    UsedTwice(u16),
    /// Uses of which there is no receipt.
    Unreported(u16, u16),
    /// The counter went back, or did not move with a use.
    CounterBack(u64, u64),
    /// The counter moved further than there were uses.
    CounterAhead(u64, u64),
    /// Used after its grant was taken back, before the seal had heard it: so many seconds.
    AfterRevocation(u64),
    /// Pressed more than once in one use.
    PressedAgain(u8),
    /// Nobody knows whether it was pressed.
    Unknown,
    /// Somebody touched what nobody may.
    Tampered,
    /// It did not close.
    NotClosed,
    /// The person was made to do the use with this receipt.
    Duress(u64),
    /// A photograph that was asked for is missing.
    NoPhotograph,
    /// Used although its grant was over: the seal had forgotten what it had done.
    Voided,
    /// The key of the seal was changed.
    Rekeyed,
    /// The device remembers an older state than its counter shows.
    OldState(u64, u64),
    /// The device has fewer receipts than it has sent.
    SetBack(u64, u64),
    /// Not signed by the device, or nothing that a seal says.
    Forged,
}

impl Finding {
    /// One word, for records and programs.
    pub fn word(&self) -> &'static str {
        match self {
            Finding::Gap(..) => "gap",
            Finding::Twin(..) => "twin",
            Finding::Chain(..) => "chain",
            Finding::Unlogged => "unlogged",
            Finding::Changed => "changed",
            Finding::OverUsed(..) => "over_used",
            Finding::UsedTwice(..) => "used_twice",
            Finding::Unreported(..) => "unreported",
            Finding::CounterBack(..) => "counter_back",
            Finding::CounterAhead(..) => "counter_ahead",
            Finding::AfterRevocation(..) => "after_revocation",
            Finding::PressedAgain(..) => "pressed_again",
            Finding::Unknown => "unknown",
            Finding::Tampered => "tampered",
            Finding::NotClosed => "not_closed",
            Finding::Duress(_) => "duress",
            Finding::NoPhotograph => "no_photograph",
            Finding::Voided => "voided",
            Finding::Rekeyed => "rekeyed",
            Finding::OldState(..) => "old_state",
            Finding::SetBack(..) => "set_back",
            Finding::Forged => "forged",
        }
    }

    /// The same in Chinese.
    pub fn zh(&self) -> String {
        match *self {
            Finding::Gap(from, to) => format!("缺少第 {from} 至 {to} 号用印回执"),
            Finding::Twin(number) => format!("出现两份不同的第 {number} 号回执：设备可能被复制或回滚"),
            Finding::Chain(number) => format!("第 {number} 号回执与前一份不衔接"),
            Finding::Unlogged => "所用授权从未签发".into(),
            Finding::Changed => "所用授权的内容与签发的不一致".into(),
            Finding::OverUsed(number, of) => format!("超次用印：第 {number} 次，只授权 {of} 次"),
            Finding::UsedTwice(number) => format!("同一授权的第 {number} 次用印出现两次"),
            Finding::Unreported(from, to) => format!("第 {from} 至 {to} 次用印没有回执"),
            Finding::CounterBack(from, to) => format!("计数器由 {from} 变为 {to}：设备可能被回滚"),
            Finding::CounterAhead(from, to) => format!("计数器由 {from} 跳到 {to}，多于用印次数"),
            Finding::AfterRevocation(s) => format!("撤销 {s} 秒后用印（设备离线，未收到撤销）"),
            Finding::PressedAgain(presses) => format!("一次开锁内按压 {presses} 次"),
            Finding::Unknown => "断电：不知是否已盖章".into(),
            Finding::Tampered => "设备被拆动".into(),
            Finding::NotClosed => "设备未能锁闭，请立即到现场".into(),
            Finding::Duress(number) => format!("第 {number} 号回执：使用人以胁迫方式验证身份"),
            Finding::NoPhotograph => "缺少规定的照片".into(),
            Finding::Voided => "所用授权已作废".into(),
            Finding::Rekeyed => "印章密钥已更换".into(),
            Finding::OldState(remembered, counter) => {
                format!("设备只记得 {remembered} 次，计数器为 {counter}：存储卡可能被换回旧卡")
            }
            Finding::SetBack(has, sent) => format!("设备只有 {has} 份回执，而已收到 {sent} 份：可能被回滚"),
            Finding::Forged => "签名不是该设备的".into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Gap(from, to) => write!(f, "receipts {from} to {to} are missing"),
            Finding::Twin(number) => {
                write!(
                    f,
                    "two different receipts have number {number}: a copied device, or one that was set back"
                )
            }
            Finding::Chain(number) => write!(f, "receipt {number} does not follow from the one before it"),
            Finding::Unlogged => f.write_str("the grant was never given"),
            Finding::Changed => f.write_str("the grant said something else when it was given"),
            Finding::OverUsed(number, of) => write!(f, "use {number} of a grant for {of}"),
            Finding::UsedTwice(number) => write!(f, "use {number} of the grant was told before"),
            Finding::Unreported(from, to) => write!(f, "uses {from} to {to} of the grant have no receipt"),
            Finding::CounterBack(from, to) => {
                write!(f, "the counter was {from} and is {to}: the device may have been set back")
            }
            Finding::CounterAhead(from, to) => {
                write!(f, "the counter went from {from} to {to}, which is more than was used")
            }
            Finding::AfterRevocation(s) => {
                write!(f, "used {s} s after the grant was taken back, of which the device had not heard")
            }
            Finding::PressedAgain(presses) => write!(f, "pressed {presses} times in one use"),
            Finding::Unknown => f.write_str("the power went: nobody knows whether it was pressed"),
            Finding::Tampered => f.write_str("somebody has tampered with the device"),
            Finding::NotClosed => f.write_str("the device did not close: go there now"),
            Finding::Duress(number) => {
                write!(f, "at the use of receipt {number} the person showed that somebody makes them")
            }
            Finding::NoPhotograph => f.write_str("a photograph that has to be there is missing"),
            Finding::Voided => f.write_str("the grant was over: the seal had forgotten what it had done"),
            Finding::Rekeyed => f.write_str("the key of the seal was changed"),
            Finding::OldState(remembered, counter) => write!(
                f,
                "the device remembers {remembered} uses and has counted {counter}: its card may be an old copy"
            ),
            Finding::SetBack(has, sent) => {
                write!(f, "the device has {has} receipts and has sent {sent}: it may have been set back")
            }
            Finding::Forged => f.write_str("the device has not signed it"),
        }
    }
}

impl Book {
    /// Compares a receipt with what is known, and takes it in. `digest` names it, `granted` is the grant that it names, if
    /// there is one; `twin` whether there is another receipt with this number.
    pub fn take(
        &mut self,
        receipt: &Receipt,
        digest: Digest,
        granted: Option<&mut Granted>,
        twin: bool,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        // What fills a gap came late, and what it says of counter and uses is behind what is known.
        let is_late = receipt.number <= self.receipts && !twin;
        self.look_at_chain(receipt, digest, twin, &mut found);
        if !is_late {
            self.look_at_counter(receipt, &mut found);
        }
        if let Some(used) = receipt.used.filter(|used| used.number > 0) {
            match granted {
                Some(granted) => granted.look(&used, receipt, is_late, &mut found),
                None => found.push(Finding::Unlogged),
            }
            if used.sequence < self.min_sequence {
                found.push(Finding::Voided);
            }
        }
        self.tampered = self.tampered.max(receipt.tampered);
        match receipt.outcome {
            Outcome::PressedAgain => found.push(Finding::PressedAgain(receipt.presses)),
            Outcome::Unknown => found.push(Finding::Unknown),
            Outcome::Tampered => found.push(Finding::Tampered),
            Outcome::NotClosed => found.push(Finding::NotClosed),
            Outcome::Stamped | Outcome::NotPressed | Outcome::Refused => {}
        }
        found
    }

    fn look_at_chain(&mut self, receipt: &Receipt, digest: Digest, twin: bool, found: &mut Vec<Finding>) {
        let number = receipt.number;
        if twin || number <= self.receipts {
            // What was missing may come late; what is there already is a twin.
            if twin {
                found.push(Finding::Twin(number));
            }
            return;
        }
        let next = self.receipts + 1;
        if number > next {
            found.push(Finding::Gap(next, number - 1));
        } else if receipt.previous != self.last_receipt {
            found.push(Finding::Chain(number));
        }
        self.receipts = number;
        self.last_receipt = digest;
    }

    fn look_at_counter(&mut self, receipt: &Receipt, found: &mut Vec<Finding>) {
        let uses = u64::from(receipt.used.is_some_and(|used| used.number > 0));
        let (before, shown) = (self.counter, receipt.counter);
        let is_gap = found.iter().any(|finding| matches!(finding, Finding::Gap(..) | Finding::Twin(..)));
        // Of a use that the power ended before the counter was moved, it was moved by the start: the same number.
        if shown < before.saturating_add(uses) {
            found.push(Finding::CounterBack(before, shown));
        } else if shown > before.saturating_add(uses) && !is_gap {
            found.push(Finding::CounterAhead(before, shown));
        }
        self.counter = before.max(shown);
    }
}

impl Granted {
    fn look(
        &mut self,
        used: &seal::receipt::UseOf,
        receipt: &Receipt,
        is_late: bool,
        found: &mut Vec<Finding>,
    ) {
        let is_stamped = matches!(receipt.outcome, Outcome::Stamped | Outcome::PressedAgain);
        let Evidence { before, after, .. } = self.evidence;
        if is_stamped && (before && receipt.before.is_none() || after && receipt.after.is_none()) {
            found.push(Finding::NoPhotograph);
        }
        if used.digest != self.digest || used.sequence != self.sequence || used.of != self.max_uses {
            found.push(Finding::Changed);
        }
        if used.number > self.max_uses {
            found.push(Finding::OverUsed(used.number, self.max_uses));
        }
        if used.number <= self.used && !is_late {
            found.push(Finding::UsedTwice(used.number));
        } else if used.number > self.used + 1 {
            found.push(Finding::Unreported(self.used + 1, used.number - 1));
        }
        self.used = self.used.max(used.number);
        if let Some(late_s) = self.revoked_s.and_then(|revoked_s| receipt.scene.at_s.checked_sub(revoked_s)) {
            found.push(Finding::AfterRevocation(late_s));
        }
    }
}

#[cfg(test)]
mod tests {
    use seal::keys::{MemoryKey, Signer, digest};
    use seal::receipt::{Scene, TimeQuality, UseOf, VERSION};
    use seal::refusal::Refusal;

    use super::*;

    const GRANT: [u8; 16] = [1; 16];

    fn book() -> Book {
        Book {
            seal: "gongli-07".into(),
            area: Area::new("370124/gongli").unwrap(),
            gateway: GatewayId::new("gongli-07").unwrap(),
            key: MemoryKey::from_secret(&[9; 32]).public(),
            policy: 1,
            epoch: 0,
            next_sequence: 5,
            min_sequence: 0,
            cleared: 0,
            is_locked: false,
            receipts: 10,
            last_receipt: digest(&[b"ten"]),
            counter: 20,
            tampered: 0,
            heard_ms: 0,
            doubted: None,
            duress: 0,
        }
    }

    fn granted() -> Granted {
        let evidence = Evidence { before: false, after: true, person: true };
        Granted { digest: digest(&[b"grant"]), sequence: 4, max_uses: 2, used: 0, revoked_s: None, evidence }
    }

    fn use_of(number: u16) -> UseOf {
        UseOf { grant: GRANT.into(), digest: digest(&[b"grant"]), sequence: 4, number, of: 2 }
    }

    fn stamped(number: u64) -> Receipt {
        Receipt {
            version: VERSION,
            seal: "gongli-07".into(),
            number,
            previous: digest(&[b"ten"]),
            counter: 21,
            boot: [0; 16].into(),
            scene: Scene { at_s: 1000, time: TimeQuality::Synced, position: None, person: None },
            policy: 1,
            epoch: 0,
            used: Some(use_of(1)),
            outcome: Outcome::Stamped,
            refusal: None,
            presses: 1,
            before: None,
            after: Some(digest(&[b"impression"])),
            is_test: false,
            tampered: 0,
        }
    }

    fn take(receipt: &Receipt, granted: Option<Granted>, twin: bool) -> Vec<Finding> {
        let mut granted = granted;
        book().take(receipt, digest(&[b"eleven"]), granted.as_mut(), twin)
    }

    #[test]
    fn what_agrees_is_no_finding() {
        assert_eq!(take(&stamped(11), Some(granted()), false), []);
        let refused = Receipt {
            outcome: Outcome::Refused,
            refusal: Some(Refusal::UsedUp),
            used: Some(use_of(0)),
            presses: 0,
            counter: 20,
            ..stamped(11)
        };
        assert_eq!(take(&refused, None, false), [], "a refusal uses nothing, whatever it names");
        let mut book = book();
        let mut granted = granted();
        let first = stamped(11);
        assert_eq!(book.take(&first, digest(&[b"eleven"]), Some(&mut granted), false), []);
        let second =
            Receipt { previous: digest(&[b"eleven"]), counter: 22, used: Some(use_of(2)), ..stamped(12) };
        assert_eq!(book.take(&second, digest(&[b"twelve"]), Some(&mut granted), false), []);
        assert_eq!((book.receipts, book.counter, granted.used), (12, 22, 2));
    }

    #[test]
    fn what_does_not_agree_is_found() {
        let good = || stamped(11);
        let old = |number: u16| UseOf { digest: digest(&[b"another"]), ..use_of(number) };
        let is = |outcome, presses| Receipt { outcome, presses, ..good() };
        let revoked = Granted { revoked_s: Some(900), ..granted() };
        for (receipt, granted, twin, expected) in [
            (Receipt { counter: 23, ..stamped(13) }, Some(granted()), false, vec![Finding::Gap(11, 12)]),
            (good(), Some(granted()), true, vec![Finding::Twin(11)]),
            (
                Receipt { previous: digest(&[b"x"]), ..good() },
                Some(granted()),
                false,
                vec![Finding::Chain(11)],
            ),
            (good(), None, false, vec![Finding::Unlogged]),
            (Receipt { used: Some(old(1)), ..good() }, Some(granted()), false, vec![Finding::Changed]),
            (good(), Some(Granted { used: 1, ..granted() }), false, vec![Finding::UsedTwice(1)]),
            (
                Receipt { used: Some(use_of(2)), ..good() },
                Some(granted()),
                false,
                vec![Finding::Unreported(1, 1)],
            ),
            (
                Receipt { used: Some(use_of(3)), ..good() },
                Some(Granted { used: 2, ..granted() }),
                false,
                vec![Finding::OverUsed(3, 2)],
            ),
            (Receipt { counter: 20, ..good() }, Some(granted()), false, vec![Finding::CounterBack(20, 20)]),
            (Receipt { counter: 25, ..good() }, Some(granted()), false, vec![Finding::CounterAhead(20, 25)]),
            (good(), Some(revoked), false, vec![Finding::AfterRevocation(100)]),
            (is(Outcome::PressedAgain, 3), Some(granted()), false, vec![Finding::PressedAgain(3)]),
            (is(Outcome::Unknown, 0), Some(granted()), false, vec![Finding::Unknown]),
            (is(Outcome::Tampered, 0), Some(granted()), false, vec![Finding::Tampered]),
            (is(Outcome::NotClosed, 0), Some(granted()), false, vec![Finding::NotClosed]),
            (Receipt { after: None, ..good() }, Some(granted()), false, vec![Finding::NoPhotograph]),
        ] {
            assert_eq!(take(&receipt, granted, twin), expected);
        }
    }

    #[test]
    fn what_was_missing_may_come_late() {
        let (mut book, mut granted) = (book(), granted());
        let second = Receipt { counter: 22, used: Some(use_of(2)), ..stamped(12) };
        let found = book.take(&second, digest(&[b"twelve"]), Some(&mut granted), false);
        assert_eq!(found, [Finding::Gap(11, 11), Finding::Unreported(1, 1)]);
        assert_eq!(book.take(&stamped(11), digest(&[b"eleven"]), Some(&mut granted), false), []);
        assert_eq!((book.receipts, book.counter, granted.used), (12, 22, 2));
        book.min_sequence = 5;
        let third = Receipt { counter: 23, previous: digest(&[b"twelve"]), tampered: 3, ..stamped(13) };
        let found = book.take(&third, digest(&[b"13"]), Some(&mut Granted { used: 0, ..granted }), false);
        assert_eq!((found, book.tampered), (vec![Finding::Voided], 3));
    }

    #[test]
    fn each_finding_has_its_word_in_both_languages() {
        let all = [
            Finding::Gap(1, 2),
            Finding::Twin(1),
            Finding::Chain(1),
            Finding::Unlogged,
            Finding::Changed,
            Finding::OverUsed(2, 1),
            Finding::UsedTwice(1),
            Finding::Unreported(1, 2),
            Finding::CounterBack(2, 1),
            Finding::CounterAhead(1, 9),
            Finding::AfterRevocation(5),
            Finding::PressedAgain(2),
            Finding::Unknown,
            Finding::Tampered,
            Finding::NotClosed,
            Finding::Duress(1),
            Finding::NoPhotograph,
            Finding::Voided,
            Finding::Rekeyed,
            Finding::OldState(1, 2),
            Finding::SetBack(1, 2),
            Finding::Forged,
        ];
        for (at, finding) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.word() != finding.word()));
            assert!(finding.to_string().is_ascii() && !finding.zh().is_ascii());
        }
    }
}
