//! What seals have sent: receipts and hellos, in the order of the engine's log.

use seal::delegation::MAX_HELD;
use seal::envelope::{Envelope, Kind};
use seal::keys::digest;
use seal::notice::Deed;
use seal::receipt::{Outcome, Receipt};
use seal::talk::Hello;

use super::answer::{FRESH_S, Heard, Reply, reply};
use super::book::{Book, MOST_AHEAD};
use super::finding::Finding;
use super::sql::{self, ReceiptRow, Sent};
use super::{HANDED, Office, OfficeError, leaf_of, policy_of, seconds};
use crate::clock::now_ms;

/// Most that is taken out of the inbox at once.
const BATCH: i64 = 64;
/// How often a letter is tried: a database that is away for a moment comes back meanwhile.
const TRIES: u32 = 5;
/// What no seal has signed is told once in so many milliseconds for each seal, or gateway: a flood of it must hide nothing else.
const QUIET_MS: i64 = 3_600_000;
/// Most revocations by which a hello moves the office forward: more than it makes between two copies of its database.
const MOST_EPOCHS: u32 = 1_000;

/// The word for an outcome.
pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Stamped => "stamped",
        Outcome::PressedAgain => "pressed_again",
        Outcome::NotPressed => "not_pressed",
        Outcome::Tampered => "tampered",
        Outcome::Unknown => "unknown",
        Outcome::Refused => "refused",
        Outcome::NotClosed => "not_closed",
    }
}

impl Office {
    /// Takes what lies in the inbox; how much it was.
    pub(super) async fn sort_mail(&self) -> Result<usize, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let sent = sql::inbox(&mut desk.connection, BATCH).await?;
        drop(desk);
        for sent in &sent {
            if let Err(error) = self.take(sent).await {
                let mut desk = self.shared.desk.lock().await;
                desk.stuck = (sent.number, if desk.stuck.0 == sent.number { desk.stuck.1 + 1 } else { 1 });
                let is_hopeless = desk.stuck.1 >= TRIES;
                drop(desk);
                // One letter must not keep all others from being read.
                if !is_hopeless {
                    return Err(error);
                }
                tracing::error!(%error, number = sent.number, "来件无法处理，已另存 a letter cannot be taken: it is put aside");
                self.take_strange(sent, "").await?;
            }
        }
        Ok(sent.len())
    }

    async fn take(&self, sent: &Sent) -> Result<(), OfficeError> {
        match Envelope::kind_of(&sent.envelope) {
            Some(Kind::Receipt) => self.take_receipt(sent).await,
            Some(Kind::Hello) => self.take_hello(sent).await,
            _ => self.take_strange(sent, "").await,
        }
    }

    async fn take_receipt(&self, sent: &Sent) -> Result<(), OfficeError> {
        let envelope = Envelope::read(Kind::Receipt, &sent.envelope).ok();
        let read = envelope.as_ref().and_then(|envelope| Receipt::read(envelope.payload));
        let (Some(envelope), Some(receipt)) = (envelope, read) else {
            return self.take_strange(sent, "").await;
        };
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let book = sql::book(&mut transaction, &receipt.seal).await?;
        let leaf = leaf_of("receipt", &receipt.seal, sent.envelope.clone(), sent.received_ms);
        let mut earlier = None;
        if book.as_ref().is_some_and(|book| !envelope.is_signed_by(&book.key)) {
            let all = sql::earlier_keys(&mut transaction, &receipt.seal).await?;
            earlier = all.into_iter().find(|earlier| envelope.is_signed_by(&earlier.key));
        }
        let signer = earlier.as_ref().map(|earlier| earlier.key).or(book.as_ref().map(|book| book.key));
        let twin = match &signer {
            Some(signer) => {
                let (seal, number) = (&receipt.seal, receipt.number);
                sql::has_twin(&mut transaction, seal, number, &leaf.digest, signer).await?
            }
            None => false,
        };
        let can_say = |book: &Book| match &earlier {
            Some(earlier) => earlier.can_say(&receipt, twin),
            None => envelope.is_signed_by(&book.key),
        };
        let Some(mut book) = book.filter(can_say) else {
            drop(transaction);
            drop(desk);
            return self.take_strange(sent, &receipt.seal).await;
        };
        let mut found = Vec::new();
        // A frame that came twice changes nothing.
        if sql::add_leaf(&mut transaction, &leaf).await? {
            let used = receipt.used;
            let mut granted = match used.filter(|used| used.number > 0) {
                Some(used) => sql::granted(&mut transaction, &used.grant).await?,
                None => None,
            };
            if let Some(earlier) = &mut earlier {
                found = book.take_late(earlier, &receipt, leaf.digest, granted.as_mut());
                sql::put_earlier_key(&mut transaction, &receipt.seal, earlier).await?;
            } else {
                found = book.take(&receipt, leaf.digest, granted.as_mut(), twin);
                book.heard_ms = book.heard_ms.max(sent.received_ms);
                sql::put_book(&mut transaction, &book).await?;
            }
            if let (Some(used), Some(granted)) = (used, granted) {
                sql::used(&mut transaction, &used.grant, granted.used).await?;
            }
            let row = ReceiptRow {
                digest: leaf.digest,
                seal: receipt.seal.clone(),
                number: receipt.number,
                grant: used.map(|used| used.grant),
                use_number: used.map_or(0, |used| used.number),
                outcome: outcome_word(receipt.outcome).into(),
                refusal: receipt.refusal.map(|why| why.as_str().to_owned()),
                at_s: receipt.scene.at_s,
                received_ms: sent.received_ms,
                before: receipt.before,
                after: receipt.after,
                signer,
            };
            sql::add_receipt(&mut transaction, &row).await?;
            self.wait_for_pictures(&mut transaction, &row).await?;
            if let Some(used) = used.filter(|used| used.number > 0) {
                let at_s = receipt.scene.at_s;
                found.extend(Self::lapse(&mut transaction, &receipt.seal, &used.grant, at_s).await?);
            }
            for finding in &found {
                sql::add_finding(&mut transaction, &receipt.seal, finding, &leaf.digest, sent.received_ms)
                    .await?;
            }
        }
        sql::done(&mut transaction, sent.number).await?;
        transaction.commit().await?;
        drop(desk);
        self.publish(&serde_json::json!({
            "seal": receipt.seal, "what": "receipt", "at_ms": sent.received_ms,
        }));
        Self::tell_findings(&receipt.seal, &found, sent.received_ms);
        Ok(())
    }

    async fn take_hello(&self, sent: &Sent) -> Result<(), OfficeError> {
        let envelope = Envelope::read(Kind::Hello, &sent.envelope).ok();
        let named = envelope.and_then(|envelope| Hello::read(envelope.payload)).map(|hello| hello.seal);
        let Some(name) = named else { return self.take_strange(sent, "").await };
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let book = sql::book(&mut transaction, &name).await?;
        let opened = book.and_then(|book| Some((Hello::open(&sent.envelope, &book.key)?, book)));
        let Some((hello, mut book)) = opened else {
            let all = sql::earlier_keys(&mut transaction, &name).await?;
            if all.iter().any(|earlier| Hello::open(&sent.envelope, &earlier.key).is_some()) {
                // Nobody answers it, so that it stops when its lease ends.
                let gateway = &sent.gateway;
                tracing::warn!(
                    seal = name,
                    gateway,
                    "被更换的设备仍在联系 a device that was replaced says hello"
                );
                sql::done(&mut transaction, sent.number).await?;
                return Ok(transaction.commit().await?);
            }
            drop(transaction);
            drop(desk);
            return self.take_strange(sent, &name).await;
        };
        let now_s = seconds(now_ms());
        let revoked = sql::revoked(&mut transaction, &name, hello.epoch, now_s).await?;
        let evidence = digest(&[&sent.envelope]);
        // Twice what is fresh: what is forgotten here is stale by then.
        let forget_ms = sent.received_ms - 2 * 1000 * FRESH_S as i64;
        let is_new = sql::add_hello(&mut transaction, &evidence, sent.received_ms, forget_ms).await?;
        let heard = reply(&hello, &book, &revoked, seconds(sent.received_ms), now_s);
        let reply = match heard {
            Heard::Answered(reply) if is_new => reply,
            Heard::Answered(_) | Heard::Stale => {
                tracing::debug!(seal = name, "a hello that counts no more");
                sql::done(&mut transaction, sent.number).await?;
                return Ok(transaction.commit().await?);
            }
        };
        let Reply { answer, found, voids, again } = reply;
        for finding in &found {
            sql::add_finding(&mut transaction, &name, finding, &evidence, sent.received_ms).await?;
        }
        book.doubted = again.then_some(hello.nonce);
        if (1..=MOST_AHEAD).contains(&hello.receipts.saturating_sub(book.receipts)) {
            (book.receipts, book.last_receipt) = (hello.receipts, hello.last_receipt);
        }
        if hello.receipts >= book.receipts {
            book.began = 0;
        }
        // An office that was set back to a copy of its database catches up; who has the key must not end its numbers.
        book.epoch = book.epoch.max(hello.epoch.min(book.epoch.saturating_add(MOST_EPOCHS)));
        book.duress = book.duress.max(hello.duress);
        if voids {
            book.min_sequence = answer.contact.min_sequence;
            sql::void(&mut transaction, &name, book.min_sequence).await?;
            let deed = Deed::Voided { seal: name.clone(), min_sequence: book.min_sequence };
            let notice = self.notice(&name, "office", deed, sent.received_ms)?;
            sql::add_leaf(&mut transaction, &notice).await?;
        }
        book.heard_ms = book.heard_ms.max(sent.received_ms);
        book.tampered = book.tampered.max(hello.tampered);
        sql::put_book(&mut transaction, &book).await?;
        sql::done(&mut transaction, sent.number).await?;
        transaction.commit().await?;
        let handed = self.to_hand(&mut desk.connection, &hello, &book, now_s).await?;
        drop(desk);
        let payload = answer.to_bytes();
        let signed =
            Envelope::sign(Kind::Answer, &payload, &[&self.shared.issuer]).ok_or(OfficeError::Key)?;
        // Rules first: they may name another issuer than the seal knows. Grants last: they may need a delegation.
        let [rules, papers] = handed;
        let ask = again.then(Vec::new);
        for bytes in rules.into_iter().chain([signed.to_bytes()]).chain(papers).chain(ask) {
            if !(self.shared.downlink)(&book.gateway, bytes) {
                tracing::debug!(seal = name, "the seal is not connected: it asks again");
                break;
            }
        }
        Self::tell_findings(&name, &found, sent.received_ms);
        Ok(())
    }

    /// Rules that a seal does not have; and delegations, then grants.
    async fn to_hand(
        &self,
        connection: &mut sqlx::AnyConnection,
        hello: &Hello,
        book: &Book,
        now_s: u64,
    ) -> Result<[Vec<Vec<u8>>; 2], OfficeError> {
        let mut handed = [Vec::new(), Vec::new()];
        if hello.policy < book.policy
            && let Some(leaf) = sql::policy(connection, &book.seal).await?
        {
            handed[0].extend(self.presented(&leaf)?);
        }
        // Those of next week too: it may be away from the network then.
        for row in sql::delegations_between(connection, &book.seal, [now_s, u64::MAX], now_s).await? {
            if !hello.held.contains(&row.id) && handed[1].len() < MAX_HELD {
                handed[1].extend(self.presented(&row.leaf)?);
            }
        }
        let most = handed[1].len() + HANDED as usize;
        let limit = HANDED + hello.held.len() as i64;
        for (grant, leaf) in sql::usable(connection, book, now_s, limit).await? {
            if !hello.held.contains(&grant) && handed[1].len() < most {
                handed[1].extend(self.presented(&leaf)?);
            }
        }
        Ok(handed)
    }

    /// Keeps what nobody has signed whom it names, and tells of it.
    async fn take_strange(&self, sent: &Sent, seal: &str) -> Result<(), OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let evidence = digest(&[&sent.envelope]);
        // Names that no seal has would be as many as somebody likes: the gateway stands for them.
        let is_known = sql::book(&mut transaction, seal).await?.is_some();
        let seal = if is_known { seal } else { &sent.gateway };
        sql::add_strange(&mut transaction, sent).await?;
        let is_news =
            !sql::is_told(&mut transaction, seal, &Finding::Forged, sent.received_ms - QUIET_MS).await?;
        if is_news {
            let shown = super::hex(&evidence[..]);
            tracing::warn!(
                gateway = sent.gateway,
                seal,
                evidence = shown,
                "收到无法验证的印章消息 something that no seal has signed"
            );
            sql::add_finding(&mut transaction, seal, &Finding::Forged, &evidence, sent.received_ms).await?;
        }
        sql::done(&mut transaction, sent.number).await?;
        Ok(transaction.commit().await?)
    }

    pub(super) fn tell_findings(seal: &str, found: &[Finding], at_ms: i64) {
        // Not on the stream: anybody may listen there, also who makes somebody stamp.
        for finding in found {
            tracing::warn!(seal, at_ms, finding = %finding, "{}", finding.zh());
        }
    }

    /// The rules of a seal as they are now.
    pub(super) async fn policy(
        connection: &mut sqlx::AnyConnection,
        seal: &str,
    ) -> Result<Option<seal::policy::Policy>, OfficeError> {
        Ok(sql::policy(connection, seal).await?.as_ref().and_then(policy_of))
    }
}
