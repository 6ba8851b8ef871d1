//! Each kind of problem, planted in a pool that is whole otherwise: verify must name it, and nothing else.

use super::report::{Findings, Kind, Problem};
use super::{Depth, check};
use crate::fixture::{FILESYSTEM, Fixture, META, Rows, Segment, data, directory, file, log};
use crate::pool::Pool;
use cache::extent::{BLOCK_BYTES, Extent, Place};
use cache::frame::{Record, RecordKind};
use shard::inode::{Ino, Inode, Kind as Type};
use shard::ledger::record::meta::Meta;
use shard::ledger::record::{Table, entry, extent, inode, meta, segment, tree};
use std::fs;

fn found(fixture: &Fixture, depth: Depth) -> Findings {
    let pool = Pool::open(&fixture.pool()).unwrap();
    let places = pool.filesystems().unwrap();
    assert_eq!(places.len(), 1);
    check(&places[0], depth, true).unwrap()
}

/// What verify says of the pool after `change`.
fn problems(change: impl FnOnce(&mut Rows<'_>)) -> Vec<Problem> {
    let fixture = Fixture::new();
    fixture.edit(change);
    found(&fixture, Depth::Data).problems
}

/// All problems as `kind inode path`.
fn shown(problems: &[Problem]) -> Vec<String> {
    let mut shown: Vec<String> = problems
        .iter()
        .map(|problem| {
            let ino = problem.ino.map_or(String::new(), |ino| format!(" {}", ino.0));
            let path = problem.path.as_ref().map_or(String::new(), |path| format!(" {path}"));
            format!("{}{ino}{path}", problem.kind.name())
        })
        .collect();
    shown.sort();
    shown
}

#[track_caller]
fn expect(wanted: &[&str], change: impl FnOnce(&mut Rows<'_>)) {
    let found = problems(change);
    assert_eq!(shown(&found), wanted, "{found:#?}");
}

#[test]
fn a_whole_pool_is_clean_and_counted() {
    let fixture = Fixture::new();
    let findings = found(&fixture, Depth::Data);
    assert_eq!(findings.problems, []);
    assert_eq!(findings.notes, [] as [&str; 0]);
    let totals = findings.totals;
    assert_eq!((totals.files, totals.directories, totals.symlinks, totals.others), (3, 3, 1, 1));
    assert_eq!((totals.names, totals.orphans, totals.extents), (8, 1, 4));
    assert_eq!((totals.live_bytes, totals.checked_bytes), (20_480, 17_288));
    assert_eq!((totals.segments, totals.free_slots, totals.pending_records), (2, 1, 4));
}

#[test]
fn a_new_filesystem_and_one_that_was_cut_off_while_it_was_made_are_clean() {
    let fixture = Fixture::empty();
    assert_eq!(found(&fixture, Depth::Data).problems, []);
    fs::rename(fixture.ledger(), fixture.filesystem().join("ledger.new")).unwrap();
    assert_eq!(found(&fixture, Depth::Data).problems, []);
    fs::write(fixture.slot_file(0), "").unwrap();
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["ledger"]);
}

#[test]
fn verify_changes_no_byte_of_the_pool() {
    let fixture = Fixture::new();
    let bytes = |path| fs::read(path).unwrap();
    let before = (bytes(fixture.ledger().join("data.mdb")), bytes(fixture.slot_file(0)), bytes(fixture.slot_file(1)));
    found(&fixture, Depth::Data);
    let after = (bytes(fixture.ledger().join("data.mdb")), bytes(fixture.slot_file(0)), bytes(fixture.slot_file(1)));
    assert!(before == after);
}

/// A batch that only the journal has is there, also when verify was the first to look.
#[test]
fn what_a_crash_left_in_the_ledgers_journal_is_seen() {
    let fixture = Fixture::new();
    fixture.crash_with_a_name("late");
    let findings = found(&fixture, Depth::Data);
    assert_eq!(findings.problems, []);
    assert_eq!(findings.totals.files, 4);
    assert!(findings.notes[0].contains("batches of the ledger's journal were replayed"), "{:?}", findings.notes);
    let again = found(&fixture, Depth::Data);
    assert_eq!((again.totals.files, again.notes.len()), (4, 0));
}

#[test]
fn a_ledger_without_a_root_and_a_damaged_journal_are_named() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.ledger().join("root")).unwrap();
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["ledger"]);
    let fixture = Fixture::new();
    fixture.crash_with_a_name("late");
    fixture.flip_in_journal();
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["ledger"]);
}

// The ledger as a whole.

#[test]
fn a_ledger_without_its_record_is_named() {
    let fixture = Fixture::new();
    fixture.edit(|rows| rows.delete(Table::Meta, meta::KEY));
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["ledger"]);
    let fixture = Fixture::new();
    fixture.edit(|rows| rows.damage(Table::Meta, meta::KEY));
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["ledger"]);
}

#[test]
fn a_file_that_is_no_lmdb_is_named() {
    let fixture = Fixture::new();
    fs::write(fixture.ledger().join("data.mdb"), [9; 65536]).unwrap();
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["ledger"]);
}

/// Between the rows of a page, where nothing reads.
#[test]
fn a_page_that_is_not_what_was_written_is_named() {
    let fixture = Fixture::new();
    assert_eq!(found(&fixture, Depth::Data).problems, []);
    let path = fixture.ledger().join("data.mdb");
    let mut bytes = fs::read(&path).unwrap();
    let (key, page) = (inode::key(Ino(2)), 4096);
    let at = bytes.chunks(page).rposition(|page| page.windows(12).any(|bytes| bytes == key.as_bytes())).unwrap();
    bytes[at * page + page / 4] ^= 1;
    fs::write(&path, bytes).unwrap();
    let problems = found(&fixture, Depth::Data).problems;
    assert_eq!(shown(&problems), ["ledger"]);
    assert!(problems[0].what.contains("not those that were written last"), "{problems:?}");
}

#[test]
fn one_damaged_row_is_one_problem() {
    expect(&["row 2 /a"], |rows| rows.damage(Table::Inodes, inode::key(Ino(2)).as_bytes()));
    expect(&["row 7 /dir/inner"], |rows| rows.damage(Table::Inodes, inode::key(Ino(7)).as_bytes()));
    expect(&["row 3 /dir"], |rows| rows.damage(Table::Names, entry::name_key(Ino(3), b"b").as_bytes()));
    expect(&["row 1 /"], |rows| rows.damage(Table::Entries, entry::entry_key(Ino(1), 24).as_bytes()));
    expect(&["row 5 /sym"], |rows| rows.damage(Table::Targets, tree::target_key(Ino(5)).as_bytes()));
    expect(&["row 2 /a"], |rows| rows.damage(Table::Extents, extent::key(Ino(2), 8192).as_bytes()));
    expect(&["row"], |rows| rows.damage(Table::Segments, segment::key(cache::extent::SegmentId(2)).as_bytes()));
}

#[test]
fn a_row_under_another_key_is_not_taken_for_good() {
    let found = problems(|rows| {
        let key = extent::key(Ino(2), 0);
        rows.move_row(Table::Extents, key.as_bytes(), extent::key(Ino(2), 1).as_bytes());
    });
    assert_eq!(shown(&found), ["row 2 /a"], "{found:#?}");
}

// Names.

#[test]
fn a_name_that_leads_nowhere_is_named() {
    expect(&["dangling 1 /"], |rows| {
        rows.name(1, "ghost", 50, Type::File, 70);
        rows.entry(1, "ghost", 50, Type::File, 70);
        rows.inode(&Inode { nlink: 3, entries: 7, ..directory(1, 1) });
    });
    expect(&["dangling 1 /"], |rows| {
        rows.name(1, "ghost", 9, Type::File, 70);
        rows.entry(1, "ghost", 9, Type::File, 70);
        rows.inode(&Inode { nlink: 3, entries: 7, ..directory(1, 1) });
    });
}

#[test]
fn a_name_of_another_type_is_named() {
    expect(&["dangling 1 /"], |rows| {
        rows.name(1, "pipe", 6, Type::Socket, 25);
        rows.entry(1, "pipe", 6, Type::Socket, 25);
    });
}

#[test]
fn a_name_in_what_is_no_directory_is_named() {
    expect(&["dangling 6 /pipe"], |rows| {
        rows.name(2, "x", 6, Type::Fifo, 70);
        rows.entry(2, "x", 6, Type::Fifo, 70);
        rows.inode(&Inode { kind: Type::Fifo, nlink: 2, ..file(6, 0) });
    });
}

#[test]
fn a_name_that_cannot_be_is_named() {
    expect(&["name 6 /a/b"], |rows| {
        rows.delete(Table::Names, entry::name_key(Ino(1), b"pipe").as_bytes());
        rows.name(1, "a/b", 6, Type::Fifo, 25);
        rows.entry(1, "a/b", 6, Type::Fifo, 25);
    });
}

#[test]
fn names_and_entries_must_mirror_each_other() {
    expect(&["mirror 4 /b2"], |rows| rows.delete(Table::Entries, entry::entry_key(Ino(1), 23).as_bytes()));
    expect(&["mirror 1 /"], |rows| rows.entry(1, "gone", 6, Type::Fifo, 71));
    expect(&["mirror 6 /pipe"], |rows| rows.entry(1, "pipe", 6, Type::Fifo, 71));
    expect(&["mirror 6 /pipe"], |rows| rows.entry(1, "pipe", 2, Type::Fifo, 25));
}

#[test]
fn a_cookie_that_was_never_given_out_is_named() {
    expect(&["number 6 /pipe"], |rows| {
        rows.delete(Table::Entries, entry::entry_key(Ino(1), 25).as_bytes());
        rows.name(1, "pipe", 6, Type::Fifo, 2);
        rows.entry(1, "pipe", 6, Type::Fifo, 2);
    });
}

// Inodes.

#[test]
fn a_link_count_that_is_wrong_is_named() {
    expect(&["links 4 /b2"], |rows| rows.inode(&Inode { nlink: 3, used: 5000, ..file(4, 5000) }));
    expect(&["links 3 /dir"], |rows| rows.inode(&Inode { nlink: 2, entries: 2, ..directory(3, 1) }));
}

#[test]
fn a_directory_that_counts_or_hangs_wrongly_is_named() {
    expect(&["directory 3 /dir"], |rows| rows.inode(&Inode { nlink: 3, entries: 9, ..directory(3, 1) }));
    let found = problems(|rows| rows.inode(&directory(7, 1)));
    assert_eq!(found.iter().map(|problem| problem.kind).collect::<Vec<_>>(), [Kind::Directory], "{found:#?}");
    expect(&["directory 1 /"], |rows| rows.inode(&Inode { nlink: 3, entries: 6, ..directory(1, 3) }));
}

#[test]
fn a_directory_with_two_names_is_named() {
    let found = problems(|rows| {
        rows.name(1, "again", 7, Type::Directory, 70);
        rows.entry(1, "again", 7, Type::Directory, 70);
        rows.inode(&Inode { nlink: 4, entries: 7, ..directory(1, 1) });
    });
    assert!(found.iter().any(|problem| problem.what.contains("2 names lead to this directory")), "{found:#?}");
}

#[test]
fn an_inode_without_a_name_is_named() {
    expect(&["unreachable 40"], |rows| rows.inode(&file(40, 0)));
    expect(&["unreachable 40"], |rows| rows.inode(&directory(40, 1)));
}

#[test]
fn directories_that_lie_in_each_other_are_named() {
    expect(&["unreachable 40", "unreachable 41"], |rows| {
        for (ino, parent, cookie) in [(40, 41, 70), (41, 40, 71)] {
            rows.inode(&Inode { nlink: 3, entries: 1, ..directory(ino, parent) });
            rows.name(parent, "loop", ino, Type::Directory, cookie);
            rows.entry(parent, "loop", ino, Type::Directory, cookie);
        }
    });
}

#[test]
fn a_missing_root_is_named() {
    let found = problems(|rows| rows.delete(Table::Inodes, inode::key(Ino(1)).as_bytes()));
    assert!(found.iter().any(|problem| problem.what == "the root directory is missing"), "{found:#?}");
}

#[test]
fn symbolic_links_and_targets_belong_together() {
    expect(&["symlink 5 /sym"], |rows| rows.delete(Table::Targets, tree::target_key(Ino(5)).as_bytes()));
    expect(&["symlink 5 /sym"], |rows| rows.target(5, b"longer"));
    expect(&["symlink 6 /pipe"], |rows| rows.target(6, b"a"));
    expect(&["symlink 60"], |rows| rows.target(60, b"a"));
}

#[test]
fn a_removed_file_that_is_still_there_is_named() {
    expect(&["orphan 2 /a"], |rows| rows.orphan(2, 1));
}

#[test]
fn numbers_that_were_never_given_out_are_named() {
    expect(&["number 6 /pipe"], |rows| {
        rows.inode(&Inode { kind: Type::Fifo, change: META.lsn_limit, ..file(6, 0) });
    });
    expect(&["number 8 /new"], |rows| rows.meta(&Meta { next_ino: 8, ..META }));
    expect(&["number"], |rows| rows.meta(&Meta { next_segment: 2, ..META }));
    expect(&["slot"], |rows| rows.meta(&Meta { slots_made: 1, ..META }));
    expect(&["number"], |rows| rows.meta(&Meta { lsn_limit: 60, ..META }));
}

// Extents.

#[test]
fn a_gap_an_overlap_and_a_wrong_end_are_named() {
    expect(&["tiling 2 /a"], |rows| rows.delete(Table::Extents, extent::key(Ino(2), 8192).as_bytes()));
    expect(&["tiling 2 /a"], |rows| {
        rows.delete(Table::Extents, extent::key(Ino(2), 8192).as_bytes());
        rows.extent(2, 8000, Extent { bytes: 12_000, place: Place::Hole, version: 51, lsn: 0 });
    });
    expect(&["tiling 2 /a"], |rows| {
        rows.delete(Table::Extents, extent::key(Ino(2), 8192).as_bytes());
        rows.extent(2, 8193, Extent { bytes: 11_807, place: Place::Hole, version: 51, lsn: 0 });
    });
    expect(&["tiling 2 /a"], |rows| rows.inode(&Inode { used: 8192, ..file(2, 19_999) }));
    expect(&["tiling 2 /a"], |rows| rows.inode(&Inode { used: 8192, ..file(2, 20_001) }));
    expect(&["tiling 8 /new"], |rows| rows.inode(&file(8, 1)));
}

#[test]
fn extents_of_what_is_no_file_are_named() {
    let hole = Extent { bytes: 5, place: Place::Hole, version: 51, lsn: 0 };
    expect(&["extent 6 /pipe"], |rows| rows.extent(6, 0, hole));
    expect(&["orphan 60"], |rows| rows.extent(60, 0, hole));
}

#[test]
fn storage_that_is_counted_wrongly_is_named() {
    expect(&["used 2 /a"], |rows| rows.inode(&Inode { used: 8191, ..file(2, 20_000) }));
    expect(&["live-bytes"], |rows| rows.segment(1, 0, None, 20_479));
}

#[test]
fn an_extent_where_no_data_can_be_is_named() {
    let place = |segment, frame, block| {
        move |rows: &mut Rows<'_>| {
            rows.extent(4, 0, log(5000, segment, frame, block, 52));
            rows.segment(1, 0, None, 8192 + 4096 + if segment == 1 { 8192 } else { 0 });
        }
    };
    expect(&["extent 4 /b2"], place(9, 3, 4));
    expect(&["extent 4 /b2"], place(1, 3, 3));
    expect(&["extent 4 /b2"], place(1, 3, 600));
    expect(&["extent 4 /b2", "frame 4 /b2"], place(1, 1023, 1024));
}

#[test]
fn bytes_claimed_twice_are_named_also_without_reading_data() {
    let fixture = Fixture::new();
    fixture.edit(|rows| {
        rows.extent(9, 0, log(4096, 1, 3, 5, 53));
    });
    let found = found(&fixture, Depth::Metadata).problems;
    assert_eq!(shown(&found), ["overlap 9"], "{found:#?}");
    assert!(found[0].what.contains("inode 4"), "{found:#?}");
}

// Slots.

#[test]
fn a_slot_that_holds_two_segments_is_named() {
    let found = problems(|rows| rows.segment(2, 0, None, 0));
    assert!(shown(&found).contains(&"slot".to_owned()), "{found:#?}");
    assert!(found.iter().any(|problem| problem.what.contains("holds segment 1 and segment 2")), "{found:#?}");
}

#[test]
fn a_missing_or_short_slot_file_is_named_where_something_lies_in_it() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.slot_file(0)).unwrap();
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["slot"]);
    let fixture = Fixture::new();
    fs::File::options().write(true).open(fixture.slot_file(0)).unwrap().set_len(5 * 4096).unwrap();
    let found_short = found(&fixture, Depth::Data).problems;
    assert_eq!(shown(&found_short), ["extent 4 /b2", "extent 9", "payload 4 /b2", "payload 9"], "{found_short:#?}");
    // Opened, and cut off before its file was made.
    let fixture = Fixture::new();
    fs::remove_file(fixture.slot_file(1)).unwrap();
    let findings = found(&fixture, Depth::Data);
    assert_eq!((shown(&findings.problems).len(), findings.notes.len()), (0, 1), "{findings:#?}");
}

#[test]
fn a_slot_file_that_was_never_given_out_is_named() {
    let fixture = Fixture::new();
    fs::write(fixture.slot_file(3), "").unwrap();
    fs::write(fixture.log().join("notes.txt"), "").unwrap();
    let findings = found(&fixture, Depth::Data);
    assert_eq!((shown(&findings.problems), findings.notes.len()), (vec!["slot".to_owned()], 1));
}

#[test]
fn a_segment_that_holds_nothing_and_is_not_free_is_named() {
    expect(&["slot"], |rows| rows.segment(2, 1, None, 0));
}

// Data.

#[test]
fn a_flipped_bit_of_data_is_named_with_its_file_and_place() {
    let fixture = Fixture::new();
    fixture.flip(0, 2 * BLOCK_BYTES as u64 + 17);
    let found_flip = found(&fixture, Depth::Data).problems;
    assert_eq!(shown(&found_flip), ["payload 2 /a"], "{found_flip:#?}");
    assert!(found_flip[0].what.contains("from byte 4096 on, seg.00000000, block 2"), "{found_flip:#?}");
    assert_eq!(found(&fixture, Depth::Metadata).problems, [], "data is not read");
}

#[test]
fn a_damaged_header_is_named_for_each_file_of_its_frame() {
    let fixture = Fixture::new();
    fixture.flip(0, 3 * BLOCK_BYTES as u64 + 70);
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["frame 4 /b2", "frame 9"]);
}

#[test]
fn bytes_that_the_log_gives_to_another_file_place_or_version_are_named() {
    let rewritten = |record: Record| {
        let fixture = Fixture::new();
        let mut first = Segment::new(1);
        first.frame(&[record]);
        first.frame(&[data(4, 52, 0, 5000), data(9, 53, 0, 4096)]);
        fixture.slot(0, &first);
        let found = found(&fixture, Depth::Data).problems;
        assert_eq!(shown(&found), ["frame 2 /a"], "{found:#?}");
        found[0].what.clone()
    };
    assert!(rewritten(data(3, 50, 0, 8192)).contains("inode 3"));
    assert!(rewritten(Record { generation: 2, ..data(2, 50, 0, 8192) }).contains("generation 2"));
    assert!(rewritten(data(2, 50, 4096, 8192)).contains("offset 4096"));
    assert!(rewritten(data(2, 51, 0, 8192)).contains("version 51"));
    let fixture = Fixture::new();
    let mut other = Segment::new(5);
    other.frame(&[data(2, 50, 0, 8192)]);
    other.frame(&[data(4, 52, 0, 5000), data(9, 53, 0, 4096)]);
    fixture.slot(0, &other);
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["frame 2 /a", "frame 4 /b2", "frame 9"]);
}

#[test]
fn neighbours_that_a_fold_joined_are_one_extent_of_the_newest_version() {
    let fixture = Fixture::new();
    let mut first = Segment::new(1);
    first.frame(&[data(2, 49, 0, 4096), data(2, 50, 4096, 4096)]);
    first.frame(&[data(4, 52, 0, 5000), data(9, 53, 0, 4096)]);
    fixture.slot(0, &first);
    assert_eq!(found(&fixture, Depth::Data).problems, []);
}

#[test]
fn bytes_that_the_cleaner_moved_keep_their_version() {
    let fixture = Fixture::new();
    let mut first = Segment::new(1);
    first.frame(&[Record { kind: RecordKind::Move, aux: 50, ..data(2, 58, 0, 8192) }]);
    first.frame(&[data(4, 52, 0, 5000), data(9, 53, 0, 4096)]);
    fixture.slot(0, &first);
    assert_eq!(found(&fixture, Depth::Data).problems, []);
}

// What is not folded yet.

#[test]
fn a_torn_tail_of_the_log_is_clean() {
    let fixture = Fixture::new();
    let mut second = Segment::new(2);
    second.frame(&[data(8, 60, 4096, 6000)]);
    let whole = second.bytes.len();
    second.frame(&[data(8, 61, 0, 4096)]);
    second.bytes.truncate(whole + BLOCK_BYTES + 100);
    fixture.slot(1, &second);
    let findings = found(&fixture, Depth::Data);
    assert_eq!((findings.problems, findings.totals.pending_records), (vec![], 1));
}

#[test]
fn damage_before_a_durable_frame_of_the_log_is_named() {
    let fixture = Fixture::new();
    fixture.flip(1, BLOCK_BYTES as u64 + 5);
    let found = found(&fixture, Depth::Metadata).problems;
    assert_eq!(shown(&found), ["log"], "{found:#?}");
    assert!(found[0].what.contains("seg.00000001, block 0"), "{found:#?}");
}

#[test]
fn a_record_that_a_start_would_refuse_is_named() {
    for record in [data(6, 60, 0, 100), data(8, 60, 1 << 63, 100)] {
        let fixture = Fixture::new();
        let mut second = Segment::new(2);
        second.frame(&[record]);
        fixture.slot(1, &second);
        assert_eq!(found(&fixture, Depth::Data).problems.len(), 1);
    }
}

#[test]
fn records_with_one_number_are_named() {
    let fixture = Fixture::new();
    let mut second = Segment::new(2);
    second.frame(&[data(8, 60, 0, 100), data(8, 60, 100, 100)]);
    fixture.slot(1, &second);
    assert_eq!(shown(&found(&fixture, Depth::Data).problems), ["log"]);
}

#[test]
fn the_log_of_another_filesystem_is_the_end_of_ours() {
    let fixture = Fixture::new();
    fixture.edit(|rows| rows.meta(&Meta { filesystem: FILESYSTEM + 1, ..META }));
    let findings = found(&fixture, Depth::Data);
    assert_eq!(findings.totals.pending_records, 0);
    assert_eq!(shown(&findings.problems), ["frame 2 /a", "frame 4 /b2", "frame 9"]);
}

// The report.

#[test]
fn problems_are_told_as_lines_and_as_json() {
    let fixture = Fixture::new();
    fixture.edit(|rows| rows.inode(&Inode { used: 8191, ..file(2, 20_000) }));
    let findings = found(&fixture, Depth::Data);
    let mut out = Vec::new();
    findings.print(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("/projects: used: /a (inode 2): it says that it uses 8191 bytes"), "{text}");
    assert!(text.ends_with("/projects: 1 problems: used 1\n"), "{text}");
    let mut out = Vec::new();
    super::report::print_json("/pool", &[findings], &[], &mut out).unwrap();
    let json = String::from_utf8(out).unwrap();
    let head = r#"{"pool":"/pool","clean":false,"filesystems":[{"share":"/projects","problem_count":1,"problems":[{"kind":"used","ino":2,"path":"/a","what":""#;
    assert!(json.starts_with(head), "{json}");
    assert!(json.ends_with("}}],\"failures\":[]}\n"), "{json}");
}
