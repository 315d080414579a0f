//! A passkey in software, as an authenticator and a browser would answer for it: Web Authentication §5.8.1, §6.1, §6.5.
//! Every part can be told to lie.

use base64ct::{Base64UrlUnpadded as Base64, Encoding};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

/// One passkey.
#[derive(Clone)]
pub(crate) struct Authenticator {
    key: SigningKey,
    id: Vec<u8>,
    /// The page it believes to be on.
    pub(crate) origin: String,
    /// The site it believes to answer.
    pub(crate) rp_id: String,
    /// Whether it says that it has verified its owner.
    pub(crate) verifies: bool,
    /// Uses so far.
    pub(crate) counter: u32,
}

impl Authenticator {
    /// A passkey of its own for each `seed` above 0.
    pub(crate) fn new(seed: u8, origin: &str) -> Self {
        let host = origin.split_once("://").unwrap().1;
        Self {
            key: SigningKey::from_slice(&[seed; 32]).unwrap(),
            id: vec![seed; 16],
            origin: origin.into(),
            rp_id: host.split(':').next().unwrap().into(),
            verifies: true,
            counter: 0,
        }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({ "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false })
            .to_string()
            .into_bytes()
    }

    /// The site, what was done (present, verified, with a new key), the counter.
    fn head(&self, is_new: bool) -> Vec<u8> {
        let mut data: Vec<u8> = digest(&[self.rp_id.as_bytes()]).to_vec();
        data.push(0x01 | u8::from(self.verifies) << 2 | u8::from(is_new) << 6);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// Answers `navigator.credentials.create`.
    pub(crate) fn create(&self, options: &Value) -> Value {
        let mut data = self.head(true);
        data.extend([0; 16]);
        data.extend((self.id.len() as u16).to_be_bytes());
        data.extend(&self.id);
        // {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}
        let point = self.key.verifying_key().to_sec1_point(false);
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(point.x().unwrap());
        data.extend([0x22, 0x58, 0x20]);
        data.extend(point.y().unwrap());
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        self.credential(json!({
            "attestationObject": Base64::encode_string(&object),
            "clientDataJSON": Base64::encode_string(&self.client_data("webauthn.create", options)),
            "transports": ["internal"],
        }))
    }

    /// Answers `navigator.credentials.get`.
    pub(crate) fn get(&mut self, options: &Value) -> Value {
        self.counter += 1;
        let (data, client) = (self.head(false), self.client_data("webauthn.get", options));
        let signature: Signature = self.key.sign(&[&data[..], &digest(&[&client])].concat());
        self.credential(json!({
            "authenticatorData": Base64::encode_string(&data),
            "clientDataJSON": Base64::encode_string(&client),
            "signature": Base64::encode_string(signature.to_der().as_bytes()),
            "userHandle": null,
        }))
    }

    fn credential(&self, response: Value) -> Value {
        let id = Base64::encode_string(&self.id);
        json!({ "id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": {} })
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    seal::keys::digest(parts).into()
}
