//! Passkeys: W3C Web Authentication, levels 2 and 3. The only file that knows the library, which compares challenge,
//! origin, relying party, user verification, signature and counter (§7.1 and §7.2 there).
//!
//! A passkey is bound to the name of a site, so it cannot be shown to another site that looks the same.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use webauthn_rs::Webauthn;
use webauthn_rs::prelude::{
    CredentialID, Passkey as Credential, PasskeyAuthentication, PasskeyRegistration, Url, Uuid,
    WebauthnBuilder, WebauthnError,
};

use super::account::Account;

/// How long somebody has to show a passkey: what §5.4 of the recommendation and people with a slow finger ask for.
pub const ANSWER_MS: i64 = 300_000;
/// Longest id of a passkey in bytes (CTAP 2.1 §6.1.2, authenticatorMakeCredential).
const MAX_ID: usize = 1023;
/// What people see in the browser's question.
const RP_NAME: &str = "烽燧 Watchfire";

/// The id that an authenticator gave a passkey. Not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyId(pub(super) Vec<u8>);

impl PasskeyId {
    /// Reads base64url without padding; `None` when it cannot be such an id.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = Base64UrlUnpadded::decode_vec(text).ok()?;
        (1..=MAX_ID).contains(&bytes.len()).then_some(Self(bytes))
    }
}

impl fmt::Display for PasskeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

/// Why a passkey was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Two have the same key, §6.1.1: one of them is a copy, or this answer is an old one.
    #[error("its counter went back, so it may have been copied: an admin has to remove it")]
    CounterBack,
    /// Anything else that does not fit.
    #[error("{0}")]
    Unfit(String),
}

impl From<WebauthnError> for Refused {
    fn from(error: WebauthnError) -> Self {
        match error {
            WebauthnError::CredentialPossibleCompromise => Self::CounterBack,
            other => Self::Unfit(other.to_string()),
        }
    }
}

/// The address at which people open the console, to which their passkeys are bound.
#[derive(Debug, Clone)]
pub struct Site {
    origin: String,
    webauthn: Webauthn,
}

/// What the answer to a registration is compared with.
#[derive(Debug)]
pub(super) struct Registration(PasskeyRegistration);

/// What the answer to a login is compared with.
#[derive(Debug)]
pub(super) struct Assertion {
    state: PasskeyAuthentication,
    held: Vec<(Credential, Stored)>,
}

/// A passkey as SQL has it, a text of the library's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored(pub(super) String);

/// A passkey that was shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) id: PasskeyId,
    /// As it was when the question was asked.
    pub(super) before: Stored,
    /// With the counter it has now.
    pub(super) after: Stored,
}

impl Site {
    /// Reads an origin: `https://seals.example.org`, or `http://localhost:8080` for a machine of one's own.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(origin: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{origin:?} is no origin for passkeys: https:// and a name (or http://localhost), a port if it is another \
                 one, and nothing behind it expected; an address in digits has no passkeys"
            )
        };
        let url = Url::parse(origin).map_err(|_| wrong())?;
        let name = url.domain().ok_or_else(wrong)?;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
        let safe = url.scheme() == "https" || (url.scheme() == "http" && name == "localhost");
        let text = url.origin().ascii_serialization();
        // Nothing but the origin itself: no path, no user, no second spelling.
        if !plain || !safe || origin.trim_end_matches('/') != text {
            return Err(wrong());
        }
        let timeout = std::time::Duration::from_millis(ANSWER_MS.unsigned_abs());
        let built = WebauthnBuilder::new(name, &url)
            .and_then(|builder| builder.rp_name(RP_NAME).timeout(timeout).build())
            .map_err(|_| wrong())?;
        Ok(Self { origin: text, webauthn: built })
    }

    /// The origin itself: `https://seals.example.org`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What a browser calls the host: name, and port if it is another one.
    pub fn host(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, host)| host)
    }

    /// What the browser is asked for a new passkey, `publicKey` of §5.4 as JSON, and what its answer is compared with.
    pub(super) fn ask_new(&self, account: &Account) -> Result<(Value, Registration), Refused> {
        let held = account.passkeys.iter().map(|held| CredentialID::from(held.id.0.clone())).collect();
        let (options, state) = self.webauthn.start_passkey_registration(
            handle(account),
            account.name.as_str(),
            &account.shown,
            Some(held),
        )?;
        Ok((json(&options)?["publicKey"].take(), Registration(state)))
    }

    /// Takes a new passkey.
    pub(super) fn take_new(
        &self,
        asked: &Registration,
        answer: &Value,
    ) -> Result<(PasskeyId, Stored), Refused> {
        let credential = self.webauthn.finish_passkey_registration(&read(answer)?, &asked.0)?;
        let id = credential.cred_id().to_vec();
        if !(1..=MAX_ID).contains(&id.len()) {
            return Err(Refused::Unfit(format!("an id of {} bytes, 1 to {MAX_ID} expected", id.len())));
        }
        Ok((PasskeyId(id), stored(&credential)?))
    }

    /// What the browser is asked to show one of these passkeys, `publicKey` of §5.5 as JSON, and what its answer is
    /// compared with.
    pub(super) fn ask(&self, held: Vec<Stored>) -> Result<(Value, Assertion), Refused> {
        let held = held.into_iter().map(|text| {
            let credential = serde_json::from_str(&text.0)
                .map_err(|error| Refused::Unfit(format!("it was not kept well: {error}")))?;
            Ok((credential, text))
        });
        let held: Vec<(Credential, Stored)> = held.collect::<Result<_, Refused>>()?;
        let credentials: Vec<Credential> = held.iter().map(|(credential, _)| credential.clone()).collect();
        let (options, state) = self.webauthn.start_passkey_authentication(&credentials)?;
        Ok((json(&options)?["publicKey"].take(), Assertion { state, held }))
    }

    /// Judges what was shown.
    pub(super) fn judge(&self, asked: Assertion, answer: &Value) -> Result<Shown, Refused> {
        let result = self.webauthn.finish_passkey_authentication(&read(answer)?, &asked.state)?;
        if !result.user_verified() {
            return Err(WebauthnError::UserNotVerified.into());
        }
        let mut held = asked.held.into_iter();
        let (mut credential, before) = held
            .find(|(credential, _)| credential.cred_id() == result.cred_id())
            .ok_or(WebauthnError::CredentialNotFound)?;
        let after = match credential.update_credential(&result) {
            Some(true) => stored(&credential)?,
            _ => before.clone(),
        };
        Ok(Shown { id: PasskeyId(result.cred_id().to_vec()), before, after })
    }
}

/// How an authenticator tells accounts of a site apart: the same for all passkeys of an account.
fn handle(account: &Account) -> Uuid {
    let digest: [u8; 32] =
        seal::keys::digest(&[b"watchfire passkey user v1\n", account.name.as_str().as_bytes()]).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::from_bytes(bytes)
}

fn json(value: &impl serde::Serialize) -> Result<Value, Refused> {
    serde_json::to_value(value).map_err(|error| Refused::Unfit(error.to_string()))
}

fn stored(credential: &Credential) -> Result<Stored, Refused> {
    serde_json::to_string(credential).map(Stored).map_err(|error| Refused::Unfit(error.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(answer: &Value) -> Result<T, Refused> {
    T::deserialize(answer)
        .map_err(|error| Refused::Unfit(format!("this is not what a browser answers: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::role::Role;
    use crate::people::testing::account;
    use crate::people::testing::authenticator::Authenticator;

    const HERE: &str = "http://localhost:8080";

    fn site() -> Site {
        Site::new(HERE).unwrap()
    }

    fn li() -> Account {
        Account { shown: "李明".into(), ..account("li", &[(Role::Approver, "chengdu")]) }
    }

    /// A site, what it keeps of li's passkey, and the passkey.
    fn registered() -> (Site, Stored, Authenticator) {
        let (site, passkey) = (site(), Authenticator::new(1, HERE));
        let (options, asked) = site.ask_new(&li()).unwrap();
        assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
        assert_eq!((&options["rp"]["id"], &options["user"]["name"]), (&"localhost".into(), &"li".into()));
        let (_, stored) = site.take_new(&asked, &passkey.create(&options)).unwrap();
        (site, stored, passkey)
    }

    fn refusal(result: Result<impl fmt::Debug, Refused>) -> String {
        result.unwrap_err().to_string()
    }

    type Lie = fn(&mut Authenticator);

    /// What is told of a passkey or page that lies.
    const LIES: [(Lie, &str); 4] = [
        (|lying| lying.origin = "http://localhost:9999".into(), "origin does not match"),
        (|lying| lying.origin = "https://evil.example".into(), "origin does not match"),
        (|lying| lying.rp_id = "evil.example".into(), "id hash does not match"),
        (|lying| lying.verifies = false, "user verified bit is not set"),
    ];

    #[test]
    fn origins_are_those_that_browsers_take() {
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("https://seals.example.org", "seals.example.org"),
            ("https://seals.example.org:8443/", "seals.example.org:8443"),
        ] {
            let site = Site::new(origin).unwrap();
            assert_eq!((site.host(), site.origin()), (host, origin.trim_end_matches('/')));
        }
        for bad in [
            "",
            "seals.example.org",
            "http://seals.example.org",
            "https://127.0.0.1:8080",
            "http://[::1]",
            "https://a.b/c",
            "https://a.b?c",
            "https://li@a.b",
            "ftp://localhost",
            "HTTPS://a.b",
            "https://a.b:443",
            "https://a\"b",
        ] {
            assert!(Site::new(bad).unwrap_err().contains("no origin for passkeys"), "{bad}");
        }
    }

    #[test]
    fn a_registered_passkey_is_recognised_and_counts_on() {
        let (site, mut stored, mut passkey) = registered();
        for _ in 0..2 {
            let (options, asked) = site.ask(vec![stored.clone()]).unwrap();
            assert_eq!(options["userVerification"], "required");
            let shown = site.judge(asked, &passkey.get(&options)).unwrap();
            assert_eq!((shown.id, &shown.before), (PasskeyId(vec![1; 16]), &stored));
            assert_ne!(shown.after, stored, "the counter is kept");
            stored = shown.after;
        }
    }

    #[test]
    fn a_lie_at_registration_is_refused() {
        let li = li();
        for (lie, why) in LIES {
            let (site, mut passkey) = (site(), Authenticator::new(1, HERE));
            let (options, asked) = site.ask_new(&li).unwrap();
            lie(&mut passkey);
            let told = refusal(site.take_new(&asked, &passkey.create(&options)));
            assert!(told.contains(why), "{told}");
        }
        let (site, passkey) = (site(), Authenticator::new(1, HERE));
        let (other, _) = site.ask_new(&li).unwrap();
        let (_, asked) = site.ask_new(&li).unwrap();
        let told = refusal(site.take_new(&asked, &passkey.create(&other)));
        assert!(told.to_lowercase().contains("challenge"), "{told}");
        assert!(refusal(site.take_new(&asked, &Value::Null)).contains("not what a browser answers"));
    }

    #[test]
    fn a_lie_at_login_is_refused() {
        for (lie, why) in LIES {
            let (site, stored, mut passkey) = registered();
            let (options, asked) = site.ask(vec![stored]).unwrap();
            lie(&mut passkey);
            let told = refusal(site.judge(asked, &passkey.get(&options)));
            assert!(told.contains(why), "{told}");
        }
        let (site, stored, mut passkey) = registered();
        let (other, _) = site.ask(vec![stored.clone()]).unwrap();
        let (_, asked) = site.ask(vec![stored]).unwrap();
        let told = refusal(site.judge(asked, &passkey.get(&other)));
        assert!(told.to_lowercase().contains("challenge"), "{told}");
    }

    #[test]
    fn an_altered_answer_or_somebody_elses_passkey_is_refused() {
        let (site, stored, mut passkey) = registered();
        let ask = || site.ask(vec![stored.clone()]).unwrap();
        let (options, asked) = ask();
        let mut altered = passkey.get(&options);
        altered["response"]["signature"] =
            Authenticator::new(2, HERE).get(&options)["response"]["signature"].take();
        assert!(site.judge(asked, &altered).is_err(), "another key has signed");
        let (options, asked) = ask();
        assert!(site.judge(asked, &Authenticator::new(2, HERE).get(&options)).is_err(), "not one of li's");
        let (options, asked) = ask();
        assert!(site.judge(asked, &passkey.get(&options)).is_ok(), "the right one still is");
    }

    #[test]
    fn a_counter_that_goes_back_is_refused_and_said() {
        let (site, stored, mut passkey) = registered();
        let mut copy = passkey.clone();
        let (options, asked) = site.ask(vec![stored]).unwrap();
        let shown = site.judge(asked, &passkey.get(&options)).unwrap();
        let (options, asked) = site.ask(vec![shown.after]).unwrap();
        assert_eq!(site.judge(asked, &copy.get(&options)).unwrap_err(), Refused::CounterBack);
    }
}
