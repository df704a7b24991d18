//! Key files: the master key, sealed with a key derived from a password.
//!
//! A repository has one master key and any number of passwords; each password has a key file, plain JSON whose `data`
//! is the master key in the envelope of [`super::crypto`]. Adding or removing a password never re-encrypts any data.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chrono::SecondsFormat;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::crypto::CipherKey;
use super::error::RepoError;
use crate::clock::Clock;

/// The cost of a new key: 2^15, 32 MiB and about a tenth of a second, what restic falls back to.
const LOG_N: u8 = 15;
const R: u32 = 8;
const P: u32 = 1;
/// The most memory a key file may ask for, so that a forged one cannot exhaust the machine.
const MAX_MEMORY: u64 = 4 << 30;

/// A key file as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyFile {
    /// When it was made, RFC 3339.
    pub created: String,
    /// Who made it.
    pub username: String,
    /// On which machine.
    pub hostname: String,
    /// The derivation, always `scrypt`.
    pub kdf: String,
    /// scrypt's cost.
    #[serde(rename = "N")]
    pub n: u64,
    /// scrypt's block size.
    pub r: u32,
    /// scrypt's parallelism.
    pub p: u32,
    /// The salt, base64.
    pub salt: String,
    /// The sealed master key, base64.
    pub data: String,
}

#[derive(Serialize, Deserialize)]
struct MasterJson {
    mac: MacJson,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacJson {
    k: String,
    r: String,
}

/// Why a key file did not open.
#[derive(Debug)]
pub(crate) enum KeyFailure {
    /// It is sound, the password is another one.
    Password,
    /// It is not a key file any more.
    Damaged(String),
}

impl KeyFile {
    /// Seals `master` for a new password.
    pub(crate) fn create(master: &CipherKey, password: &SecretString, clock: &Clock) -> Result<Self, RepoError> {
        let mut salt = [0; 64];
        getrandom::fill(&mut salt).map_err(|error| RepoError::internal(format!("no randomness: {error}")))?;
        let derived = derive(password, &salt, LOG_N, R, P).map_err(RepoError::internal)?;
        let (encrypt, k, r) = master.parts();
        let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let plain = MasterJson {
            mac: MacJson {
                k: encode(k),
                r: encode(r),
            },
            encrypt: encode(encrypt),
        };
        let plain = serde_json::to_vec(&plain).map_err(|error| RepoError::internal(error.to_string()))?;
        let data = derived
            .seal(&plain)
            .map_err(|error| RepoError::internal(error.to_string()))?;
        Ok(Self {
            created: clock.now().to_rfc3339_opts(SecondsFormat::Nanos, true),
            username: super::host::username(),
            hostname: super::host::hostname(),
            kdf: "scrypt".to_owned(),
            n: 1 << LOG_N,
            r: R,
            p: P,
            salt: encode(&salt),
            data: encode(&data),
        })
    }

    /// Derives a key from the password and opens the master key with it.
    pub(crate) fn open(&self, password: &SecretString) -> Result<CipherKey, KeyFailure> {
        let damaged = |what: &str| KeyFailure::Damaged(what.to_owned());
        if self.kdf != "scrypt" {
            return Err(KeyFailure::Damaged(format!("unknown key derivation {:?}", self.kdf)));
        }
        if !self.n.is_power_of_two() || self.n.saturating_mul(u64::from(self.r)).saturating_mul(128) > MAX_MEMORY {
            return Err(damaged("impossible scrypt parameters"));
        }
        let log_n = u8::try_from(self.n.trailing_zeros()).map_err(|_| damaged("impossible scrypt parameters"))?;
        let salt = BASE64_STANDARD
            .decode(&self.salt)
            .map_err(|_| damaged("the salt is not base64"))?;
        let data = BASE64_STANDARD
            .decode(&self.data)
            .map_err(|_| damaged("the sealed key is not base64"))?;
        let derived = derive(password, &salt, log_n, self.r, self.p).map_err(KeyFailure::Damaged)?;
        let plain = derived.open(&data).map_err(|_| KeyFailure::Password)?;
        let json: MasterJson = serde_json::from_slice(&plain).map_err(|_| damaged("the master key is not JSON"))?;
        let mut master = [0; 64];
        let parts = [(&json.encrypt, 0..32), (&json.mac.k, 32..48), (&json.mac.r, 48..64)];
        for (text, range) in parts {
            let bytes = BASE64_STANDARD
                .decode(text)
                .map_err(|_| damaged("the master key is not base64"))?;
            if bytes.len() != range.len() {
                return Err(damaged("the master key has the wrong length"));
            }
            master[range].copy_from_slice(&bytes);
        }
        Ok(CipherKey::new(master))
    }
}

fn derive(password: &SecretString, salt: &[u8], log_n: u8, r: u32, p: u32) -> Result<CipherKey, String> {
    let params = scrypt::Params::new(log_n, r, p).map_err(|error| format!("impossible scrypt parameters: {error}"))?;
    let mut bytes = [0; 64];
    scrypt::scrypt(password.expose_secret().as_bytes(), salt, &params, &mut bytes)
        .map_err(|error| format!("scrypt: {error}"))?;
    Ok(CipherKey::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_its_own_key_only() {
        let master = CipherKey::random().unwrap();
        let password = SecretString::from("correct horse".to_owned());
        let file = KeyFile::create(&master, &password, &Clock::system()).unwrap();
        let text = serde_json::to_string(&file).unwrap();
        let file: KeyFile = serde_json::from_str(&text).unwrap();
        assert_eq!(file.open(&password).unwrap().parts(), master.parts());
        assert!(matches!(
            file.open(&SecretString::from("wrong".to_owned())),
            Err(KeyFailure::Password)
        ));
    }

    #[test]
    fn a_forged_key_cannot_exhaust_the_memory() {
        let master = CipherKey::random().unwrap();
        let password = SecretString::from("p".to_owned());
        let mut file = KeyFile::create(&master, &password, &Clock::system()).unwrap();
        for n in [1 << 40, 12345, 0, u64::MAX] {
            file.n = n;
            assert!(matches!(file.open(&password), Err(KeyFailure::Damaged(_))), "N = {n}");
        }
    }
}
