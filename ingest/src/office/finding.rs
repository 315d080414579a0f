//! What does not agree, in words.

use std::fmt;

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
    /// A photograph that this receipt names has not come.
    PhotoMissing(u64),
    /// A photograph that was missing has come.
    PhotoCame(u64),
    /// Used although its grant was over: the seal had forgotten what it had done.
    Voided,
    /// The key of the seal was changed.
    Rekeyed,
    /// This receipt is signed by a key that the seal had before, and came after the change.
    EarlierKey(u64),
    /// The device remembers an older state than its counter shows.
    OldState(u64, u64),
    /// The device has fewer receipts than it has sent.
    SetBack(u64, u64),
    /// The device has heard of revocations that were never made: its epoch, and the office's.
    EpochAhead(u32, u32),
    /// Used when a deputy's time was over, or had not come.
    Deputy,
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
            Finding::PhotoMissing(_) => "photo_missing",
            Finding::PhotoCame(_) => "photo_came",
            Finding::Voided => "voided",
            Finding::Rekeyed => "rekeyed",
            Finding::EarlierKey(_) => "earlier_key",
            Finding::OldState(..) => "old_state",
            Finding::SetBack(..) => "set_back",
            Finding::EpochAhead(..) => "epoch_ahead",
            Finding::Deputy => "deputy",
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
            Finding::PhotoMissing(number) => format!("第 {number} 号回执所列照片未送达"),
            Finding::PhotoCame(number) => format!("第 {number} 号回执所缺照片已送达"),
            Finding::Voided => "所用授权已作废".into(),
            Finding::Rekeyed => "印章密钥已更换".into(),
            Finding::EarlierKey(number) => {
                format!("第 {number} 号回执由更换前的密钥签名，更换后才收到：无法证明签于更换之前")
            }
            Finding::OldState(remembered, counter) => {
                format!("设备只记得 {remembered} 次，计数器为 {counter}：存储卡可能被换回旧卡")
            }
            Finding::SetBack(has, sent) => format!("设备只有 {has} 份回执，而已收到 {sent} 份：可能被回滚"),
            Finding::EpochAhead(has, made) => {
                format!(
                    "设备已收到第 {has} 号撤销，而只作出 {made} 次：办公数据曾被回滚，或密钥已落入他人之手"
                )
            }
            Finding::Deputy => "用印时代理审批不在委托期内".into(),
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
            Finding::PhotoMissing(number) => {
                write!(f, "a photograph that receipt {number} names has not come")
            }
            Finding::PhotoCame(number) => {
                write!(f, "a photograph of receipt {number} that was missing has come")
            }
            Finding::Voided => f.write_str("the grant was over: the seal had forgotten what it had done"),
            Finding::Rekeyed => f.write_str("the key of the seal was changed"),
            Finding::EarlierKey(number) => write!(
                f,
                "receipt {number} is signed by a key that the seal had before, and came after the change: nothing shows that it was made before"
            ),
            Finding::OldState(remembered, counter) => write!(
                f,
                "the device remembers {remembered} uses and has counted {counter}: its card may be an old copy"
            ),
            Finding::SetBack(has, sent) => {
                write!(f, "the device has {has} receipts and has sent {sent}: it may have been set back")
            }
            Finding::EpochAhead(has, made) => write!(
                f,
                "the device has heard of revocation {has}, and {made} were made: the office was set back, or somebody else has the key"
            ),
            Finding::Deputy => {
                f.write_str("used when the deputy who approved it had no delegation that held")
            }
            Finding::Forged => f.write_str("the device has not signed it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Finding::PhotoMissing(1),
            Finding::PhotoCame(1),
            Finding::Voided,
            Finding::Rekeyed,
            Finding::EarlierKey(1),
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
