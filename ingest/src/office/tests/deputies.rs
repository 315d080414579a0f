//! Somebody who approves is away: stories of deputies.

use std::time::Duration;

use seal::refusal::Refusal;

use super::super::audit::Audit;
use super::super::*;
use super::village::*;
use crate::clock::now_ms;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deputy_approves_until_the_delegation_is_withdrawn() {
    for (mut village, mut seal) in Village::each().await {
        let hour_s = seconds(now_ms()) + 3600;
        for (to, number, until_s, why) in [
            ("teacher", TEACHER, hour_s, "signed by the deputy"),
            ("secretary", SECRETARY, hour_s, "to themselves"),
            ("stranger", SECRETARY, hour_s, "to whom the rules do not name"),
            ("teacher", SECRETARY, seconds(now_ms()), "over already"),
            ("teacher", SECRETARY, hour_s + 31 * 86_400, "for too long"),
        ] {
            let given = village.depute(to, number, until_s).await;
            assert!(matches!(given, Err(OfficeError::No(_))), "{why}");
        }
        let early = village.apply().await;
        let nobody = village.approve(&early, "teacher", TEACHER).await;
        assert!(matches!(nobody, Err(OfficeError::No(_))), "nobody's deputy");
        let delegation = village.depute("teacher", SECRETARY, hour_s).await.unwrap();
        assert!(!village.approve(&early, "teacher", TEACHER).await.unwrap(), "one of two");
        assert!(village.approve(&early, "clerk", CLERK).await.unwrap());
        let approvals = village.office.case(&early).await.unwrap().approvals;
        let shown: Vec<_> = approvals.iter().map(|one| (&*one.person, one.in_place_of.as_deref())).collect();
        assert_eq!(shown, [("teacher", Some("secretary")), ("clerk", None)]);
        village.contact(&mut seal).await;
        let (receipt, no) = seal.stamp(&early);
        assert_eq!(no, None);
        village.send(&receipt).await;
        village.settled().await;
        let found = village.office.impressions(&digest(&[&receipt])).await.unwrap();
        assert!(
            found[0].is_covered,
            "{:?}",
            found[0].bundle.check(&digest(&[&receipt]), &village.office.roots(SEAL))
        );
        let mut alone = found[0].bundle.clone();
        alone.delegations.clear();
        assert!(
            !alone.check(&digest(&[&receipt]), &village.office.roots(SEAL)).holds(),
            "it is counted by that"
        );
        assert_eq!(village.audit().remarks, []);

        // Who comes back and signs themself is one, however many stand for them.
        let again = village.apply().await;
        assert!(!village.approve(&again, "teacher", TEACHER).await.unwrap());
        assert!(!village.approve(&again, "secretary", SECRETARY).await.unwrap(), "the same one of two");
        assert!(village.approve(&again, "clerk", CLERK).await.unwrap());
        let late = village.apply().await;
        assert!(!village.approve(&late, "secretary", SECRETARY).await.unwrap());
        let useless = village.approve(&late, "teacher", TEACHER).await;
        assert!(matches!(useless, Err(OfficeError::No(_))), "the secretary is there");

        village.office.withdraw(&delegation, "secretary", "back at work", now_ms()).await.unwrap();
        let twice = village.office.withdraw(&delegation, "secretary", "back at work", now_ms()).await;
        assert!(matches!(twice, Err(OfficeError::No(_))));
        // It has not heard yet: what the lease allows, and it is told.
        let (late, no) = seal.stamp(&early);
        assert_eq!(no, None);
        village.send(&late).await;
        village.contact(&mut seal).await;
        let third = village.apply().await;
        let nobody = village.approve(&third, "teacher", TEACHER).await;
        assert!(matches!(nobody, Err(OfficeError::No(_))), "nobody's deputy any more");
        assert_eq!(village.words().await, ["after_revocation"]);
        let remarks = village.audit().remarks;
        assert!(
            remarks.len() == 1 && remarks[0].en.contains("after the grant was taken back"),
            "{remarks:?}"
        );
        let found = village.office.impressions(&digest(&[&late])).await.unwrap();
        assert!(!found[0].is_covered);
        let (_, no) = seal.stamp(&again);
        assert_eq!(no, None, "the two who may have signed it");
        let views = village.office.delegations(Some(SEAL), &[], "teacher").await.unwrap();
        assert!(
            views.len() == 1 && views[0].withdrawn_by.as_deref() == Some("secretary") && views[0].is_logged
        );

        // The issuer says it again with a later time: the first one counts.
        village.settled().await;
        let deed = Deed::Revoked { seal: SEAL.into(), grant: delegation, expires_s: hour_s, epoch: 9 };
        let second = village.office.notice(SEAL, "insider", deed, now_ms() + 3_000_000).unwrap();
        let (mut audit, tiles) = (Audit::new(village.office.roots(SEAL)), village.office.tiles());
        for leaf in (0..tiles.size()).map(|index| tiles.leaf(index).unwrap()) {
            if leaf == late {
                audit.take(&second.body);
            }
            audit.take(&leaf);
        }
        let found: Vec<&str> = audit.remarks.iter().map(|remark| &*remark.en).collect();
        assert!(
            found.len() == 2 && found[0].contains("taken back twice") && found[1].contains("after the grant"),
            "{found:?}"
        );

        // A seal remembers what was withdrawn, so that nobody may withdraw without end.
        for n in 1..9 {
            match village.depute("teacher", SECRETARY, hour_s).await {
                Ok(id) => village.office.withdraw(&id, "secretary", "again", now_ms()).await.unwrap(),
                Err(error) => assert!(n == 8 && matches!(error, OfficeError::No(_)), "{n}: {error}"),
            }
        }
        assert_eq!(village.office.delegations(Some(SEAL), &[], "teacher").await.unwrap().len(), 8);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deputy_has_approved_is_over_with_their_time() {
    for (mut village, mut seal) in Village::each().await {
        let soon_s = seconds(now_ms()) + 6;
        let delegation = village.depute("teacher", SECRETARY, soon_s).await.unwrap();
        let grant = village.apply().await;
        assert!(!village.approve(&grant, "clerk", CLERK).await.unwrap());
        assert!(village.approve(&grant, "teacher", TEACHER).await.unwrap());
        // A second one is approved by the deputy first, and too late by the clerk.
        let open = village.apply().await;
        assert!(!village.approve(&open, "teacher", TEACHER).await.unwrap());
        village.contact(&mut seal).await;
        while seconds(now_ms()) < soon_s {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (receipt, no) = seal.stamp(&grant);
        assert_eq!(no, Some(Refusal::Deputy));
        village.send(&receipt).await;
        assert!(!village.approve(&open, "clerk", CLERK).await.unwrap(), "the deputy counts no more");
        assert!(village.approve(&open, "secretary", SECRETARY).await.unwrap());
        let over = village.office.withdraw(&delegation, "secretary", "over", now_ms()).await;
        assert!(matches!(over, Err(OfficeError::No(_))));
        // A device that stamps all the same is found out by anybody.
        seal.trust.as_mut().unwrap().rules[0].needed = 1;
        let (forbidden, no) = seal.stamp(&grant);
        assert_eq!(no, None);
        village.send(&forbidden).await;
        assert_eq!(village.words().await, ["deputy"]);
        let remarks = village.audit().remarks;
        assert!(remarks.len() == 1 && remarks[0].en.contains("deputy"), "{remarks:?}");
        let found = village.office.impressions(&digest(&[&forbidden])).await.unwrap();
        assert!(!found[0].is_covered);
    }
}
