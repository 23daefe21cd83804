//! Moves a strip of columns between a file and a buffer that holds K symbol parts one after the other.
//! Files are read and written at positions, never mapped: a file cut short under a mapping kills the process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::geometry::{Geometry, Piece, Strip};

/// Reads the strip of all source symbols from the file; what lies behind its end is zero (RFC 6330 §4.4.1.2).
pub fn gather(file: &File, path: &Path, geometry: &Geometry, strip: Strip) -> Result<Vec<u8>> {
    let symbols = geometry.source_symbols as usize;
    let mut columns = vec![0_u8; symbols * strip.width];
    let mut region = Vec::new();
    for piece in geometry.pieces(strip) {
        if is_contiguous(&piece) {
            region.clear();
            region.resize(symbols * piece.width, 0);
            read_clipped(file, path, geometry.size, piece.file_offset, &mut region)?;
            for (part, symbol) in region
                .chunks_exact(piece.width)
                .zip(columns.chunks_exact_mut(strip.width))
            {
                symbol[piece.at..piece.at + piece.width].copy_from_slice(part);
            }
        } else {
            for (index, symbol) in columns.chunks_exact_mut(strip.width).enumerate() {
                let offset = piece.file_offset + index as u64 * piece.stride;
                let part = &mut symbol[piece.at..piece.at + piece.width];
                read_clipped(file, path, geometry.size, offset, part)?;
            }
        }
    }
    Ok(columns)
}

/// Writes the strip of all source symbols into the file. What would lie behind the file's end must be zero.
pub fn scatter(
    file: &File,
    path: &Path,
    geometry: &Geometry,
    strip: Strip,
    columns: &[u8],
) -> Result<()> {
    let symbols = geometry.source_symbols as usize;
    let mut region = Vec::new();
    for piece in geometry.pieces(strip) {
        if is_contiguous(&piece) {
            region.clear();
            region.reserve(symbols * piece.width);
            for symbol in columns.chunks_exact(strip.width) {
                region.extend_from_slice(&symbol[piece.at..piece.at + piece.width]);
            }
            write_clipped(file, path, geometry.size, piece.file_offset, &region)?;
        } else {
            for (index, symbol) in columns.chunks_exact(strip.width).enumerate() {
                let offset = piece.file_offset + index as u64 * piece.stride;
                let part = &symbol[piece.at..piece.at + piece.width];
                write_clipped(file, path, geometry.size, offset, part)?;
            }
        }
    }
    Ok(())
}

fn is_contiguous(piece: &Piece) -> bool {
    piece.stride == piece.width as u64
}

fn bytes_inside(size: u64, offset: u64, length: usize) -> usize {
    size.saturating_sub(offset).min(length as u64) as usize
}

fn read_clipped(file: &File, path: &Path, size: u64, offset: u64, target: &mut [u8]) -> Result<()> {
    let inside = bytes_inside(size, offset, target.len());
    file.read_exact_at(&mut target[..inside], offset)
        .map_err(Error::io(path))
}

fn write_clipped(file: &File, path: &Path, size: u64, offset: u64, part: &[u8]) -> Result<()> {
    let inside = bytes_inside(size, offset, part.len());
    if part[inside..].iter().any(|byte| *byte != 0) {
        return Err(Error::input(
            "the symbols decode to padding that is not zero: this layout was not made from a file of the size it states",
        ));
    }
    file.write_all_at(&part[..inside], offset)
        .map_err(Error::io(path))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;
    use crate::geometry::SYMBOL_SIZE;

    /// A file without a name, with this content.
    pub(crate) fn nameless(test: &str, content: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("lep6-{}-{test}", std::process::id()));
        fs::write(&path, content).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file
    }

    pub(crate) fn content(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8).collect()
    }

    fn all(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Strips of this width, wherever the sub-symbols end.
    pub(crate) fn strips_of(width: usize) -> Vec<Strip> {
        (0..SYMBOL_SIZE)
            .step_by(width)
            .map(|start| Strip {
                start,
                width: width.min(SYMBOL_SIZE - start),
            })
            .collect()
    }

    #[test]
    fn a_file_goes_through_any_columns_and_back() {
        let name = Path::new("test");
        for size in [1, 70_000, 10_484_481] {
            let geometry = Geometry::of(size as u64).unwrap();
            let bytes = content(size);
            let from = nameless("gather", &bytes);
            for strips in [geometry.strips(), strips_of(5_000), strips_of(SYMBOL_SIZE)] {
                let to = nameless("scatter", b"");
                for strip in strips {
                    let columns = gather(&from, name, &geometry, strip).unwrap();
                    scatter(&to, name, &geometry, strip, &columns).unwrap();
                }
                to.set_len(geometry.size).unwrap();
                assert!(all(&to) == bytes, "{size}");
            }
        }
    }

    #[test]
    fn each_byte_of_a_symbol_has_its_place_in_the_file() {
        let name = Path::new("test");
        // Size, symbol, byte of the symbol, byte of the padded file; the last two rows lie in the padding.
        for (size, symbol, byte, offset) in [
            (10_485_760, 0, 32_768, 5_275_648),
            (10_485_760, 1, 32_768, 5_308_408),
            (104_857_600, 0, 5_960, 9_541_960),
            (1_u64 << 30, 5, 632, 10_359_744),
            (10_485_760, 160, 65_527, 10_550_007),
            (1_u64 << 30, 16_386, 65_527, 1_073_807_335),
        ] {
            let geometry = Geometry::of(size).unwrap();
            let strip = Strip {
                start: byte - byte % 8,
                width: 8,
            };
            let mut columns = vec![0; geometry.source_symbols as usize * strip.width];
            columns[symbol * strip.width + byte % 8] = 7;
            let file = nameless("places", b"");
            let written = scatter(&file, name, &geometry, strip, &columns);
            file.set_len(size).unwrap();
            if offset < size {
                written.unwrap();
                let mut found = [0; 3];
                file.read_exact_at(&mut found, offset - 1).unwrap();
                assert_eq!(found, [0, 7, 0], "{size} {symbol} {byte}");
                assert!(gather(&file, name, &geometry, strip).unwrap() == columns);
            } else {
                assert!(
                    matches!(written, Err(Error::Input(_))),
                    "{size} {symbol} {byte}"
                );
            }
        }
    }

    #[test]
    fn bytes_behind_the_file_are_read_as_zero_and_refused_when_they_are_not() {
        let name = Path::new("test");
        let geometry = Geometry::of(100_000).unwrap();
        let whole = Strip {
            start: 0,
            width: SYMBOL_SIZE,
        };
        let longer = nameless("longer", &content(2 * SYMBOL_SIZE));
        let mut columns = gather(&longer, name, &geometry, whole).unwrap();
        assert_eq!(columns[..100_000], content(100_000));
        assert!(columns[100_000..].iter().all(|byte| *byte == 0));
        for at in [100_000, columns.len() - 1] {
            let to = nameless("padding", b"");
            columns[at] = 1;
            let refused = scatter(&to, name, &geometry, whole, &columns);
            assert!(matches!(refused, Err(Error::Input(_))), "{at}");
            assert!(to.metadata().unwrap().len() <= geometry.size);
            columns[at] = 0;
        }
    }
}
