//! Why a seal does not move.

use minicbor::{Decode, Encode};

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $code:literal $name:ident $word:literal $chinese:literal $english:literal;)+) => {
        /// A reason. Its number stands in receipts and never changes; new ones come at the end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Refusal {
            $($(#[doc = $doc])+ #[n($code)] $name,)+
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name),+];

            /// One word, for records and programs.
            pub fn as_str(self) -> &'static str {
                match self { $(Refusal::$name => $word),+ }
            }

            /// What to tell the person at the seal, in Chinese and in English.
            pub fn sentences(self) -> (&'static str, &'static str) {
                match self { $(Refusal::$name => ($chinese, $english)),+ }
            }
        }
    };
}

refusals! {
    /// More bytes than a grant with its proof may have.
    1 TooLarge "too_large" "授权文件过大，请重新获取。" "The grant is too large. Fetch it again.";
    /// Not a grant, or not in its one form.
    2 Malformed "malformed" "授权文件损坏，请重新获取。" "The grant is damaged. Fetch it again.";
    /// A version this device does not know.
    3 Version "version" "授权版本过新，请升级设备。" "The grant is of a newer version. Update this device.";
    /// A value that no grant may have.
    4 Impossible "impossible" "授权内容自相矛盾，请联系签发机关。" "The grant contradicts itself. Ask the issuer.";
    /// The issuer has not signed it.
    5 Issuer "issuer" "签发机关签名无效。" "The issuer's signature is missing or wrong.";
    /// It goes by other rules than this device has.
    6 Policy "policy" "授权所依据的规则与本设备不一致，请同步设备。" "The grant goes by other rules than this device has. Let it synchronise.";
    /// Nobody may have this matter stamped with this seal.
    7 Matter "matter" "该事项不在权力清单内。" "This matter is not on the list of powers.";
    /// Too few approvers have signed it.
    8 Approvals "approvals" "审批人签名不足。" "Too few approvers have signed.";
    /// The proof that it was logged is not one.
    9 Proof "proof" "公开日志证明无效，请重新获取。" "The proof that it was logged is wrong. Fetch it again.";
    /// Too few witnesses have seen the log with it.
    10 Witnesses "witnesses" "见证机构签名不足，请稍后重新获取。" "Too few witnesses have seen it. Fetch it again in a moment.";
    /// For another seal.
    11 OtherSeal "other_seal" "该授权属于另一枚印章。" "This grant is for another seal.";
    /// The device is locked.
    12 Locked "locked" "设备已锁定，请联系管理员。" "This device is locked. Call the administrator.";
    /// The issuer has revoked it.
    13 Revoked "revoked" "该授权已被撤销。" "This grant has been revoked.";
    /// The device has not heard of all revocations that the issuer knew of.
    14 Epoch "epoch" "设备须先联网同步撤销名单。" "Connect this device first: it has not heard the newest revocations.";
    /// Too long without contact, or nobody knows how long.
    15 LeaseHours "lease_hours" "设备离线时间过长，请先联网。" "This device has been without contact for too long. Connect it first.";
    /// Too many uses without contact.
    16 LeaseStamps "lease_stamps" "离线用印次数已满，请先联网。" "As many stamps as may be made without contact have been made. Connect it first.";
    /// Not valid yet.
    17 TooEarly "too_early" "授权尚未生效。" "This grant is not valid yet.";
    /// Not valid any more.
    18 Expired "expired" "授权已过期。" "This grant has expired.";
    /// The device does not know the time, and the grant does not answer its own question.
    19 TimeUnknown "time_unknown" "设备时间未知，请先联网对时。" "This device does not know the time. Connect it first.";
    /// It answers a question that this device has not asked.
    20 Nonce "nonce" "授权与本设备的请求不符，请重新获取。" "This grant answers another request. Fetch it again.";
    /// Where the device is, nobody knows, or not well enough.
    21 PlaceUnknown "place_unknown" "设备位置未知，请移至开阔处。" "The place is not known well enough. Move into the open.";
    /// Outside of where it may be used.
    22 Elsewhere "elsewhere" "不在授权的用印地点。" "This is not where the grant may be used.";
    /// A grant with this number was here before and has no uses left, or nobody can tell any more.
    23 Replayed "replayed" "该授权已用完或已失效，请重新申请。" "This grant is used up, or over. Apply for another.";
    /// It says something else than when it was here before.
    24 Changed "changed" "该授权与先前的内容不一致。" "This grant was here before and said something else.";
    /// More grants lie open than the device can remember.
    25 TooManyOpen "too_many_open" "未用完的授权过多，请先用完或撤销。" "Too many grants lie open. Use or cancel some first.";
    /// As often used as granted.
    26 UsedUp "used_up" "授权次数已用完。" "This grant is used up.";
    /// The person has not shown who they are.
    27 Person "person" "请先验证身份。" "Show first who you are.";
    /// The use before this one has not ended.
    28 Busy "busy" "上一次用印尚未结束。" "The last use has not ended yet.";
    /// The picture that has to be taken before could not be.
    29 Photograph "photograph" "无法拍照，未用印。" "No photograph could be taken. Nothing was stamped.";
    /// What has to be remembered could not be.
    30 Journal "journal" "设备存储故障，未用印。" "This device could not write its journal. Nothing was stamped.";
    /// Somebody has touched what nobody may.
    31 Tampered "tampered" "检测到拆动，设备已锁定。" "Somebody has tampered with it: this device is locked.";
    /// The rule for this matter allows less than the grant.
    32 BeyondRule "beyond_rule" "授权超出该事项的规定。" "The grant goes beyond the rule for this matter.";
    /// The device's counter shows another number than it remembers: an old card, or another device's.
    33 RolledBack "rolled_back" "设备存储与计数器不符，请先联网核对。" "This device remembers another number than it has counted. Connect it first.";
    /// More grants are revoked than the device can remember.
    34 ListFull "list_full" "撤销名单已满，请联系管理员。" "The list of revocations is full. Call the administrator.";
    /// Enough have signed it, and not all of them for somebody: a delegation is over, has not begun, was withdrawn, or is not
    /// here; or the time is not known.
    35 Deputy "deputy" "代理审批无有效委托：尚未开始、已到期、已撤回或尚未送达本设备。" "A deputy has approved it, and no delegation for that holds here now.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_word_and_number_in_both_languages() {
        for (at, refusal) in Refusal::ALL.iter().enumerate() {
            assert!(Refusal::ALL[..at].iter().all(|other| other.as_str() != refusal.as_str()));
            assert_eq!(minicbor::to_vec(refusal).unwrap().len(), if at < 23 { 1 } else { 2 });
            let bytes = minicbor::to_vec(refusal).unwrap();
            assert_eq!(minicbor::decode::<u8>(&bytes).unwrap() as usize, at + 1);
            assert_eq!(minicbor::decode::<Refusal>(&bytes).unwrap(), *refusal);
            let (chinese, english) = refusal.sentences();
            assert!(chinese.ends_with('。') && english.ends_with('.') && english.is_ascii());
        }
    }
}
