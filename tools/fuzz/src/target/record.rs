//! Record marking. The judge is a plain reader of the same stream, written without regard to speed.
//!
//! Input: a byte that gives the limit, a byte that says how much arrives at a time, the stream.

use super::{Target, golden};
use wire::record::{FRAGMENTS_MAX, MARK_BYTES, Step, next_record};

pub(super) const RECORD: Target = Target {
    name: "record",
    about: "record marking: joined fragments, limits, a stream that arrives in pieces",
    input_max: 2048,
    working_bytes: 0,
    words: &[b"\x80\0\0\0", b"\0\0\0\0", b"\0\0\0\x04"],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let Some(([limit, piece], stream)) = input.split_first_chunk::<2>() else { return };
    let record_bytes_max = 8 * usize::from(*limit);
    // At most so many pieces that the judge, who begins anew with each, is not what takes the time.
    let piece_bytes = (1 + usize::from(*piece)).max(stream.len() / 8);
    let mut received = Vec::with_capacity(stream.len());
    let mut rest = stream;
    // Where the record that is awaited begins, in bytes of the stream.
    let mut from = 0;
    while !rest.is_empty() {
        let (arrived, later) = rest.split_at(piece_bytes.min(rest.len()));
        received.extend_from_slice(arrived);
        rest = later;
        loop {
            let before = received.clone();
            let step = next_record(&mut received, record_bytes_max);
            let judged = judge(&before, record_bytes_max);
            match (step, judged) {
                (Ok(Step::More { missing }), Judged::More) => {
                    assert!(missing > 0 && missing <= MARK_BYTES + record_bytes_max);
                    assert!(received == before, "an incomplete record is left alone");
                    break;
                }
                (Ok(Step::Record { body, consumed }), Judged::Record(joined, bytes)) => {
                    assert_eq!(consumed, bytes);
                    assert!(received[body] == joined, "the joined record is another one");
                    assert!(received[consumed..] == before[consumed..], "the next record was touched");
                    received.drain(..consumed);
                    from += consumed;
                    if received.is_empty() {
                        break;
                    }
                }
                (Err(_), Judged::Refused) => return,
                (step, _) => panic!("{step:?} for the record at {from}"),
            }
        }
    }
}

/// What is at the start of the bytes.
enum Judged {
    More,
    Record(Vec<u8>, usize),
    Refused,
}

fn judge(received: &[u8], record_bytes_max: usize) -> Judged {
    let mut joined = Vec::new();
    let mut announced = 0;
    let mut at = 0;
    for _ in 0..FRAGMENTS_MAX {
        let Some(mark) = received.get(at..at + MARK_BYTES) else { return Judged::More };
        let mark = u32::from_be_bytes(mark.try_into().expect("the range is a mark long"));
        let bytes = (mark & 0x7FFF_FFFF) as usize;
        announced += bytes;
        if announced > record_bytes_max {
            return Judged::Refused;
        }
        at += MARK_BYTES;
        joined.extend_from_slice(received.get(at..(at + bytes).min(received.len())).unwrap_or_default());
        at += bytes;
        if mark >> 31 == 1 {
            return if at <= received.len() { Judged::Record(joined, at) } else { Judged::More };
        }
    }
    Judged::Refused
}

fn seeds() -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    for golden in golden::all().iter().filter(|golden| golden.frame.len() < 200).take(4) {
        let (first, second) = golden.frame.split_at(golden.frame.len() / 2);
        stream.extend_from_slice(&(first.len() as u32).to_be_bytes());
        stream.extend_from_slice(first);
        stream.extend_from_slice(&(second.len() as u32 | 1 << 31).to_be_bytes());
        stream.extend_from_slice(second);
    }
    let flood = [0, 0, 0, 0].repeat(FRAGMENTS_MAX + 1);
    [(255, 255, &stream), (20, 7, &stream), (255, 255, &flood)]
        .map(|(limit, piece, stream)| [&[limit, piece], &stream[..]].concat())
        .into()
}
