//! Stories of people, told on every database there is. Times are minutes of a day that begins at 0.

use futures_util::FutureExt as _;
use seal::keys::{Algorithm, MemoryKey, Signer};

use super::testing::{area, duties};
use super::*;
use crate::database;
use crate::people::role::{Action, may};

pub(super) const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
pub(super) const FIRST: &str = "correct horse battery";
pub(super) const MINUTE: i64 = 60_000;

/// A city with its first admin, `root`.
pub(super) struct City {
    pub(super) people: People,
    pub(super) url: String,
}

/// Tells a story on each database.
async fn told(story: impl AsyncFn(City)) {
    told_at(None, story).await;
}

/// Tells a story on each database, with passkeys if there is a site for them.
pub(super) async fn told_at(site: Option<Site>, story: impl AsyncFn(City)) {
    for fresh in database::testing::each().await {
        let people = People::open(&fresh.url, Cost::Least, site.clone()).await.unwrap();
        let token = people.first_token(0).await.unwrap().unwrap();
        people.begin(&token, login("root"), "root".into(), Password::new(FIRST), 0).await.unwrap();
        story(City { people, url: fresh.url.clone() }).await;
    }
}

pub(super) fn login(name: &str) -> Login {
    Login::new(name).unwrap()
}

impl City {
    pub(super) async fn enter(&self, name: &str, password: &str, now_ms: i64) -> Result<Token, PeopleError> {
        match self.people.enter(name, Password::new(password), HERE, now_ms).await? {
            Entered::In(token, _) => Ok(token),
            Entered::Asked { .. } => panic!("a passkey is asked of {name}"),
        }
    }

    /// Whether a session is open, and which account it shows.
    pub(super) async fn who(&self, token: &Token, now_ms: i64) -> Option<Session> {
        self.people.who(token, now_ms).await.unwrap()
    }

    /// Somebody new, who has chosen the password `name`, twice the shortest.
    pub(super) async fn with(&self, name: &str, roles: &[(Role, &str)]) -> Token {
        let new = NewAccount { name: login(name), shown: name.into(), roles: duties(roles) };
        let (_, password) = self.people.create(&login("root"), new, 0).await.unwrap();
        let token = self.enter(name, &password, 0).await.unwrap();
        let session = self.who(&token, 0).await.unwrap();
        assert!(session.account.choose_until_ms.is_some());
        let chosen = Password::new(&own(name));
        self.people.choose(&session, Password::new(&password), chosen, 0).await.unwrap();
        token
    }

    async fn change(&self, by: &str, name: &str, change: Change) -> Result<Account, PeopleError> {
        self.people.change(&login(by), &login(name), change, MINUTE).await
    }
}

/// The password somebody chose.
pub(super) fn own(name: &str) -> String {
    format!("the password of {name}")
}

fn disabled() -> Change {
    Change { state: Some(State::Disabled), ..Change::default() }
}

#[tokio::test]
async fn the_first_link_works_once_within_its_hour_and_only_without_an_admin() {
    for fresh in database::testing::each().await {
        let people = People::open(&fresh.url, Cost::Least, None).await.unwrap();
        let begin = async |token: &Token, name: &str, password: &str, now_ms| {
            people.begin(token, login(name), "管理员".into(), Password::new(password), now_ms).await
        };
        let old = people.first_token(0).await.unwrap().unwrap();
        let token = people.first_token(0).await.unwrap().unwrap();
        for (token, password, now_ms, why) in [
            (&old, FIRST, 0, "this link"),
            (&token, FIRST, FIRST_LINK_MS, "this link"),
            (&token, "short", 0, "password: "),
        ] {
            let error = begin(token, "root", password, now_ms).await.unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
        }
        let root = begin(&token, "root", FIRST, FIRST_LINK_MS - 1).await.unwrap();
        assert!(may(&root, Action::ManageAccounts, &area("")));
        assert!(matches!(begin(&token, "evil", FIRST, 1).await, Err(PeopleError::NoLink)));
        assert_eq!(people.first_token(2).await.unwrap(), None);
        let again = People::open(&fresh.url, Cost::Least, None).await.unwrap();
        assert_eq!(again.first_token(3).await.unwrap(), None, "after a restart");
        assert_eq!(again.account(&login("root")).await.unwrap(), root);
    }
}

#[tokio::test]
async fn a_session_lasts_while_it_is_used_and_no_longer_than_a_day_at_work() {
    told(async |city| {
        let token = city.enter("root", FIRST, 0).await.unwrap();
        assert!(city.who(&token, session::IDLE_MS).await.is_none(), "idle");
        let token = city.enter("root", FIRST, 0).await.unwrap();
        let mut now_ms = 0;
        while city.who(&token, now_ms).await.is_some() {
            now_ms += 20 * MINUTE;
        }
        assert_eq!(now_ms, session::LIFE_MS);
        let token = city.enter("root", FIRST, now_ms).await.unwrap();
        let again = People::open(&city.url, Cost::Least, None).await.unwrap();
        let session = again.who(&token, now_ms + MINUTE).await.unwrap().unwrap();
        assert_eq!(session.account.name, login("root"), "after a restart");
        again.leave(&session).await.unwrap();
        assert!(again.who(&token, now_ms + MINUTE).await.unwrap().is_none(), "logged out");
        assert!(city.who(&Token::made().unwrap(), 0).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn the_oldest_session_gives_way_to_one_too_many() {
    told(async |city| {
        let mut tokens = Vec::new();
        for now_ms in 0..=session::MOST {
            tokens.push(city.enter("root", FIRST, now_ms).await.unwrap());
        }
        assert!(city.who(&tokens[0], MINUTE).await.is_none());
        for token in &tokens[1..] {
            assert!(city.who(token, MINUTE).await.is_some());
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_disabled_is_out_at_once() {
    told(async |city| {
        let token = city.with("li", &[(Role::Applicant, "chengdu")]).await;
        assert!(city.who(&token, 0).await.is_some());
        city.change("root", "li", disabled()).await.unwrap();
        assert!(city.who(&token, 1).await.is_none());
        assert!(matches!(city.enter("li", &own("li"), 1).await, Err(PeopleError::WrongLogin)));
        let back = Change { state: Some(State::Active), ..Change::default() };
        city.change("root", "li", back).await.unwrap();
        assert!(city.who(&token, 2).await.is_none(), "the old session stays over");
        assert!(city.enter("li", &own("li"), 2).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_change_is_made_and_seen_though_the_one_who_asked_went_away() {
    told(async |city| {
        let token = city.with("li", &[(Role::Applicant, "chengdu")]).await;
        assert!(city.who(&token, 0).await.is_some());
        assert!(city.change("root", "li", disabled()).now_or_never().is_none());
        // Comes after the one before.
        let after = city.change("root", "li", Change::default()).await.unwrap();
        assert_eq!(after.state, State::Disabled);
        assert!(city.who(&token, 0).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_changed_role_holds_in_open_sessions() {
    told(async |city| {
        let token = city.with("li", &[(Role::Applicant, "chengdu")]).await;
        let may_approve = async || {
            let session = city.who(&token, 0).await.unwrap();
            may(&session.account, Action::Approve, &area("chengdu/qingyang"))
        };
        assert!(!may_approve().await);
        let roles = [(Role::Admin, "chengdu/jinjiang"), (Role::Approver, "chengdu/qingyang")];
        let roles = duties(&roles);
        let change = Change { roles: Some(roles.clone()), ..Change::default() };
        let after = city.change("root", "li", change).await.unwrap();
        assert!(may_approve().await);
        let mut sorted = roles;
        sorted.sort();
        let kept = city.people.account(&login("li")).await.unwrap();
        assert_eq!((&after.roles, &kept.roles), (&sorted, &sorted));
    })
    .await;
}

#[tokio::test]
async fn a_chosen_password_ends_all_other_sessions() {
    told(async |city| {
        let mine = city.with("li", &[]).await;
        let other = city.enter("li", &own("li"), 0).await.unwrap();
        let session = city.who(&mine, 0).await.unwrap();
        let choose = async |old: &str, new: &str| {
            city.people.choose(&session, Password::new(old), Password::new(new), 0).await
        };
        assert!(matches!(choose("wrong", "a new password").await, Err(PeopleError::WrongLogin)));
        assert!(matches!(choose(&own("li"), "short").await, Err(PeopleError::Unusable { .. })));
        assert!(matches!(choose(&own("li"), &own("li")).await, Err(PeopleError::Unusable { .. })));
        assert!(city.who(&other, 0).await.is_some());
        choose(&own("li"), "a new password").await.unwrap();
        assert!(city.who(&mine, 0).await.is_some());
        assert!(city.who(&other, 0).await.is_none());
        assert!(city.enter("li", &own("li"), 0).await.is_err());
        assert!(city.enter("li", "a new password", 2000).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_one_time_password_is_good_for_choosing_within_its_time() {
    told(async |city| {
        let token = city.with("li", &[(Role::Applicant, "chengdu")]).await;
        let told = city.people.reset(&login("root"), &login("li"), 0).await.unwrap();
        assert!(city.who(&token, 0).await.is_none(), "sessions end");
        assert!(city.enter("li", &own("li"), 0).await.is_err());
        assert!(matches!(city.enter("li", &told, CHOOSE_MS).await, Err(PeopleError::TooLate)));
        let token = city.enter("li", &told, CHOOSE_MS - 1).await.unwrap();
        let session = city.who(&token, CHOOSE_MS - 1).await.unwrap();
        assert_eq!(session.account.choose_until_ms, Some(CHOOSE_MS));
    })
    .await;
}

#[tokio::test]
async fn failures_make_wait_by_name_and_by_address() {
    told(async |city| {
        city.with("li", &[]).await;
        for _ in 0..FREE_BY_NAME {
            assert!(matches!(city.enter("li", "wrong", 0).await, Err(PeopleError::WrongLogin)));
        }
        let wait = city.enter("li", &own("li"), 0).await;
        assert!(matches!(wait, Err(PeopleError::Wait { wait_ms: 1000 })), "{wait:?}");
        assert!(city.enter("root", FIRST, 0).await.is_ok(), "others do not wait");
        assert!(city.enter("li", &own("li"), 1000).await.is_ok());
        // Names that nobody has, or nobody can have, answer the same.
        let mut answers = Vec::new();
        for n in 0..FREE_BY_PEER {
            let name = if n % 2 == 0 { format!("nobody-{n}") } else { "No Name".into() };
            answers.push(city.enter(&name, "wrong", 2000).await.unwrap_err().to_string());
        }
        let same = |text: &str| answers.iter().filter(|answer| answer.starts_with(text)).count();
        assert!(same("name or password is wrong") >= 16, "{answers:?}");
        assert!(matches!(city.enter("root", FIRST, 2000).await, Err(PeopleError::Wait { .. })));
        let elsewhere = IpAddr::from([10, 0, 0, 7]);
        assert!(city.people.enter("root", Password::new(FIRST), elsewhere, 2000).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn admins_keep_to_their_area_and_to_others() {
    told(async |city| {
        city.with("wang", &[(Role::Admin, "chengdu/qingyang")]).await;
        city.with("li", &[(Role::Applicant, "chengdu/qingyang/caotang")]).await;
        let create = async |by: &str, name: &str, roles: &[(Role, &str)]| {
            let new = NewAccount { name: login(name), shown: name.into(), roles: duties(roles) };
            city.people.create(&login(by), new, 0).await.map(|_| ())
        };
        let forbidden = |result: Result<(), PeopleError>| matches!(result, Err(PeopleError::Forbidden(_)));
        assert!(create("wang", "zhao", &[(Role::Approver, "chengdu/qingyang")]).await.is_ok());
        assert!(forbidden(create("wang", "qian", &[(Role::Approver, "chengdu")]).await));
        assert!(forbidden(create("wang", "qian", &[]).await));
        assert!(forbidden(create("li", "qian", &[(Role::Applicant, "chengdu/qingyang/caotang")]).await));
        let taken = create("root", "zhao", &[]).await;
        assert!(matches!(taken, Err(PeopleError::Taken { .. })), "{taken:?}");
        assert!(forbidden(city.change("wang", "root", disabled()).await.map(|_| ())));
        assert!(forbidden(city.change("root", "root", disabled()).await.map(|_| ())));
        assert!(forbidden(city.people.reset(&login("wang"), &login("root"), 0).await.map(|_| ())));
        assert!(forbidden(city.people.reset(&login("root"), &login("root"), 0).await.map(|_| ())));
        assert!(city.change("wang", "li", disabled()).await.is_ok());
        // An admin who was disabled meanwhile does nothing more.
        city.change("root", "wang", disabled()).await.unwrap();
        assert!(forbidden(city.people.reset(&login("wang"), &login("li"), 0).await.map(|_| ())));
        let names = |page: Vec<Account>| page.into_iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(city.people.accounts("", 3).await.unwrap()), ["li", "root", "wang"]);
        assert_eq!(names(city.people.accounts("wang", 3).await.unwrap()), ["zhao"]);
    })
    .await;
}

#[tokio::test]
async fn a_key_belongs_to_one_person_for_ever() {
    told(async |city| {
        let is_sm2 = Algorithm::Sm2.is_built_in();
        let algorithm = if is_sm2 { Algorithm::Sm2 } else { Algorithm::Ed25519 };
        let key = MemoryKey::new(algorithm, &[7; 32]).unwrap();
        let new = |name: &str| NewKey {
            public: key.public(),
            label: "办公室电脑".into(),
            proof: key.sign(&proof_message(&login(name), &key.public())).unwrap().to_vec(),
        };
        let token = city.with("li", &[(Role::Approver, "chengdu")]).await;
        let li = city.who(&token, 0).await.unwrap();
        let wrong = city.people.add_key(&li, Password::new("wrong"), new("li"), 0).await;
        assert!(matches!(wrong, Err(PeopleError::WrongLogin)), "a stolen session is not enough");
        let added = city.people.add_key(&li, Password::new(&own("li")), new("li"), 5).await.unwrap();
        let li = city.who(&token, 0).await.unwrap();
        assert_eq!(li.account.keys, [added]);
        assert!(li.account.signs_with(&key.public()));

        let wang = city.with("wang", &[(Role::Approver, "chengdu")]).await;
        let wang = city.who(&wang, 0).await.unwrap();
        let taken = city.people.add_key(&wang, Password::new(&own("wang")), new("wang"), 6).await;
        assert!(matches!(taken, Err(PeopleError::Taken { .. })), "{taken:?}");
        let not_hers = city.people.retire_key(&wang, key.public(), 7).await;
        assert!(matches!(not_hers, Err(PeopleError::NotFound { .. })), "{not_hers:?}");
        assert!(city.who(&token, 0).await.unwrap().account.signs_with(&key.public()));

        for now_ms in [8, 9] {
            let retired = city.people.retire_key(&li, key.public(), now_ms).await.unwrap();
            assert_eq!(retired.retired_ms, Some(8), "since the first time");
        }
        assert!(!city.who(&token, 0).await.unwrap().account.signs_with(&key.public()));
        let back = city.people.add_key(&li, Password::new(&own("li")), new("li"), 10).await;
        assert!(matches!(back, Err(PeopleError::Taken { .. })), "{back:?}");
    })
    .await;
}

#[test]
fn nothing_secret_is_printed() {
    let token = Token::made().unwrap();
    let first = First { digest: token.digest(), until_ms: 0 };
    let shown = format!("{token:?} {:?} {:?}", Password::new(FIRST), first.digest);
    assert!(!shown.contains(&token.reveal()) && !shown.contains("correct"), "{shown}");
}
