//! Id files: a signed text with a counter behind it, compressed by zstd. Their keys are hashes of the compressed bytes,
//! so the compressor is part of the format (docs/formats.md, "Id files").

use std::io::Read;

use rayon::prelude::*;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::job::{Job, Phase};

/// The C library that the network's ids were made with, as ZSTD_versionNumber gives it: 1.5.7.
pub const ZSTD_VERSION: u32 = 10_507;
const LEVEL: i32 = 3;

/// The version of the C library that is linked in.
pub fn zstd_version() -> u32 {
    zstd_safe::version_number()
}

/// The id file of one counter: one-shot zstd, level 3, content size present, no checksum.
pub fn compress(text: &[u8], counter: u64) -> Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(text.len() + 21);
    payload.extend_from_slice(text);
    payload.push(b'.');
    payload.extend_from_slice(counter.to_string().as_bytes());
    zstd::bulk::compress(&payload, LEVEL)
        .map_err(|error| Error::input(format!("zstd refused an id file: {error}")))
}

/// The id files of `count` counters from `first`, and their keys.
pub fn compress_all(
    text: &[u8],
    first: u64,
    count: u32,
    job: &Job,
) -> Result<Vec<(Digest, Vec<u8>)>> {
    job.begin(Phase::Compress, text.len() as u64 * u64::from(count));
    let last = first
        .checked_add(u64::from(count))
        .ok_or_else(|| Error::input(format!("the counters from {first} on overflow")))?;
    (first..last)
        .into_par_iter()
        .map(|counter| {
            job.check()?;
            let file = compress(text, counter)?;
            job.advance(text.len() as u64)?;
            Ok((blake3::hash(&file).into(), file))
        })
        .collect()
}

/// What a zstd frame holds, at most `limit` bytes of it: more is an error, however much more it would be.
pub fn decompress(frame: &[u8], limit: usize) -> Result<Vec<u8>> {
    let broken = |error: std::io::Error| Error::input(format!("not a zstd frame: {error}"));
    let mut content = Vec::new();
    let mut rest = frame;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut rest)
        .map_err(broken)?
        .single_frame();
    decoder
        .by_ref()
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut content)
        .map_err(broken)?;
    if content.len() > limit {
        return Err(Error::input(format!(
            "the zstd frame holds more than the {limit} bytes that it may"
        )));
    }
    drop(decoder);
    if !rest.is_empty() {
        return Err(Error::input(format!(
            "{} bytes follow the zstd frame",
            rest.len()
        )));
    }
    Ok(content)
}
