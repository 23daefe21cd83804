//! Account keys: ECDSA over secp256k1 on 32-byte digests, the digests that addresses and signatures need, bech32.

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use sha3::Digest as _;

use crate::error::{Error, Result};

/// Keccak-256, the pre-standard variant.
pub fn keccak256(data: &[u8]) -> [u8; 32] {
    sha3::Keccak256::digest(data).into()
}

/// RIPEMD-160.
pub fn ripemd160(data: &[u8]) -> [u8; 20] {
    ripemd::Ripemd160::digest(data).into()
}

/// The compressed public key (33 bytes) of a private key.
pub fn public_key(private: &[u8; 32]) -> Result<Vec<u8>> {
    let key = signing_key(private)?;
    Ok(key.verifying_key().to_sec1_point(true).as_bytes().to_vec())
}

/// The uncompressed point (x, y; 64 bytes) of a compressed public key.
pub fn point(public: &[u8]) -> Result<Vec<u8>> {
    let key = verifying_key(public)?;
    Ok(key.to_sec1_point(false).as_bytes()[1..].to_vec())
}

/// A deterministic (RFC 6979 with SHA-256), low-S signature r, s, v; v is 0 or 1.
pub fn sign(private: &[u8; 32], digest: &[u8; 32]) -> Result<[u8; 65]> {
    let (signature, recovery) = signing_key(private)?.sign_prehash_recoverable(digest);
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = recovery.to_byte();
    Ok(bytes)
}

/// Whether a 64-byte signature, S in the lower half, is this key's over the digest.
pub fn verify(public: &[u8], digest: &[u8; 32], signature: &[u8; 64]) -> Result<bool> {
    let key = verifying_key(public)?;
    Ok(low_s(signature).is_some_and(|signature| key.verify_prehash(digest, &signature).is_ok()))
}

/// The compressed keys that a 64-byte signature over the digest can be of: at most two in practice, none where it is
/// not a signature.
pub fn recover(digest: &[u8; 32], signature: &[u8; 64]) -> Vec<Vec<u8>> {
    let Some(signature) = low_s(signature) else {
        return Vec::new();
    };
    (0..4)
        .filter_map(RecoveryId::from_byte)
        .filter_map(|id| VerifyingKey::recover_from_prehash(digest, &signature, id).ok())
        .map(|key| key.to_sec1_point(true).as_bytes().to_vec())
        .collect()
}

/// Bech32 text of an address.
pub fn bech32_encode(prefix: &str, data: &[u8]) -> Result<String> {
    let prefix =
        Hrp::parse(prefix).map_err(|error| Error::input(format!("address prefix: {error}")))?;
    bech32::encode::<Bech32>(prefix, data).map_err(|error| Error::input(format!("bech32: {error}")))
}

/// Prefix and bytes of a bech32 address.
pub fn bech32_decode(text: &str) -> Result<(String, Vec<u8>)> {
    let parsed = CheckedHrpstring::new::<Bech32>(text)
        .map_err(|error| Error::input(format!("{text:?} is not a bech32 address: {error}")))?;
    let prefix = parsed.hrp().to_lowercase();
    let data: Vec<u8> = parsed.byte_iter().collect();
    // The reader takes any padding behind the last byte; an address has one spelling.
    if bech32_encode(&prefix, &data)? != text.to_lowercase() {
        return Err(Error::input(format!(
            "{text:?} is not a bech32 address: its padding is not zero, or too long"
        )));
    }
    Ok((prefix, data))
}

fn low_s(signature: &[u8; 64]) -> Option<Signature> {
    let parsed = Signature::from_slice(signature).ok()?;
    (parsed.normalize_s() == parsed).then_some(parsed)
}

fn signing_key(private: &[u8; 32]) -> Result<SigningKey> {
    // The cause is left out: nothing about a private key belongs in a message.
    SigningKey::from_slice(private).map_err(|_| Error::input("not a secp256k1 private key"))
}

fn verifying_key(public: &[u8]) -> Result<VerifyingKey> {
    if public.len() != 33 || !matches!(public[0], 2 | 3) {
        return Err(Error::input(format!(
            "a compressed secp256k1 key has 33 bytes and begins with 2 or 3; these are {} bytes",
            public.len()
        )));
    }
    VerifyingKey::from_sec1_bytes(public)
        .map_err(|_| Error::input("these 33 bytes are not a point of secp256k1"))
}
