//! Stories of passkeys, told on every database there is.

use serde_json::Value;

use super::factor::FRESH_MS;
use super::passkey::{ANSWER_MS, PasskeyId, Refused};
use super::testing::authenticator::Authenticator;
use super::tests::{City, FIRST, HERE, MINUTE, login, own, told_at};
use super::*;

const ORIGIN: &str = "https://seals.example";

/// li approves; wang does too.
async fn told(story: impl AsyncFn(City)) {
    told_at(Some(Site::new(ORIGIN).unwrap()), story).await;
}

impl City {
    /// A session that is open.
    async fn is(&self, token: &Token, now_ms: i64) -> Session {
        self.who(token, now_ms).await.unwrap()
    }

    async fn approver(&self, name: &str) -> Token {
        self.with(name, &[(Role::Approver, "chengdu")]).await
    }

    async fn register(
        &self,
        token: &Token,
        passkey: &Authenticator,
        now_ms: i64,
    ) -> Result<account::Passkey, PeopleError> {
        let session = self.is(token, now_ms).await;
        let name = session.account.name.as_str();
        let password = Password::new(&if name == "root" { FIRST.to_owned() } else { own(name) });
        let options = self.people.ask_passkey(&session, password, now_ms).await?;
        self.people.add_passkey(&session, "手机".into(), passkey.create(&options), now_ms).await
    }

    /// A session of the first admin, who holds a passkey.
    async fn admin(&self) -> Session {
        let token = self.enter("root", FIRST, 0).await.unwrap();
        self.register(&token, &Authenticator::new(9, ORIGIN), 0).await.unwrap();
        self.is(&token, 0).await
    }

    /// Gives the password, and is asked for a passkey.
    async fn asked(&self, name: &str, now_ms: i64) -> (Token, Value) {
        match self.people.enter(name, Password::new(&own(name)), HERE, now_ms).await.unwrap() {
            Entered::Asked { attempt, options } => (attempt, options),
            Entered::In(..) => panic!("{name} came in by password alone"),
        }
    }

    async fn show(&self, attempt: &Token, answer: Value, now_ms: i64) -> Result<Token, PeopleError> {
        let entered = self.people.enter_with_passkey(attempt, answer, HERE, now_ms).await;
        entered.map(|(token, _)| token)
    }

    async fn enter_with(&self, name: &str, passkey: &mut Authenticator, now_ms: i64) -> Token {
        let (attempt, options) = self.asked(name, now_ms).await;
        self.show(&attempt, passkey.get(&options), now_ms).await.unwrap()
    }
}

#[tokio::test]
async fn who_holds_a_passkey_comes_in_with_password_and_passkey() {
    told(async |city| {
        let (token, mut passkey) = (city.approver("li").await, Authenticator::new(1, ORIGIN));
        let other = city.enter("li", &own("li"), 0).await.unwrap();
        let session = city.is(&token, 0).await;
        assert!(matches!(city.people.must_have_shown(&session), Err(PeopleError::PasskeyNeeded)));
        let registered = city.register(&token, &passkey, 1).await.unwrap();
        let session = city.is(&token, 2).await;
        assert_eq!((&session.account.passkeys, session.passkey_ms), (&vec![registered.clone()], Some(1)));
        city.people.must_have_shown(&session).unwrap();
        assert!(city.who(&other, 2).await.is_none(), "sessions without it end");

        let token = city.enter_with("li", &mut passkey, 3).await;
        let again = People::open(&city.url, Cost::Least, None).await.unwrap();
        let session = again.who(&token, 4).await.unwrap().unwrap();
        assert_eq!((session.passkey_ms, session.account.passkeys[0].used_ms), (Some(3), Some(3)));
        let off = again.enter("li", Password::new(&own("li")), HERE, 5).await;
        assert!(matches!(off, Err(PeopleError::PasskeysOff)), "switched off, it is no way around: {off:?}");
        let wrong = city.people.enter("li", Password::new("wrong"), HERE, 6).await;
        assert!(
            matches!(wrong, Err(PeopleError::WrongLogin)),
            "nothing is asked before the password: {wrong:?}"
        );
        // Who holds none comes in by password, and may not do what takes one.
        let wang = city.approver("wang").await;
        assert_eq!(city.is(&wang, 6).await.passkey_ms, None);
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_good_once_in_time_and_for_the_one_who_was_asked() {
    told(async |city| {
        let (li, mut lis) = (city.approver("li").await, Authenticator::new(1, ORIGIN));
        let (wang, mut wangs) = (city.approver("wang").await, Authenticator::new(2, ORIGIN));
        city.register(&li, &lis, 0).await.unwrap();
        city.register(&wang, &wangs, 0).await.unwrap();

        let (attempt, options) = city.asked("li", 1).await;
        let answer = lis.get(&options);
        city.show(&attempt, answer.clone(), 1).await.unwrap();
        let again = city.show(&attempt, answer.clone(), 1).await;
        assert!(matches!(again, Err(PeopleError::NotAsked)), "replayed: {again:?}");
        let (attempt, options) = city.asked("li", 1).await;
        let old = city.show(&attempt, answer, 1).await;
        assert!(matches!(old, Err(PeopleError::Passkey(_))), "replayed for another question: {old:?}");
        let late = city.show(&attempt, lis.get(&options), 1).await;
        assert!(matches!(late, Err(PeopleError::NotAsked)), "one try a question: {late:?}");
        let (attempt, options) = city.asked("li", 1).await;
        let late = city.show(&attempt, lis.get(&options), 1 + ANSWER_MS).await;
        assert!(matches!(late, Err(PeopleError::NotAsked)), "too late: {late:?}");
        let (attempt, options) = city.asked("li", 1).await;
        let others = city.show(&attempt, wangs.get(&options), 1).await;
        assert!(matches!(others, Err(PeopleError::Passkey(_))), "somebody else's: {others:?}");
        let nobody = city.show(&Token::made().unwrap(), lis.get(&options), 1).await;
        assert!(matches!(nobody, Err(PeopleError::NotAsked)), "{nobody:?}");

        // An authenticator's id is taken once; nor may a question of one session be answered in another.
        let taken = city.register(&wang, &Authenticator::new(1, ORIGIN), 2).await;
        assert!(matches!(taken, Err(PeopleError::Taken { .. })), "{taken:?}");
        let (li, wang) = (city.enter_with("li", &mut lis, 2).await, city.is(&wang, 2).await);
        let session = city.is(&li, 2).await;
        let options = city.people.ask_passkey(&session, Password::new(&own("li")), 2).await.unwrap();
        let answer = Authenticator::new(3, ORIGIN).create(&options);
        let stray = city.people.add_passkey(&wang, "x".into(), answer, 2).await;
        assert!(matches!(stray, Err(PeopleError::NotAsked)), "{stray:?}");
    })
    .await;
}

#[tokio::test]
async fn a_copy_is_noticed_by_its_counter_even_at_the_same_moment() {
    told(async |city| {
        let (token, mut passkey) = (city.approver("li").await, Authenticator::new(1, ORIGIN));
        city.register(&token, &passkey, 0).await.unwrap();
        let mut copy = passkey.clone();
        // Both are asked before either answers: each counter is good by what was kept then.
        let (one, two) = (city.asked("li", 1).await, city.asked("li", 1).await);
        city.show(&one.0, passkey.get(&one.1), 1).await.unwrap();
        let same = city.show(&two.0, copy.get(&two.1), 1).await;
        assert!(matches!(same, Err(PeopleError::Passkey(Refused::Unfit(_)))), "{same:?}");
        copy.counter = 0;
        let (attempt, options) = city.asked("li", 2).await;
        let back = city.show(&attempt, copy.get(&options), 2).await;
        assert!(matches!(back, Err(PeopleError::Passkey(Refused::CounterBack))), "{back:?}");
    })
    .await;
}

#[tokio::test]
async fn what_changes_between_password_and_passkey_counts() {
    told(async |city| {
        let admin = city.admin().await;
        let (token, mut passkey) = (city.approver("li").await, Authenticator::new(1, ORIGIN));
        let id = city.register(&token, &passkey, 0).await.unwrap().id;
        let (attempt, options) = city.asked("li", 1).await;
        city.people.take_passkey(&admin, &login("li"), id).await.unwrap();
        assert!(city.show(&attempt, passkey.get(&options), 1).await.is_err(), "removed");

        let token = city.enter("li", &own("li"), 2).await.unwrap();
        city.register(&token, &passkey, 2).await.unwrap();
        let (attempt, options) = city.asked("li", 3).await;
        city.people.reset(&login("root"), &login("li"), 3).await.unwrap();
        let reset = city.show(&attempt, passkey.get(&options), 3).await;
        assert!(matches!(reset, Err(PeopleError::WrongLogin)), "{reset:?}");

        // A session that was ended registers nothing any more.
        let wang = city.approver("wang").await;
        let session = city.is(&wang, 4).await;
        let options = city.people.ask_passkey(&session, Password::new(&own("wang")), 4).await.unwrap();
        city.people.reset(&login("root"), &login("wang"), 4).await.unwrap();
        let answer = Authenticator::new(2, ORIGIN).create(&options);
        let over = city.people.add_passkey(&session, "x".into(), answer, 4).await;
        assert!(matches!(over, Err(PeopleError::NotAsked)), "{over:?}");
    })
    .await;
}

#[tokio::test]
async fn a_stolen_session_changes_no_passkey_and_nobody_removes_their_own_last() {
    told(async |city| {
        let (token, mut passkey) = (city.approver("li").await, Authenticator::new(1, ORIGIN));
        let session = city.is(&token, 0).await;
        let wrong = city.people.ask_passkey(&session, Password::new("wrong"), 0).await;
        assert!(matches!(wrong, Err(PeopleError::WrongLogin)), "{wrong:?}");
        let first = city.register(&token, &passkey, 0).await.unwrap().id;
        let session = city.is(&token, 0).await;
        let password = || Password::new(&own("li"));
        let last = city.people.remove_passkey(&session, password(), first.clone(), 1).await;
        assert!(matches!(last, Err(PeopleError::Forbidden(_))), "{last:?}");
        let spare = Authenticator::new(2, ORIGIN);
        let late = city.register(&token, &spare, FRESH_MS).await;
        assert!(matches!(late, Err(PeopleError::PasskeyStale)), "{late:?}");

        let token = city.enter_with("li", &mut passkey, FRESH_MS).await;
        let second = city.register(&token, &spare, FRESH_MS).await.unwrap().id;
        let session = city.is(&token, FRESH_MS).await;
        city.people.rename_passkey(&session, second.clone(), " 保险柜 ".into()).await.unwrap();
        let wrong =
            city.people.remove_passkey(&session, Password::new("wrong"), first.clone(), FRESH_MS).await;
        assert!(matches!(wrong, Err(PeopleError::WrongLogin)), "{wrong:?}");
        let stale = city.people.remove_passkey(&session, password(), first.clone(), 2 * FRESH_MS).await;
        assert!(matches!(stale, Err(PeopleError::PasskeyStale)), "{stale:?}");
        let unknown = city.people.remove_passkey(&session, password(), PasskeyId(vec![9]), FRESH_MS).await;
        assert!(matches!(unknown, Err(PeopleError::NotFound { .. })), "{unknown:?}");
        let now_ms = FRESH_MS + MINUTE;
        city.people.remove_passkey(&session, password(), first, now_ms).await.unwrap();
        let held = city.people.account(&login("li")).await.unwrap().passkeys;
        assert_eq!((held.len(), &held[0].id, held[0].label.as_str()), (1, &second, "保险柜"));

        // Others have nothing to say about it, but an admin of all their areas; and no admin about their own.
        let wang = city.approver("wang").await;
        let wang = city.is(&wang, 0).await;
        let not_hers = city.people.rename_passkey(&wang, second.clone(), "x".into()).await;
        assert!(matches!(not_hers, Err(PeopleError::NotFound { .. })), "{not_hers:?}");
        let take =
            async |by: &Session, name: &str| city.people.take_passkey(by, &login(name), second.clone()).await;
        let root = city.enter("root", FIRST, 0).await.unwrap();
        let without = take(&city.is(&root, 0).await, "li").await;
        assert!(matches!(without, Err(PeopleError::PasskeyNeeded)), "an admin's password: {without:?}");
        let (admin, wang) = (city.admin().await, Session { passkey_ms: Some(0), ..wang });
        assert!(matches!(take(&wang, "li").await, Err(PeopleError::Forbidden(_))));
        assert!(matches!(take(&admin, "root").await, Err(PeopleError::Forbidden(_))));
        assert!(matches!(take(&admin, "wang").await, Err(PeopleError::NotFound { .. })));
        take(&admin, "li").await.unwrap();
        assert!(city.who(&token, now_ms).await.is_none(), "the sessions of whoever has it end");
        let token = city.enter("li", &own("li"), now_ms).await.unwrap();
        let session = city.is(&token, now_ms).await;
        assert!(matches!(city.people.must_have_shown(&session), Err(PeopleError::PasskeyNeeded)));
    })
    .await;
}

#[tokio::test]
async fn keys_to_sign_with_take_a_passkey_where_there_are_passkeys() {
    use seal::keys::{MemoryKey, Signer};
    told(async |city| {
        let token = city.approver("li").await;
        let key = MemoryKey::from_secret(&[7; 32]);
        let new = || NewKey {
            public: key.public(),
            label: "办公室".into(),
            proof: key.sign(&proof_message(&login("li"), &key.public())).unwrap().to_vec(),
        };
        let session = city.is(&token, 0).await;
        let refused = city.people.add_key(&session, Password::new(&own("li")), new(), 0).await;
        assert!(matches!(refused, Err(PeopleError::PasskeyNeeded)), "{refused:?}");
        city.register(&token, &Authenticator::new(1, ORIGIN), 0).await.unwrap();
        let session = city.is(&token, 0).await;
        city.people.add_key(&session, Password::new(&own("li")), new(), 0).await.unwrap();
    })
    .await;
}
