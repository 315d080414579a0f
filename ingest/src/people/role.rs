//! Who may do what, and where. Pure: the one place that decides it.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::{Area, NameError};

use super::account::{Account, State};

/// What a person is in some part of the city.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Applies for stamps.
    Applicant,
    /// Approves with a key of their own.
    Approver,
    /// Sees everything that is kept about seals, and changes nothing.
    Auditor,
    /// Watches over seals day by day.
    Operator,
    /// Puts seals up.
    Installer,
    /// Manages accounts and proposes policy; has no part in a stamp.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 6] =
        [Role::Applicant, Role::Approver, Role::Auditor, Role::Operator, Role::Installer, Role::Admin];

    /// Its word, in SQL and in the API.
    pub fn word(self) -> &'static str {
        match self {
            Role::Applicant => "applicant",
            Role::Approver => "approver",
            Role::Auditor => "auditor",
            Role::Operator => "operator",
            Role::Installer => "installer",
            Role::Admin => "admin",
        }
    }

    /// The role of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    fn may(self, action: Action) -> bool {
        action.roles().contains(&self)
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Apply for stamps, and see and cancel one's own applications.
    Apply,
    /// Approve or refuse an application.
    Approve,
    /// See the applications of others.
    SeeApplications,
    /// See and export the audit: grants, receipts, refusals, who did what.
    SeeAudit,
    /// See seals and how they are.
    SeeSeals,
    /// Bring a seal into service or take it out, and change its keys.
    EnrolSeal,
    /// Lock a seal from afar. Always safe, so whoever stands near a seal may.
    LockSeal,
    /// Unlock a seal again, and clear tampering after somebody has looked.
    ClearSeal,
    /// Revoke a grant.
    RevokeGrant,
    /// Withdraw what somebody else has delegated: always safe.
    WithdrawDelegation,
    /// Propose a change of policy: which matters, how many approvers. Approvers decide.
    ProposePolicy,
    /// Create accounts, disable them, change their roles, reset passwords.
    ManageAccounts,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 12] = [
        Action::Apply,
        Action::Approve,
        Action::SeeApplications,
        Action::SeeAudit,
        Action::SeeSeals,
        Action::EnrolSeal,
        Action::LockSeal,
        Action::ClearSeal,
        Action::RevokeGrant,
        Action::WithdrawDelegation,
        Action::ProposePolicy,
        Action::ManageAccounts,
    ];

    /// The roles that may. Whoever installs a seal does not clear its tampering, and whoever manages accounts neither
    /// applies nor approves: no single role carries a stamp from beginning to end.
    pub fn roles(self) -> &'static [Role] {
        use Role::{Admin, Applicant, Approver, Auditor, Installer, Operator};
        match self {
            Action::Apply => &[Applicant],
            Action::Approve => &[Approver],
            Action::SeeApplications => &[Approver, Auditor, Operator],
            Action::SeeAudit => &[Auditor, Admin],
            Action::SeeSeals => &Role::ALL,
            Action::EnrolSeal => &[Installer],
            Action::LockSeal => &[Approver, Operator, Installer],
            Action::ClearSeal => &[Operator],
            Action::RevokeGrant => &[Approver, Operator],
            Action::WithdrawDelegation | Action::ProposePolicy | Action::ManageAccounts => &[Admin],
        }
    }

    /// What it is, after "may".
    pub fn en(self) -> &'static str {
        match self {
            Action::Apply => "apply for stamps",
            Action::Approve => "approve applications",
            Action::SeeApplications => "see the applications of others",
            Action::SeeAudit => "see the audit",
            Action::SeeSeals => "see seals",
            Action::EnrolSeal => "enrol seals",
            Action::LockSeal => "lock seals",
            Action::ClearSeal => "unlock seals or clear their tampering",
            Action::RevokeGrant => "revoke grants",
            Action::WithdrawDelegation => "withdraw what others have delegated",
            Action::ProposePolicy => "propose policy",
            Action::ManageAccounts => "manage accounts",
        }
    }

    /// The same in Chinese.
    pub fn zh(self) -> &'static str {
        match self {
            Action::Apply => "申请用印",
            Action::Approve => "审批申请",
            Action::SeeApplications => "查看他人的申请",
            Action::SeeAudit => "查看审计记录",
            Action::SeeSeals => "查看印章",
            Action::EnrolSeal => "登记印章",
            Action::LockSeal => "锁定印章",
            Action::ClearSeal => "解锁印章或清除拆动报警",
            Action::RevokeGrant => "撤销授权",
            Action::WithdrawDelegation => "撤回他人的委托",
            Action::ProposePolicy => "提议策略",
            Action::ManageAccounts => "管理账户",
        }
    }
}

/// Where a role holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everywhere, and for what has no known area; written `*`.
    City,
    /// In an area and everything below it. Never the unknown area.
    Below(Area),
}

impl Scope {
    /// Reads `*` or an area.
    ///
    /// # Errors
    /// [`NameError`]; the empty text is refused, because an unknown area would be nowhere.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let refused = |error: NameError| NameError {
            what: "scope",
            rule: "* for the whole city, or an area such as chengdu/qingyang",
            ..error
        };
        match text {
            "*" => Ok(Self::City),
            "" => Err(refused(NameError { what: "scope", given: String::new(), rule: "" })),
            area => Area::new(area).map(Self::Below).map_err(refused),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::City => "*",
            Self::Below(area) => area.as_str(),
        }
    }

    /// Whether `area` lies in it, compared level by level: `a/b` does not cover `a/bc`.
    pub fn covers(&self, area: &Area) -> bool {
        match self {
            Self::City => true,
            Self::Below(top) => area
                .as_str()
                .strip_prefix(top.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// Whether all of `other` lies in it.
    pub fn covers_all(&self, other: &Scope) -> bool {
        match other {
            Self::City => *self == Self::City,
            Self::Below(area) => self.covers(area),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// A role and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// The role.
    pub role: Role,
    /// Where: `*` for the whole city, or an area, which includes all below it.
    #[schema(value_type = String, example = "chengdu/qingyang")]
    pub area: Scope,
}

/// Whether an account may do something in an area.
pub fn may(account: &Account, action: Action, area: &Area) -> bool {
    holds(account, |duty| duty.role.may(action) && duty.area.covers(area))
}

/// Where an account may do something.
pub fn scopes(account: &Account, action: Action) -> Vec<Scope> {
    let may = |duty: &&Duty| account.state == State::Active && duty.role.may(action);
    account.roles.iter().filter(may).map(|duty| duty.area.clone()).collect()
}

/// Whether an account may give a role in `scope` to somebody else, or take it away: it manages accounts in all of it.
pub fn may_assign(account: &Account, scope: &Scope) -> bool {
    holds(account, |duty| duty.role.may(Action::ManageAccounts) && duty.area.covers_all(scope))
}

/// Whether an account may disable another one or reset its password. It must manage every role of the other: else a
/// street's admin could become the city's by taking over a common member. One without roles belongs to the city.
pub fn may_manage(account: &Account, other: &Account) -> bool {
    if other.roles.is_empty() {
        return may_assign(account, &Scope::City);
    }
    other.roles.iter().all(|duty| may_assign(account, &duty.area))
}

fn holds(account: &Account, fits: impl Fn(&Duty) -> bool) -> bool {
    account.state == State::Active && account.roles.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::testing::{account, area};

    /// One line for each action, one letter for each role: applicant, approver, auditor, operator, installer, admin.
    const TABLE: [(Action, &str); 12] = [
        (Action::Apply, "x....."),
        (Action::Approve, ".x...."),
        (Action::SeeApplications, ".xxx.."),
        (Action::SeeAudit, "..x..x"),
        (Action::SeeSeals, "xxxxxx"),
        (Action::EnrolSeal, "....x."),
        (Action::LockSeal, ".x.xx."),
        (Action::ClearSeal, "...x.."),
        (Action::RevokeGrant, ".x.x.."),
        (Action::WithdrawDelegation, ".....x"),
        (Action::ProposePolicy, ".....x"),
        (Action::ManageAccounts, ".....x"),
    ];

    #[test]
    fn each_role_may_what_the_table_says_in_its_area_only() {
        assert_eq!(TABLE.map(|(action, _)| action), Action::ALL);
        for (action, line) in TABLE {
            for (role, letter) in Role::ALL.into_iter().zip(line.chars()) {
                let who = account("li", &[(role, "chengdu/qingyang")]);
                let says = |place: &str| may(&who, action, &area(place));
                assert_eq!(says("chengdu/qingyang/caotang"), letter == 'x', "{role:?} {action:?}");
                assert!(!says("chengdu"), "{role:?} {action:?} above");
                assert!(!says("chengdu/jinjiang"), "{role:?} {action:?} beside");
                let place =
                    if letter == 'x' { vec![Scope::new("chengdu/qingyang").unwrap()] } else { vec![] };
                assert_eq!(scopes(&who, action), place, "{role:?} {action:?} as a list");
                let gone = Account { state: State::Disabled, ..who };
                assert!(scopes(&gone, action).is_empty(), "{role:?} {action:?} disabled, as a list");
                assert!(!may(&gone, action, &area("chengdu/qingyang")), "{role:?} {action:?} disabled");
            }
        }
    }

    #[test]
    fn a_scope_covers_whole_levels() {
        for (scope, place, covered) in [
            ("chengdu", "chengdu", true),
            ("chengdu", "chengdu/qingyang/caotang/c1", true),
            ("chengdu/qing", "chengdu/qingyang", false),
            ("chengdu/qingyang", "chengdu/qing", false),
            ("chengdu/qingyang", "chengdu", false),
            ("chengdu", "", false),
            ("*", "", true),
            ("*", "mianyang", true),
        ] {
            assert_eq!(Scope::new(scope).unwrap().covers(&area(place)), covered, "{scope} {place}");
        }
        for wrong in ["", "/", "Chengdu", "a/b/c/d/e", "**", "a/*"] {
            assert!(Scope::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn roles_are_given_from_above_only() {
        for (admin_of, scope, given) in [
            ("*", "*", true),
            ("*", "chengdu", true),
            ("chengdu", "*", false),
            ("chengdu/qingyang", "chengdu/qingyang/caotang", true),
            ("chengdu/qingyang", "chengdu/qingyang", true),
            ("chengdu/qingyang", "chengdu", false),
            ("chengdu/qingyang", "chengdu/jinjiang", false),
        ] {
            let admin = account("li", &[(Role::Admin, admin_of)]);
            assert_eq!(may_assign(&admin, &Scope::new(scope).unwrap()), given, "{admin_of} {scope}");
        }
        let others = [Role::Applicant, Role::Approver, Role::Auditor, Role::Operator, Role::Installer];
        let busy = account("li", &others.map(|role| (role, "*")));
        assert!(!may_assign(&busy, &Scope::new("chengdu").unwrap()));
    }

    #[test]
    fn who_manages_a_person_manages_all_their_roles() {
        let street = account("li", &[(Role::Admin, "chengdu/qingyang/caotang")]);
        let city = account("wang", &[(Role::Admin, "*")]);
        let inside = (Role::Applicant, "chengdu/qingyang/caotang/c1");
        for (roles, managed) in [
            (&[inside][..], true),
            (&[inside, (Role::Auditor, "chengdu/qingyang")], false),
            (&[inside, (Role::Admin, "*")], false),
            (&[], false),
        ] {
            let other = account("zhao", roles);
            assert_eq!(may_manage(&street, &other), managed, "{roles:?}");
            assert!(may_manage(&city, &other), "{roles:?}");
        }
    }
}
