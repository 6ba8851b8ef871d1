//! Bytes that say what they are: each eight of them name the file, the version of the write and their place, so that
//! zeros, old bytes, misplaced bytes and those of another file are told apart.

use std::rc::Rc;

/// The bytes of a write: `offset` is where they go, `version` is not used again.
pub(crate) fn make(file: u8, version: u32, offset: u64, bytes: usize) -> Rc<[u8]> {
    (offset..offset + bytes as u64).map(|at| cell(file, version, at / CELL)[(at % CELL) as usize]).collect()
}

fn cell(file: u8, version: u32, index: u64) -> [u8; CELL as usize] {
    let [a, b, c, d] = version.to_be_bytes();
    let [.., x, y, z] = (index as u32).to_be_bytes();
    [file | 0x80, a, b, c, d, x, y, z]
}

/// Compares what a file holds from `offset` on; an `Err` says what is there instead.
pub(crate) fn same(offset: u64, expected: &[u8], got: &[u8]) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    if expected.len() != got.len() {
        return Err(format!("{} bytes, not {}", got.len(), expected.len()));
    }
    let at = expected.iter().zip(got).position(|(expected, got)| expected != got).unwrap_or(0);
    let place = offset + at as u64;
    Err(format!("at byte {place}: {}, not {}", told(got, offset, place), told(expected, offset, place)))
}

fn told(bytes: &[u8], offset: u64, place: u64) -> String {
    let Some(start) = (place / CELL * CELL).checked_sub(offset) else { return "a part".to_string() };
    match bytes.get(start as usize..).and_then(|rest| rest.first_chunk::<{ CELL as usize }>()) {
        None => "a part".to_string(),
        Some([0, 0, 0, 0, 0, 0, 0, 0]) => "zeros".to_string(),
        Some(&[file, a, b, c, d, x, y, z]) => {
            let version = u32::from_be_bytes([a, b, c, d]);
            let at = u64::from(u32::from_be_bytes([0, x, y, z])) * CELL;
            format!("file {} version {version} of byte {at}", file & 0x7f)
        }
    }
}

const CELL: u64 = 8;
