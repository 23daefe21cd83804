//! The record layer of Lumera ALTS: records of XChaCha20-Poly1305 in both directions of a connection, under one key.
//!
//! A record is its length L and its type, little-endian in 4 bytes each, L - 20 bytes of ciphertext and a tag of 16; L
//! counts what follows it. Nobody authenticates the header. The number of a record is in its nonce, not on the wire:
//! one that is lost, repeated, moved or turned back does not open.

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Bytes of the expanded key: a cipher key of 32 and a nonce mask of 24, of which 12 are used.
pub const KEY_SIZE: usize = 56;
/// The largest L.
pub const MAX_LENGTH: usize = 1 << 20;
/// The smallest L: that of an empty record.
pub const MIN_LENGTH: usize = TYPE_SIZE + TAG_SIZE;
/// The most plaintext of a record.
pub const MAX_PAYLOAD: usize = MAX_LENGTH - MIN_LENGTH;
/// Empty records that may follow each other; they are work without progress.
pub const MAX_EMPTY: u32 = 16;

const LENGTH_SIZE: usize = 4;
const TYPE_SIZE: usize = 4;
const HEADER_SIZE: usize = LENGTH_SIZE + TYPE_SIZE;
const TAG_SIZE: usize = 16;
/// Bytes that a record has beside its plaintext.
const OVERHEAD: usize = HEADER_SIZE + TAG_SIZE;
const RECORD_TYPE: u32 = 6;
const MASK_SIZE: usize = 12;
/// In the last byte of a counter: the server sent the record.
const FROM_SERVER: u8 = 0x80;
const USED_UP: &str = "record numbers are used up";

/// What one direction of a connection seals and opens with.
struct Direction {
    key: Zeroizing<[u8; 32]>,
    /// The nonce of record 0, without the zeros that end it; a record's number is XORed into its first 8 bytes.
    nonce: Zeroizing<[u8; MASK_SIZE]>,
    /// The number of the next record; none after the last that there is.
    next: Option<u64>,
}

impl Direction {
    fn new(key: &[u8; KEY_SIZE], from_client: bool) -> Self {
        let mut direction = Self {
            key: Zeroizing::default(),
            nonce: Zeroizing::default(),
            next: Some(0),
        };
        direction.key.copy_from_slice(&key[..32]);
        direction.nonce.copy_from_slice(&key[32..32 + MASK_SIZE]);
        if !from_client {
            direction.nonce[MASK_SIZE - 1] ^= FROM_SERVER;
        }
        direction
    }

    fn number(&self) -> Result<u64> {
        self.next.ok_or_else(|| Error::record(USED_UP))
    }

    /// The first 16 of the 24 bytes of a record's nonce; the others are zero.
    fn nonce(&self, number: u64) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce[..MASK_SIZE].copy_from_slice(&*self.nonce);
        for (byte, step) in nonce.iter_mut().zip(number.to_le_bytes()) {
            *byte ^= step;
        }
        nonce
    }

    /// The key that XChaCha20 has for one record. Its own nonce, the rest of the record's, is zero. `ring` does not wipe
    /// it; the connection's key does not follow from it.
    fn cipher(&self, number: u64) -> Result<LessSafeKey> {
        let nonce = self.nonce(number);
        let key: Zeroizing<[u8; 32]> =
            Zeroizing::new(hchacha::<R20>((&*self.key).into(), (&nonce).into()).into());
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*key)
            .map_err(|_| Error::record(format!("record {number} has no key")))?;
        Ok(LessSafeKey::new(key))
    }

    /// Seals the next record, as a whole, into `out`.
    fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<()> {
        let number = self.number()?;
        let cipher = self.cipher(number)?;
        let length = (plaintext.len() + MIN_LENGTH) as u32;
        let (header, body) = out.split_at_mut(HEADER_SIZE);
        let (text, tag) = body.split_at_mut(plaintext.len());
        header[..LENGTH_SIZE].copy_from_slice(&length.to_le_bytes());
        header[LENGTH_SIZE..].copy_from_slice(&RECORD_TYPE.to_le_bytes());
        text.copy_from_slice(plaintext);
        let made = cipher
            .seal_in_place_separate_tag(zero_nonce(), Aad::empty(), text)
            .map_err(|_| Error::record(format!("record {number} cannot be sealed")))?;
        tag.copy_from_slice(made.as_ref());
        self.next = number.checked_add(1);
        Ok(())
    }

    /// Opens the next record, given as a whole, into `out`, which has the size of its plaintext.
    fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<()> {
        let number = self.number()?;
        let cipher = self.cipher(number)?;
        let forged = || Error::record(format!("record {number} does not authenticate"));
        let (ciphertext, tag) = record[HEADER_SIZE..].split_at(out.len());
        let tag = Tag::try_from(tag).map_err(|_| forged())?;
        out.copy_from_slice(ciphertext);
        cipher
            .open_in_place_separate_tag(zero_nonce(), Aad::empty(), tag, out, 0..)
            .map_err(|_| forged())?;
        self.next = number.checked_add(1);
        Ok(())
    }
}

/// The nonce under a key that seals one record only.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Makes the records of one direction.
pub struct Sealer {
    direction: Direction,
    payload: usize,
}

impl Sealer {
    /// For an expanded key, and records of at most `payload` bytes of plaintext.
    pub fn new(key: &[u8; KEY_SIZE], from_client: bool, payload: usize) -> Result<Self> {
        if !(1..=MAX_PAYLOAD).contains(&payload) {
            return Err(Error::input(format!(
                "a record has 1 to {MAX_PAYLOAD} bytes of plaintext, not {payload}"
            )));
        }
        Ok(Self {
            direction: Direction::new(key, from_client),
            payload,
        })
    }

    /// Bytes of the records of so much plaintext.
    pub fn sealed_size(&self, size: usize) -> usize {
        size.saturating_add(size.div_ceil(self.payload).saturating_mul(OVERHEAD))
    }

    /// Seals all of `data` into `out`, which has `sealed_size` bytes. After a failure nothing of `out` may be sent.
    pub fn seal(&mut self, data: &[u8], out: &mut [u8]) -> Result<()> {
        let records = out.chunks_mut(self.payload + OVERHEAD);
        for (plaintext, record) in data.chunks(self.payload).zip(records) {
            self.direction.seal(plaintext, record)?;
        }
        Ok(())
    }
}

/// Opens the records of one direction, from a stream that comes in any pieces.
///
/// What comes out and how it ends depend on the bytes alone, not on the pieces. The plaintext in front of a bad record
/// is given, even where both came in one call; then every call fails, with the same error.
pub struct Opener {
    direction: Direction,
    /// A record that has begun, or no bytes.
    held: Vec<u8>,
    /// Empty records since the last that was not.
    empty: u32,
    failure: Option<String>,
}

impl Opener {
    /// For an expanded key.
    pub fn new(key: &[u8; KEY_SIZE], from_client: bool) -> Self {
        Self {
            direction: Direction::new(key, from_client),
            held: Vec::new(),
            empty: 0,
            failure: None,
        }
    }

    /// Bytes there are of a record that has begun; 0 between records, and never 0 after a failure.
    pub fn pending(&self) -> usize {
        match self.failure {
            // No record fails before its length is there.
            Some(_) => LENGTH_SIZE,
            None => self.held.len(),
        }
    }

    /// Records opened so far.
    pub fn opened(&self) -> u64 {
        self.direction.next.unwrap_or(u64::MAX)
    }

    /// Bytes of plaintext that `open` gives for `data` if all its records are good.
    pub fn opened_size(&self, data: &[u8]) -> usize {
        let mut rest = data;
        let mut size = 0;
        if self.failure.is_some() {
            return 0;
        }
        if !self.held.is_empty() {
            let head: Vec<u8> = self
                .held
                .iter()
                .chain(data)
                .take(HEADER_SIZE)
                .copied()
                .collect();
            let Ok(reach) = self.reach(&head) else {
                return 0;
            };
            match reach
                .checked_sub(self.held.len())
                .and_then(|n| data.get(n..))
            {
                Some(behind) if reach > HEADER_SIZE => rest = behind,
                _ => return 0,
            }
            size = reach - OVERHEAD;
        }
        while let Ok(reach) = self.reach(rest)
            && let Some(behind) = rest.get(reach..)
        {
            rest = behind;
            size += reach - OVERHEAD;
        }
        size
    }

    /// Takes the next bytes of the stream; writes the plaintext of the records that are complete now to `out`, which
    /// has at least `opened_size` bytes, and gives its length. What is behind that in `out` is nothing.
    pub fn open(&mut self, data: &[u8], out: &mut [u8]) -> Result<usize> {
        let mut at = 0;
        if self.failure.is_none()
            && let Err(error) = self.advance(data, out, &mut at)
        {
            self.failure = Some(error.to_string());
            self.held = Vec::new();
        }
        match &self.failure {
            Some(failure) if at == 0 => Err(Error::record(failure.clone())),
            _ => Ok(at),
        }
    }

    fn advance(&mut self, mut data: &[u8], out: &mut [u8], at: &mut usize) -> Result<()> {
        while !self.held.is_empty() {
            let reach = self.reach(&self.held)?;
            let missing = reach.saturating_sub(self.held.len());
            if missing == 0 {
                let record = std::mem::take(&mut self.held);
                self.open_record(&record, out, at)?;
                self.held = record;
                self.held.clear();
            } else if data.is_empty() {
                return Ok(());
            } else {
                let (next, rest) = data.split_at(missing.min(data.len()));
                self.held.reserve_exact(missing);
                self.held.extend_from_slice(next);
                data = rest;
            }
        }
        loop {
            let reach = self.reach(data)?;
            let Some((record, rest)) = data.split_at_checked(reach) else {
                self.held.extend_from_slice(data);
                return Ok(());
            };
            self.open_record(record, out, at)?;
            data = rest;
        }
    }

    fn open_record(&mut self, record: &[u8], out: &mut [u8], at: &mut usize) -> Result<()> {
        let end = *at + record.len() - OVERHEAD;
        let number = self.direction.number()?;
        self.direction.open(record, &mut out[*at..end])?;
        self.empty = if end == *at { self.empty + 1 } else { 0 };
        if self.empty > MAX_EMPTY {
            return Err(Error::record(format!(
                "record {number} is the {}th empty one in a row",
                self.empty
            )));
        }
        *at = end;
        Ok(())
    }

    /// How many bytes of the next record, of which these are the first, have to be there before more can be said: those
    /// of its length, of its header, or all of it. A header is refused as soon as it can be.
    fn reach(&self, record: &[u8]) -> Result<usize> {
        let Some((length, rest)) = record.split_first_chunk::<LENGTH_SIZE>() else {
            return Ok(LENGTH_SIZE);
        };
        let number = self.direction.number()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length < MIN_LENGTH {
            return Err(Error::record(format!(
                "record {number} claims {length} bytes, fewer than the {MIN_LENGTH} that the smallest has"
            )));
        }
        if length > MAX_LENGTH {
            return Err(Error::record(format!(
                "record {number} claims {length} bytes, more than the {MAX_LENGTH} that the largest has"
            )));
        }
        let Some((kind, _)) = rest.split_first_chunk::<TYPE_SIZE>() else {
            return Ok(HEADER_SIZE);
        };
        let kind = u32::from_le_bytes(*kind);
        if kind != RECORD_TYPE {
            return Err(Error::record(format!(
                "record {number} is of type {kind}, not {RECORD_TYPE}"
            )));
        }
        Ok(LENGTH_SIZE + length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// That of the nonces in tests/vectors/secure_rpc.json.
    const MASK: [u8; MASK_SIZE] = [
        0x4b, 0xd6, 0x15, 0xf0, 0xf2, 0x27, 0x74, 0x7d, 0x20, 0xad, 0x4e, 0xb0,
    ];

    fn key() -> [u8; KEY_SIZE] {
        let mut key = [0x5a; KEY_SIZE];
        key[32..44].copy_from_slice(&MASK);
        key
    }

    fn sealer(next: u64) -> Sealer {
        let mut sealer = Sealer::new(&key(), true, 3).unwrap();
        sealer.direction.next = Some(next);
        sealer
    }

    fn opener(next: u64) -> Opener {
        let mut opener = Opener::new(&key(), true);
        opener.direction.next = Some(next);
        opener
    }

    fn sealed(sealer: &mut Sealer, data: &[u8]) -> Result<Vec<u8>> {
        let mut out = vec![0; sealer.sealed_size(data.len())];
        sealer.seal(data, &mut out)?;
        Ok(out)
    }

    fn opened(opener: &mut Opener, data: &[u8]) -> Result<Vec<u8>> {
        let mut out = vec![0; opener.opened_size(data)];
        let size = opener.open(data, &mut out)?;
        out.truncate(size);
        Ok(out)
    }

    #[test]
    fn nonces_are_those_of_the_vectors() {
        let cases = [
            (0, "4bd615f0f227747d20ad4eb0", "4bd615f0f227747d20ad4e30"),
            (1, "4ad615f0f227747d20ad4eb0", "4ad615f0f227747d20ad4e30"),
            (255, "b4d615f0f227747d20ad4eb0", "b4d615f0f227747d20ad4e30"),
            (256, "4bd715f0f227747d20ad4eb0", "4bd715f0f227747d20ad4e30"),
            (
                65_535,
                "b42915f0f227747d20ad4eb0",
                "b42915f0f227747d20ad4e30",
            ),
            (
                65_536,
                "4bd614f0f227747d20ad4eb0",
                "4bd614f0f227747d20ad4e30",
            ),
            (
                1 << 32,
                "4bd615f0f327747d20ad4eb0",
                "4bd615f0f327747d20ad4e30",
            ),
            (
                u64::MAX,
                "b429ea0f0dd88b8220ad4eb0",
                "b429ea0f0dd88b8220ad4e30",
            ),
        ];
        for (number, client, server) in cases {
            for (from_client, text) in [(true, client), (false, server)] {
                let nonce = Direction::new(&key(), from_client).nonce(number);
                let made: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(made, format!("{text}00000000"));
            }
        }
    }

    #[test]
    fn the_last_number_is_used_and_none_after_it() {
        let last = sealed(&mut sealer(u64::MAX), b"end").unwrap();
        let mut full = sealer(u64::MAX - 1);
        assert_eq!(sealed(&mut full, b"one").unwrap().len(), 27);
        assert_eq!(sealed(&mut full, b"end").unwrap(), last);
        for _ in 0..2 {
            let error = sealed(&mut full, b"more").unwrap_err();
            assert_eq!(error.to_string(), USED_UP);
            assert!(sealed(&mut full, b"").unwrap().is_empty());
        }
        let mut over = sealer(u64::MAX);
        assert!(sealed(&mut over, b"four").is_err());
        assert!(sealed(&mut over, b"end").is_err());

        let mut reader = opener(u64::MAX);
        assert_eq!(opened(&mut reader, &last).unwrap(), b"end");
        assert_eq!(reader.pending(), 0);
        assert_eq!(opened(&mut reader, &last[..3]).unwrap(), b"");
        for _ in 0..2 {
            let error = opened(&mut reader, &last[3..]).unwrap_err();
            assert_eq!(error.to_string(), USED_UP);
            assert_ne!(reader.pending(), 0);
        }
        let mut at_once = opener(u64::MAX);
        let twice = [&last[..], &last[..]].concat();
        assert_eq!(opened(&mut at_once, &twice).unwrap(), b"end");
        let error = opened(&mut at_once, b"").unwrap_err();
        assert_eq!(error.to_string(), USED_UP);
    }

    #[test]
    fn a_number_is_used_by_a_record_that_opens_only() {
        let mut wrong = sealed(&mut sealer(7), b"abc").unwrap();
        wrong[9] ^= 1;
        let mut direction = Direction::new(&key(), true);
        direction.next = Some(7);
        assert!(direction.open(&wrong, &mut [0; 3]).is_err());
        assert_eq!(direction.next, Some(7));
        wrong[9] ^= 1;
        assert!(direction.open(&wrong, &mut [0; 3]).is_ok());
        assert_eq!(direction.next, Some(8));
    }

    #[test]
    fn nothing_is_set_aside_for_a_record_whose_header_is_refused() {
        for head in [
            [0x01, 0, 0x10, 0, 6, 0, 0, 0],
            [0xff; 8],
            [0x13, 0, 0, 0, 6, 0, 0, 0],
            [0, 0, 0x10, 0, 6, 0, 0, 1],
        ] {
            for at in 0..4 {
                let mut reader = opener(0);
                assert_eq!(opened(&mut reader, &head[..at]).unwrap(), b"");
                assert!(reader.held.capacity() < 64);
                assert!(opened(&mut reader, &head[at..]).is_err());
                assert_eq!(reader.held.capacity(), 0);
            }
        }
    }

    #[test]
    fn at_most_one_record_is_held() {
        let mut largest = Sealer::new(&key(), true, MAX_PAYLOAD).unwrap();
        let stream = sealed(&mut largest, &vec![1; 2 * MAX_PAYLOAD]).unwrap();
        let mut reader = opener(0);
        let mut size = 0;
        for piece in stream.chunks(70_001) {
            size += opened(&mut reader, piece).unwrap().len();
            assert!(reader.held.capacity() <= LENGTH_SIZE + MAX_LENGTH);
        }
        assert_eq!((size, reader.pending()), (2 * MAX_PAYLOAD, 0));
    }
}
