//! How many symbols a file has, how large they are, and where each byte of a symbol lies in the file
//! (docs/formats.md, "Geometry"; RFC 6330 §4.3 and §4.4.1).

use raptorq::{
    ObjectTransmissionInformation, SourceBlockEncodingPlan, extended_source_block_symbols,
};

use crate::error::{Error, Result};

/// Symbol size that an encoder asks for; the effective one is rounded down to the alignment.
const REQUESTED_SYMBOL_SIZE: u16 = u16::MAX;
/// Largest legal Cascade file, 1280 MiB: what fits one source block of the network's codec.
pub const MAX_FILE_SIZE: u64 = 1_342_177_280;
/// Bytes of a symbol, T.
pub const SYMBOL_SIZE: usize = 65_528;
/// Bytes before the symbol in a packet: source block number (1) and encoding symbol id (3, big-endian).
pub const HEADER_SIZE: usize = 4;
/// Bytes of a packet, of every file.
pub const PACKET_SIZE: usize = HEADER_SIZE + SYMBOL_SIZE;
/// Symbol alignment, Al.
const ALIGNMENT: usize = 8;

/// Bytes of source symbols that a strip aims at: about what the cores' caches share, and a bound on memory.
const STRIP_BYTES: usize = 16 << 20;
/// Narrowest and widest strip that is aimed at. Below the one, a solve per strip shows; above the other, nothing is won.
const STRIP_WIDTH: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The parameters of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// File size F in bytes.
    pub size: u64,
    /// Source symbols K.
    pub source_symbols: u32,
    /// Repair symbols R.
    pub repair_symbols: u32,
    /// Sub-blocks N.
    pub sub_blocks: u32,
    oti: [u8; 12],
}

/// A range of columns: the bytes `[start, start + width)` of every symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    /// First byte inside a symbol.
    pub start: usize,
    /// Bytes.
    pub width: usize,
}

/// The part of a strip that lies in one sub-block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset inside the strip.
    pub at: usize,
    /// Bytes.
    pub width: usize,
    /// File offset of the piece of symbol 0.
    pub file_offset: u64,
    /// Distance in the file between the pieces of neighbouring symbols.
    pub stride: u64,
}

impl Geometry {
    /// The geometry of a file of `size` bytes; an error outside 1 byte to 1280 MiB.
    pub fn of(size: u64) -> Result<Self> {
        if size == 0 {
            return Err(Error::input(
                "an empty file has no symbols: Cascade files have at least 1 byte",
            ));
        }
        if size > MAX_FILE_SIZE {
            return Err(Error::input(format!(
                "a file of {size} bytes does not fit one source block: the limit is {MAX_FILE_SIZE} bytes"
            )));
        }
        let oti = ObjectTransmissionInformation::with_defaults(size, REQUESTED_SYMBOL_SIZE);
        if usize::from(oti.symbol_size()) != SYMBOL_SIZE || oti.source_blocks() != 1 {
            return Err(Error::input(format!(
                "the codec derived {} source blocks of symbol size {} for {size} bytes",
                oti.source_blocks(),
                oti.symbol_size()
            )));
        }
        let repair_symbols = if size <= u64::from(REQUESTED_SYMBOL_SIZE) {
            6
        } else {
            (size * 5).div_ceil(u64::from(REQUESTED_SYMBOL_SIZE)) as u32
        };
        Ok(Self {
            size,
            source_symbols: size.div_ceil(SYMBOL_SIZE as u64) as u32,
            repair_symbols,
            sub_blocks: u32::from(oti.sub_blocks()),
            oti: oti.serialize(),
        })
    }

    /// The 12 bytes of the object transmission information (RFC 6330 §3.3).
    pub fn oti(&self) -> [u8; 12] {
        self.oti
    }

    /// K + R.
    pub fn total_symbols(&self) -> u32 {
        self.source_symbols + self.repair_symbols
    }

    /// K', the source symbols after RFC 6330's padding (§5.3.1).
    pub fn extended_symbols(&self) -> u32 {
        extended_source_block_symbols(self.source_symbols)
    }

    /// The recipe that turns K source symbols into intermediate ones, for any symbol size.
    pub fn plan(&self) -> SourceBlockEncodingPlan {
        SourceBlockEncodingPlan::generate(self.source_symbols as u16)
    }

    /// (offset inside a symbol, length) of each sub-block's part of a symbol (RFC 6330 §4.4.1.2).
    fn sub_symbols(&self) -> impl Iterator<Item = (usize, usize)> {
        let units = SYMBOL_SIZE / ALIGNMENT;
        let count = self.sub_blocks as usize;
        let long = units % count;
        let mut offset = 0;
        (0..count).map(move |j| {
            let length = ALIGNMENT * (units / count + usize::from(j < long));
            let at = offset;
            offset += length;
            (at, length)
        })
    }

    /// Cuts the columns into strips: parts of a sub-symbol where those are long, runs of whole ones where they are
    /// short, so that a strip's bytes lie in the file in as few pieces as possible.
    pub fn strips(&self) -> Vec<Strip> {
        let target = (STRIP_BYTES / self.source_symbols as usize)
            .clamp(*STRIP_WIDTH.start(), *STRIP_WIDTH.end());
        let mut strips: Vec<Strip> = Vec::new();
        for (start, length) in self.sub_symbols() {
            if length >= target {
                let parts = length.div_ceil(target);
                let width = (length / parts).next_multiple_of(ALIGNMENT);
                let mut at = 0;
                while at < length {
                    let width = width.min(length - at);
                    strips.push(Strip {
                        start: start + at,
                        width,
                    });
                    at += width;
                }
            } else {
                match strips.last_mut() {
                    Some(last) if last.width + length <= target => last.width += length,
                    _ => strips.push(Strip {
                        start,
                        width: length,
                    }),
                }
            }
        }
        strips
    }

    /// Where the bytes of a strip lie in the file.
    pub fn pieces(&self, strip: Strip) -> Vec<Piece> {
        let end = strip.start + strip.width;
        self.sub_symbols()
            .filter(|(start, length)| *start < end && start + length > strip.start)
            .map(|(start, length)| {
                let from = strip.start.max(start);
                let to = end.min(start + length);
                Piece {
                    at: from - strip.start,
                    width: to - from,
                    file_offset: u64::from(self.source_symbols) * start as u64
                        + (from - start) as u64,
                    stride: length as u64,
                }
            })
            .collect()
    }
}

/// The four bytes before a symbol: source block 0 and the encoding symbol id.
pub fn packet_header(esi: u32) -> [u8; HEADER_SIZE] {
    let [_, high, middle, low] = esi.to_be_bytes();
    [0, high, middle, low]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_outside_the_legal_range_are_refused() {
        assert!(Geometry::of(0).is_err());
        assert!(Geometry::of(MAX_FILE_SIZE).is_ok());
        assert!(Geometry::of(MAX_FILE_SIZE + 1).is_err());
        assert!(Geometry::of(u64::MAX).is_err());
    }

    #[test]
    fn strips_cover_every_column_once() {
        for size in [
            1,
            65_529,
            10_484_480,
            10_484_481,
            104_857_600,
            1 << 30,
            MAX_FILE_SIZE,
        ] {
            let mut next = 0;
            for strip in Geometry::of(size).unwrap().strips() {
                assert_eq!(strip.start, next);
                assert!(strip.width > 0 && strip.width % ALIGNMENT == 0);
                next += strip.width;
            }
            assert_eq!(next, SYMBOL_SIZE, "{size}");
        }
    }

    #[test]
    fn pieces_cover_the_padded_file_once() {
        for size in [1, 70_000, 10_485_760] {
            let geometry = Geometry::of(size).unwrap();
            let k = geometry.source_symbols as usize;
            let mut seen = vec![false; k * SYMBOL_SIZE];
            for strip in geometry.strips() {
                for piece in geometry.pieces(strip) {
                    for symbol in 0..k {
                        let at = piece.file_offset as usize + symbol * piece.stride as usize;
                        for byte in &mut seen[at..at + piece.width] {
                            assert!(!*byte);
                            *byte = true;
                        }
                    }
                }
            }
            assert!(seen.into_iter().all(|byte| byte));
        }
    }
}
