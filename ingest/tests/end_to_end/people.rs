//! People over real sockets: the first admin, sessions, accounts, keys; and that nothing secret is logged.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use base64ct::{Base64UrlUnpadded, Encoding};
use seal::keys::{MemoryKey, Signer};
use serde_json::{Value, json};

use crate::authenticator::Authenticator;
use crate::interface::holds;
use crate::vocabulary::*;

const FIRST: &str = "correct horse battery";
const ORIGIN: &str = "http://localhost:8080";
const OWN: &str = "staple 浣花溪 staple";

/// Asks as a browser does, and holds every answer against the document.
struct Desk {
    addr: SocketAddr,
    document: Value,
    /// Operations that were answered well.
    asked: BTreeSet<String>,
    /// What must not be logged.
    secrets: Vec<String>,
}

impl Desk {
    async fn at(addr: SocketAddr) -> Self {
        let document = ask(addr, "GET", "/api/v1/openapi.json", &[], b"").await.json();
        Self { addr, document, asked: BTreeSet::new(), secrets: vec![FIRST.into(), OWN.into()] }
    }

    /// Asks `path` of the template `of` with a cookie, and expects a status.
    async fn ask_of(
        &mut self,
        of: &str,
        cookie: &str,
        method: &str,
        path: &str,
        body: Value,
        status: u16,
    ) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [
            ("content-type", "application/json"),
            ("sec-fetch-site", "same-origin"),
            ("cookie", &format!("theme=dark; {cookie}")),
        ];
        let answer = ask(self.addr, method, path, &headers, body.as_bytes()).await;
        let what = format!("{method} {path}");
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        let operation = &self.document["paths"][of][method.to_lowercase()];
        let documented = &operation["responses"][status.to_string()];
        assert!(documented.is_object(), "{what}: {status} is not documented");
        holds(&self.document, documented, &answer, &what);
        if status < 300 {
            self.asked.insert(format!("{method} {of}"));
        }
        answer
    }

    async fn ask(&mut self, cookie: &str, method: &str, path: &str, body: Value, status: u16) -> Answer {
        self.ask_of(path, cookie, method, path, body, status).await
    }

    /// The cookie of a new session.
    async fn enter(&mut self, name: &str, password: &str) -> String {
        let body = json!({ "name": name, "password": password });
        let answer = self.ask("", "POST", "/api/v1/session", body, 200).await;
        self.cookie(&answer)
    }

    /// The cookie of a new session, for password and passkey.
    async fn enter_with(&mut self, name: &str, password: &str, passkey: &mut Authenticator) -> String {
        let body = json!({ "name": name, "password": password });
        let asked = self.ask("", "POST", "/api/v1/session", body, 202).await;
        assert_eq!(asked.header("set-cookie"), None, "no session yet");
        let asked = asked.json();
        self.secrets.push(asked["attempt"].as_str().unwrap().to_owned());
        let credential = passkey.get(&asked["options"]);
        let shown = json!({ "attempt": asked["attempt"], "credential": credential });
        let answer = self.ask("", "POST", "/api/v1/session/passkey", shown.clone(), 200).await;
        self.ask("", "POST", "/api/v1/session/passkey", shown, 401).await;
        self.cookie(&answer)
    }

    /// Registers a passkey: its path.
    async fn register(&mut self, cookie: &str, password: &str, passkey: &Authenticator) -> String {
        let again = json!({ "password": password });
        let asked = self.ask(cookie, "POST", "/api/v1/me/passkeys/options", again, 200).await.json();
        let form = json!({ "label": "手机", "credential": passkey.create(&asked["options"]) });
        let made = self.ask(cookie, "POST", "/api/v1/me/passkeys", form.clone(), 201).await.json();
        self.ask(cookie, "POST", "/api/v1/me/passkeys", form, 401).await;
        format!("/api/v1/me/passkeys/{}", made["id"].as_str().unwrap())
    }

    fn cookie(&mut self, answer: &Answer) -> String {
        let cookie = answer.header("set-cookie").unwrap();
        let (pair, rest) = cookie.split_once(';').unwrap();
        assert_eq!(rest, " HttpOnly; SameSite=Strict; Path=/; Max-Age=43200");
        self.secrets.push(pair.split_once('=').unwrap().1.to_owned());
        pair.to_owned()
    }
}

/// Everything people do, once. Returns what must not be in the log.
async fn a_day_at_the_office(addr: SocketAddr, link: &str) -> Vec<String> {
    let mut desk = Desk::at(addr).await;
    let token = link.split_once("/first#").unwrap().1;
    assert!(link.starts_with(ORIGIN), "where passkeys are good: {link}");

    let begin = json!({ "token": token, "name": "root", "shown": "市管理员", "password": FIRST });
    desk.ask("", "POST", "/api/v1/first", begin.clone(), 201).await;
    desk.ask("", "POST", "/api/v1/first", begin, 403).await;
    desk.ask("", "GET", "/api/v1/session", Value::Null, 401).await;
    let wrong = json!({ "name": "root", "password": "wrong" });
    desk.ask("", "POST", "/api/v1/session", wrong, 401).await;
    let root = desk.enter("root", FIRST).await;
    let me = desk.ask(&root, "GET", "/api/v1/session", Value::Null, 200).await.json();
    assert_eq!(me["account"]["roles"], json!([{ "role": "admin", "area": "*" }]));

    let qingyang = json!([{ "role": "approver", "area": "chengdu/qingyang" }]);
    let form = json!({ "name": "li.ming", "shown": "李明", "roles": qingyang });
    let created = desk.ask(&root, "POST", "/api/v1/accounts", form.clone(), 201).await.json();
    desk.ask(&root, "POST", "/api/v1/accounts", form, 409).await;
    let one_time = created["password"].as_str().unwrap().to_owned();

    let li = desk.enter("li.ming", &one_time).await;
    let refused = desk.ask(&li, "GET", "/api/v1/accounts", Value::Null, 403).await.json();
    assert_eq!(refused["type"], json!("urn:watchfire:problem:choose-password"));
    let choose = json!({ "old": one_time, "new": OWN });
    desk.ask(&li, "POST", "/api/v1/me/password", json!({ "old": one_time, "new": "short" }), 400).await;
    desk.ask(&li, "POST", "/api/v1/me/password", choose, 204).await;
    let refused = desk.ask(&li, "GET", "/api/v1/accounts", Value::Null, 403).await.json();
    assert_eq!(refused["type"], json!("urn:watchfire:problem:forbidden"));

    let key = MemoryKey::from_secret(&[7; 32]);
    let text = Base64UrlUnpadded::encode_string(key.public().bytes());
    let proof = key.sign(format!("watchfire person key v1\nli.ming\n{text}\n").as_bytes()).unwrap();
    let proof = Base64UrlUnpadded::encode_string(&proof);
    let form = json!({ "key": text, "label": "办公室", "proof": proof, "password": OWN });
    let refused = desk.ask(&li, "POST", "/api/v1/me/keys", form.clone(), 403).await.json();
    assert_eq!(refused["type"], json!("urn:watchfire:problem:passkey-needed"));
    let li = with_passkeys(&mut desk, &li, &root).await;
    let wrong = json!({ "key": text, "label": "办公室", "proof": proof, "password": FIRST });
    desk.ask(&li, "POST", "/api/v1/me/keys", wrong, 401).await;
    desk.ask(&li, "POST", "/api/v1/me/keys", form.clone(), 201).await;
    desk.ask(&li, "POST", "/api/v1/me/keys", form, 409).await;
    let keys = desk.ask(&li, "GET", "/api/v1/me/keys", Value::Null, 200).await.json();
    assert_eq!(keys["items"][0]["key"], json!(text));
    let of = "/api/v1/me/keys/{key}";
    desk.ask_of(of, &root, "DELETE", &format!("/api/v1/me/keys/{text}"), Value::Null, 404).await;
    desk.ask_of(of, &li, "DELETE", &format!("/api/v1/me/keys/{text}"), Value::Null, 200).await;

    let page = desk.ask(&root, "GET", "/api/v1/accounts", Value::Null, 200).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let of = "/api/v1/accounts/{name}";
    let seen = desk.ask_of(of, &root, "GET", "/api/v1/accounts/li.ming", Value::Null, 200).await.json();
    assert_eq!(seen["keys"][0]["retired_ms"].as_i64().map(|ms| ms > 0), Some(true));
    desk.ask_of(of, &root, "GET", "/api/v1/accounts/nobody", Value::Null, 404).await;
    let disable = json!({ "state": "disabled" });
    desk.ask_of(of, &root, "PATCH", "/api/v1/accounts/root", disable.clone(), 403).await;
    desk.ask_of(of, &root, "PATCH", "/api/v1/accounts/li.ming", json!({ "rolls": [] }), 400).await;
    desk.ask_of(of, &root, "PATCH", "/api/v1/accounts/li.ming", disable, 200).await;
    desk.ask(&li, "GET", "/api/v1/session", Value::Null, 401).await;
    let of = "/api/v1/accounts/{name}/password";
    let path = "/api/v1/accounts/li.ming/password";
    let reset = desk.ask_of(of, &root, "POST", path, Value::Null, 200).await.json();
    desk.secrets.push(reset["password"].as_str().unwrap().to_owned());
    desk.secrets.push(one_time);

    desk.ask(&root, "DELETE", "/api/v1/session", Value::Null, 204).await;
    desk.ask(&root, "GET", "/api/v1/session", Value::Null, 401).await;

    let mut documented = BTreeSet::new();
    for (path, operations) in desk.document["paths"].as_object().unwrap() {
        let of_people =
            operations.as_object().unwrap().iter().filter(|(_, what)| what["tags"][0] == "people");
        documented.extend(of_people.map(|(method, _)| format!("{} {path}", method.to_uppercase())));
    }
    assert_eq!(desk.asked, documented);
    desk.secrets
}

/// Passkeys registered, shown, renamed, removed; the last one by an admin. A session in which one was shown.
async fn with_passkeys(desk: &mut Desk, li: &str, root: &str) -> String {
    let (mut phone, spare) = (Authenticator::new(1, ORIGIN), Authenticator::new(2, ORIGIN));
    let wrong = json!({ "password": FIRST });
    desk.ask(li, "POST", "/api/v1/me/passkeys/options", wrong, 401).await;
    let path = desk.register(li, OWN, &phone).await;
    let li = desk.enter_with("li.ming", OWN, &mut phone).await;
    let of = "/api/v1/me/passkeys/{id}";
    desk.ask_of(of, &li, "PATCH", &path, json!({ "label": "旧手机" }), 204).await;
    let held = desk.ask(&li, "GET", "/api/v1/me/passkeys", Value::Null, 200).await.json();
    assert_eq!(held["items"][0]["label"], json!("旧手机"));
    let again = json!({ "password": OWN });
    let of = "/api/v1/me/passkeys/{id}/removal";
    desk.ask_of(of, &li, "POST", &format!("{path}/removal"), again.clone(), 403).await;
    let second = desk.register(&li, OWN, &spare).await;
    desk.ask_of(of, &li, "POST", &format!("{second}/removal"), again, 204).await;
    let id = path.rsplit_once('/').unwrap().1;
    let of = "/api/v1/accounts/{name}/passkeys/{id}";
    let lost = format!("/api/v1/accounts/li.ming/passkeys/{id}");
    desk.ask_of(of, root, "DELETE", &lost, Value::Null, 403).await;
    desk.register(root, FIRST, &Authenticator::new(3, ORIGIN)).await;
    desk.ask_of(of, root, "DELETE", &lost, Value::Null, 204).await;
    desk.ask_of(of, root, "DELETE", &lost, Value::Null, 404).await;
    desk.ask(&li, "GET", "/api/v1/session", Value::Null, 401).await;
    let li = desk.enter("li.ming", OWN).await;
    let me = desk.ask(&li, "GET", "/api/v1/session", Value::Null, 200).await.json();
    assert_eq!(me["passkey_ms"], Value::Null);
    desk.register(&li, OWN, &spare).await;
    li
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_at_the_office_leaves_nothing_secret_in_the_log() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("ingest.toml");
    std::fs::write(&file, format!("data = \"data\"\n[http]\norigin = \"{ORIGIN}\"\n")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ingest"))
        .args(["serve", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config"])
        .arg(file)
        .env("RUST_LOG", "trace")
        .env("NO_COLOR", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut addr) = (String::new(), None);
    let link = loop {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "no link was printed");
        if let Some((_, rest)) =
            line.split_once("ingest is serving").and_then(|(_, rest)| rest.split_once("http="))
        {
            addr = rest.split_whitespace().next().map(|addr| addr.parse().unwrap());
        }
        if let Some(at) = line.find("http://").filter(|_| line.contains("/first#")) {
            break line[at..].split_whitespace().next().unwrap().to_owned();
        }
    };
    // The log is read while it is written: a full pipe would stop the one who writes.
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        rest
    });
    let mut secrets = a_day_at_the_office(addr.expect("where it serves"), &link).await;
    secrets.push(link.split_once('#').unwrap().1.to_owned());
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success() && child.wait().unwrap().success());
    let log = rest.join().unwrap();
    assert!(log.contains("an account was created") && log.contains("INSERT INTO sessions"), "it says a lot");
    for secret in secrets {
        assert!(secret.len() > 8 && !log.contains(&secret), "{secret:?} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_pages_cannot_log_in_or_change_anything() {
    let city = City::start().await;
    let body = json!({ "name": "root", "password": FIRST }).to_string();
    let json = ("content-type", "application/json");
    for (header, status) in [
        (("origin", "https://evil.example"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-site"), 403),
        (("sec-fetch-site", "none"), 401),
    ] {
        let answer = ask(city.http(), "POST", "/api/v1/session", &[json, header], body.as_bytes()).await;
        assert_eq!(answer.status, status, "{header:?}: {}", answer.text());
    }
    let form = [("content-type", "text/plain")];
    let answer = ask(city.http(), "POST", "/api/v1/session", &form, body.as_bytes()).await;
    assert_eq!(answer.status, 415, "{}", answer.text());
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_waits() {
    let city = City::start().await;
    let body = json!({ "name": "root", "password": "guess" }).to_string();
    let headers = [("content-type", "application/json")];
    // A slow machine waits out the first pauses while it asks; they double.
    for _ in 0..12 {
        let answer = ask(city.http(), "POST", "/api/v1/session", &headers, body.as_bytes()).await;
        if answer.status == 429 {
            let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=300).contains(&seconds), "{seconds}");
            return city.stop().await;
        }
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    panic!("twelve guesses and no pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_accounts_outlive_a_restart() {
    let city = City::start().await;
    let link = city.server.first_link.clone().unwrap();
    let mut desk = Desk::at(city.http()).await;
    let token = link.split_once('#').unwrap().1;
    let begin = json!({ "token": token, "name": "root", "password": FIRST });
    desk.ask("", "POST", "/api/v1/first", begin, 201).await;
    let cookie = desk.enter("root", FIRST).await;
    let city = city.restarted().await;
    assert_eq!(city.server.first_link, None);
    let mut desk = Desk::at(city.http()).await;
    desk.ask(&cookie, "GET", "/api/v1/session", Value::Null, 200).await;
    desk.enter("root", FIRST).await;
    city.stop().await;
}
