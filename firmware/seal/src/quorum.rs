//! How many people have approved a grant: themselves, or by a deputy.
//!
//! Each person who signs counts once, and each who is represented counts once: a person with two keys is one, a deputy of
//! two people is one, two deputies of one person are one. Who signs is there, so that nobody stands for them, and who may
//! approve stands for themselves. Of what is left, the most that fit together count (a matching of deputies and absent
//! people, by augmenting paths).

use alloc::vec::Vec;

use crate::delegation::Deputed;
use crate::envelope::Envelope;
use crate::trust::{Rule, Trust};

/// How many people have a part in a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quorum {
    /// Who have approved it, themselves or by a deputy.
    pub(crate) people: usize,
    /// Who have signed it, of those whom the rules name: some of them for nobody.
    pub(crate) signed: usize,
}

/// Who has approved what `applicant` asked for. `may_count`: which of the trust's delegations to look at.
pub(crate) fn quorum(
    trust: &Trust,
    rule: &Rule,
    applicant: &str,
    envelope: &Envelope<'_>,
    may_count: impl Fn(&Deputed) -> bool,
) -> Quorum {
    // The issuer approves nothing. Nor does anybody approve what they have asked for themselves.
    let has_signed = |at: usize| {
        let approver = &trust.approvers[at];
        approver.person != applicant
            && !trust.issuers.contains(&approver.key)
            && envelope.is_signed_by(&approver.key)
    };
    let (mut themselves, mut deputies): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for at in (0..trust.approvers.len()).filter(|&at| rule.names(at) && has_signed(at)) {
        add(&mut themselves, &trust.approvers[at].person);
    }
    if rule.may_be_delegated {
        for at in (0..trust.approvers.len()).filter(|&at| !rule.names(at) && has_signed(at)) {
            if !themselves.contains(&&*trust.approvers[at].person) {
                add(&mut deputies, &trust.approvers[at].person);
            }
        }
    }
    let is_absent =
        |person: &str| person != applicant && !themselves.contains(&person) && !deputies.contains(&person);
    let stands_for = |deputy: &&str| -> Vec<&str> {
        let given = trust.deputed.iter().filter(|deputed| deputed.delegation().to == **deputy);
        let given = given.filter(|deputed| deputed.counts(trust, rule) && may_count(deputed));
        given.map(|deputed| &*deputed.delegation().from).filter(|from| is_absent(from)).collect()
    };
    let stands_for: Vec<Vec<&str>> = deputies.iter().map(stands_for).collect();
    Quorum { people: themselves.len() + most(&stands_for), signed: themselves.len() + deputies.len() }
}

fn add<'p>(people: &mut Vec<&'p str>, person: &'p str) {
    if !people.contains(&person) {
        people.push(person);
    }
}

/// The most deputies who each stand for somebody else.
fn most(stands_for: &[Vec<&str>]) -> usize {
    let mut taken = Vec::new();
    (0..stands_for.len()).filter(|&deputy| finds(deputy, stands_for, &mut taken, &mut Vec::new())).count()
}

/// Finds somebody for whom a deputy stands, when those before can stand for somebody else. It goes as deep as there are
/// deputies, and an envelope has few signatures.
fn finds<'p>(
    deputy: usize,
    stands_for: &[Vec<&'p str>],
    taken: &mut Vec<(&'p str, usize)>,
    asked: &mut Vec<&'p str>,
) -> bool {
    for &person in &stands_for[deputy] {
        if asked.contains(&person) {
            continue;
        }
        asked.push(person);
        let Some(at) = taken.iter().position(|(other, _)| *other == person) else {
            taken.push((person, deputy));
            return true;
        };
        if finds(taken[at].1, stands_for, taken, asked) {
            taken[at].1 = deputy;
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tries everything.
    fn brute(stands_for: &[Vec<&str>], taken: &mut Vec<&'static str>, all: &[&'static str]) -> usize {
        let Some((first, rest)) = stands_for.split_first() else { return 0 };
        let mut most = brute(rest, taken, all);
        for &person in all.iter().filter(|person| first.contains(person)) {
            if !taken.contains(&person) {
                taken.push(person);
                most = most.max(1 + brute(rest, taken, all));
                taken.pop();
            }
        }
        most
    }

    proptest! {
        #[test]
        fn the_most_that_fit_together_count(
            pairs in prop::collection::vec((0..7_usize, 0..6_usize), 0..12),
        ) {
            const ALL: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
            let mut stands_for = alloc::vec![Vec::new(); 7];
            for (deputy, person) in pairs {
                stands_for[deputy].push(ALL[person]);
            }
            prop_assert_eq!(most(&stands_for), brute(&stands_for, &mut Vec::new(), &ALL));
        }
    }
}
