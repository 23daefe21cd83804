//! The record layer of Lumera ALTS: records of XChaCha20-Poly1305 in both directions of a connection, under one key.
//!
//! A record is its length L and its type, little-endian in 4 bytes each, L - 20 bytes of ciphertext and a tag of 16; L
//! counts what follows it. Nobody authenticates the header. The number of a record is in its nonce, not on the wire:
//! one that is lost, repeated, moved or turned back does not open.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroize;

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
    cipher: XChaCha20Poly1305,
    /// The nonce of record 0; a record's number is XORed into its first 8 bytes.
    nonce: [u8; MASK_SIZE],
    /// The number of the next record; none after the last that there is.
    next: Option<u64>,
}

impl Direction {
    fn new(key: &[u8; KEY_SIZE], from_client: bool) -> Self {
        let (cipher, mask) = key.split_at(32);
        let mut nonce = [0; MASK_SIZE];
        nonce.copy_from_slice(&mask[..MASK_SIZE]);
        if !from_client {
            nonce[MASK_SIZE - 1] ^= FROM_SERVER;
        }
        let mut owned = Key::default();
        owned.copy_from_slice(cipher);
        let direction = Self {
            cipher: XChaCha20Poly1305::new(&owned),
            nonce,
            next: Some(0),
        };
        owned.zeroize();
        direction
    }

    fn number(&self) -> Result<u64> {
        self.next.ok_or_else(|| Error::record(USED_UP))
    }

    fn nonce(&self, number: u64) -> XNonce {
        let mut nonce = XNonce::default();
        nonce[..MASK_SIZE].copy_from_slice(&self.nonce);
        for (byte, step) in nonce.iter_mut().zip(number.to_le_bytes()) {
            *byte ^= step;
        }
        nonce
    }

    /// Seals the next record, as a whole, into `out`.
    fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<()> {
        let number = self.number()?;
        let length = (plaintext.len() + MIN_LENGTH) as u32;
        let (header, body) = out.split_at_mut(HEADER_SIZE);
        let (ciphertext, tag) = body.split_at_mut(plaintext.len());
        header[..LENGTH_SIZE].copy_from_slice(&length.to_le_bytes());
        header[LENGTH_SIZE..].copy_from_slice(&RECORD_TYPE.to_le_bytes());
        let buffer = InOutBuf::new(plaintext, ciphertext)
            .map_err(|_| Error::record("a record has no room"))?;
        let made = self
            .cipher
            .encrypt_inout_detached(&self.nonce(number), &[], buffer)
            .map_err(|_| Error::record(format!("record {number} cannot be sealed")))?;
        tag.copy_from_slice(&made);
        self.next = number.checked_add(1);
        Ok(())
    }

    /// Opens the next record into `out`, which has the bytes of its plaintext.
    fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<()> {
        let number = self.number()?;
        let (ciphertext, tag) = record[HEADER_SIZE..].split_at(out.len());
        let forged = || Error::record(format!("record {number} does not authenticate"));
        let tag = Tag::try_from(tag).map_err(|_| forged())?;
        let buffer = InOutBuf::new(ciphertext, out).map_err(|_| forged())?;
        self.cipher
            .decrypt_inout_detached(&self.nonce(number), &[], buffer, &tag)
            .map_err(|_| forged())?;
        self.next = number.checked_add(1);
        Ok(())
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        // The cipher wipes its own key.
        self.nonce.zeroize();
    }
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
