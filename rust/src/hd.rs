//! Account keys from mnemonics: BIP-39 to a seed, BIP-32 to the key. No message says a word of the mnemonic.

use bip32::{ChildNumber, XPrv};
use bip39::{Language, Mnemonic};

use crate::error::{Error, Result};

/// The private key at a path such as `m/44'/60'/0'/0/0`, of an English mnemonic with an empty BIP-39 passphrase.
///
/// The words stand between white space of any amount, in lower case and in full.
pub fn private_key(mnemonic: &[u8], path: &str) -> Result<[u8; 32]> {
    let steps = steps(path)?;
    let text =
        std::str::from_utf8(mnemonic).map_err(|_| Error::input("the mnemonic is not UTF-8"))?;
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, text).map_err(reason)?;
    let root = XPrv::new(&mnemonic.to_seed_normalized(""));
    let key = steps
        .into_iter()
        .fold(root, |key, step| key?.derive_child(step));
    // The cause is left out: nothing about a private key belongs in a message.
    key.map(|key| key.to_bytes())
        .map_err(|_| Error::input("the mnemonic has no key at this path"))
}

/// The steps of a path behind its `m`.
fn steps(path: &str) -> Result<Vec<ChildNumber>> {
    let parsed = path
        .strip_prefix("m/")
        .and_then(|steps| steps.split('/').map(|step| step.parse().ok()).collect());
    parsed.ok_or_else(|| Error::input(format!("{path:?} is not a derivation path")))
}

fn reason(error: bip39::Error) -> Error {
    Error::input(match error {
        bip39::Error::BadWordCount(words) => {
            format!("a mnemonic has 12, 15, 18, 21 or 24 words, not {words}")
        }
        bip39::Error::UnknownWord(at) => {
            format!("word {} of the mnemonic is not in the English list", at + 1)
        }
        bip39::Error::InvalidChecksum => {
            "the mnemonic's check sum is wrong: a word is mistyped or misplaced".to_owned()
        }
        bip39::Error::BadEntropyBitCount(_) | bip39::Error::AmbiguousLanguages(_) => {
            "not a mnemonic".to_owned()
        }
    })
}
