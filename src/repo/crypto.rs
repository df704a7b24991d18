//! The envelope around everything stored: `IV(16) ‖ AES-256-CTR ciphertext ‖ Poly1305-AES MAC(16)`.

use aes256ctr_poly1305aes::aead::AeadInPlace;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, Tag};
use secrecy::zeroize::Zeroize;

/// The bytes before the ciphertext.
pub const IV_SIZE: usize = 16;
/// The bytes after it.
pub const MAC_SIZE: usize = 16;
/// What the envelope adds to the plain bytes.
pub const OVERHEAD: usize = IV_SIZE + MAC_SIZE;

/// The bytes do not carry a MAC made with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAuthentic;

/// A key of 64 bytes: 32 for AES-256-CTR, then `k` and `r` of Poly1305-AES.
#[derive(Clone)]
pub struct CipherKey(Box<[u8; 64]>);

impl std::fmt::Debug for CipherKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CipherKey(secret)")
    }
}

impl Drop for CipherKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl CipherKey {
    /// Takes a key in the order encrypt, k, r.
    pub fn new(bytes: [u8; 64]) -> Self {
        Self(Box::new(bytes))
    }

    /// Makes a new random key.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)?;
        // Poly1305 ignores these bits of `r`; restic refuses keys in which they are set.
        for index in [3, 7, 11, 15] {
            bytes[48 + index] &= 0x0f;
        }
        for index in [4, 8, 12] {
            bytes[48 + index] &= 0xfc;
        }
        Ok(Self::new(bytes))
    }

    /// The parts: encrypt, k, r.
    pub fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.0[..32], &self.0[32..48], &self.0[48..])
    }

    fn cipher(&self) -> Aes256CtrPoly1305Aes {
        Aes256CtrPoly1305Aes::new(Key::from_slice(self.0.as_slice()))
    }

    /// Seals a copy of `plain`.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, getrandom::Error> {
        let mut buffer = vec![0; plain.len() + OVERHEAD];
        buffer[IV_SIZE..IV_SIZE + plain.len()].copy_from_slice(plain);
        self.seal_slice(&mut buffer)?;
        Ok(buffer)
    }

    /// Seals in place: the plain bytes stand between room for the IV and room for the MAC.
    pub fn seal_slice(&self, buffer: &mut [u8]) -> Result<(), getrandom::Error> {
        let inner = buffer
            .len()
            .checked_sub(OVERHEAD)
            .expect("the buffer has room for the envelope");
        let mut nonce = [0; IV_SIZE];
        getrandom::fill(&mut nonce)?;
        let (iv, rest) = buffer.split_at_mut(IV_SIZE);
        let (plain, mac) = rest.split_at_mut(inner);
        iv.copy_from_slice(&nonce);
        let tag = self
            .cipher()
            .encrypt_in_place_detached(Nonce::from_slice(&nonce), b"", plain)
            .expect("without associated data this cipher accepts any length");
        mac.copy_from_slice(&tag);
        Ok(())
    }

    /// Opens an envelope, in place when `sealed` is a vector of the caller's.
    pub fn open_in_place<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], NotAuthentic> {
        let inner = sealed.len().checked_sub(OVERHEAD).ok_or(NotAuthentic)?;
        let (iv, rest) = sealed.split_at_mut(IV_SIZE);
        let (data, tag) = rest.split_at_mut(inner);
        self.cipher()
            .decrypt_in_place_detached(Nonce::from_slice(iv), b"", data, Tag::from_slice(tag))
            .map_err(|_| NotAuthentic)?;
        Ok(data)
    }

    /// Opens an envelope into a new vector.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        let mut copy = sealed.to_vec();
        let length = self.open_in_place(&mut copy)?.len();
        copy.copy_within(IV_SIZE..IV_SIZE + length, 0);
        copy.truncate(length);
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let key = CipherKey::random().unwrap();
        for length in [0, 1, 15, 16, 17, 4096] {
            let plain: Vec<u8> = (0..=255u8).cycle().take(length).collect();
            let sealed = key.seal(&plain).unwrap();
            assert_eq!(sealed.len(), length + OVERHEAD);
            assert_eq!(key.open(&sealed).unwrap(), plain);
            for at in [0, sealed.len() / 2, sealed.len() - 1] {
                let mut bad = sealed.clone();
                bad[at] ^= 1;
                assert_eq!(key.open(&bad), Err(NotAuthentic), "bit {at} of {length}");
            }
            assert!(key.open(&sealed[1..]).is_err());
        }
        assert!(key.open(b"short").is_err());
        assert!(CipherKey::random().unwrap().open(&key.seal(b"x").unwrap()).is_err());
    }
}
