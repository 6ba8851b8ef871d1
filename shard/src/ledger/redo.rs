//! A redo list: the row changes of one batch, in order, as they go into the journal.
//!
//! Callers: the keeper (records what a batch changes), the journal (writes the bytes), the start
//! (applies them again). Physical and idempotent: which key has which value, and which key is gone.
//! One change after the other, without padding:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | table, its place in [`Table::ALL`] |
//! | 1 | 1 | 0: the key is deleted, 1: the key gets the value |
//! | 2 | 2 | bytes of the key |
//! | 4 | 4 | bytes of the value; 0 for a deletion |
//! | 8 | | key, then value |

use super::record::Table;

/// What a batch changes, as bytes.
#[derive(Debug, Default)]
pub struct Redo {
    bytes: Vec<u8>,
    changes: u32,
}

/// A row change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: &'a [u8],
    /// The value; `None` where the key is deleted.
    pub value: Option<&'a [u8]>,
}

impl Redo {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.changes = 0;
    }

    /// The key gets the value.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.push(table, PUT, key, value);
    }

    /// The key is deleted, if it is there.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.push(table, DELETE, key, &[]);
    }

    /// The list as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many changes it holds.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    fn push(&mut self, table: Table, kind: u8, key: &[u8], value: &[u8]) {
        let key_bytes = u16::try_from(key.len()).expect("LMDB's keys are shorter");
        let value_bytes = u32::try_from(value.len()).expect("rows are short");
        self.bytes.extend_from_slice(&[table as u8, kind]);
        self.bytes.extend_from_slice(&key_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&value_bytes.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.changes += 1;
    }
}

/// The changes in the bytes of a list; `None` where they are not one.
pub fn changes(bytes: &[u8]) -> impl Iterator<Item = Option<Change<'_>>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = parse(rest);
        rest = parsed.map_or(&[], |(_, tail)| tail);
        Some(parsed.map(|(change, _)| change))
    })
}

fn parse(bytes: &[u8]) -> Option<(Change<'_>, &[u8])> {
    let ([table, kind, a, b, c, d, e, f], rest) = bytes.split_first_chunk::<8>()?;
    let table = *Table::ALL.get(usize::from(*table))?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([*a, *b])))?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes([*c, *d, *e, *f]) as usize)?;
    let value = match *kind {
        PUT => Some(value),
        DELETE if value.is_empty() => None,
        _ => return None,
    };
    Some((Change { table, key, value }, rest))
}

const DELETE: u8 = 0;
const PUT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read_in_its_order() {
        let mut redo = Redo::default();
        redo.put(Table::Names, b"key", b"value");
        redo.delete(Table::Orphans, b"gone");
        redo.put(Table::Meta, b"head", b"");
        let found: Vec<_> = changes(redo.as_bytes()).map(Option::unwrap).collect();
        let change = |table, key, value| Change { table, key, value };
        assert_eq!(
            found,
            [
                change(Table::Names, &b"key"[..], Some(&b"value"[..])),
                change(Table::Orphans, b"gone", None),
                change(Table::Meta, b"head", Some(b"")),
            ]
        );
        assert_eq!(redo.changes(), 3);
        redo.clear();
        assert_eq!(changes(redo.as_bytes()).count(), 0);
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_no_list() {
        let mut redo = Redo::default();
        redo.put(Table::Names, b"key", b"value");
        let bytes = redo.as_bytes();
        for count in 1..bytes.len() {
            assert!(changes(&bytes[..count]).any(|change| change.is_none()), "{count} bytes");
        }
        for (at, value) in [(0, Table::ALL.len() as u8), (1, 2), (1, DELETE)] {
            let mut bytes = bytes.to_vec();
            bytes[at] = value;
            assert_eq!(changes(&bytes).next(), Some(None));
        }
    }
}
