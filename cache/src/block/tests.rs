//! Arenas, heads, chunks, and what is sent of them.

use monoio::buf::IoVecBuf;

use super::*;

fn filled(arena: &Arena, fill: u8) -> Arc<Chunk> {
    let mut blank = arena.take().unwrap();
    blank.bytes_mut().fill(fill);
    let chunk = blank.whole();
    let checksum = crc32c::crc32c(&[fill; BLOCK_BYTES]);
    (0..CHUNK_BLOCKS).for_each(|index| assert!(chunk.verify(index, checksum)));
    chunk
}

/// What the kernel would send, at most `limit` bytes.
fn kernel_reads(sending: &Sending, limit: usize) -> Vec<u8> {
    let (start, count) = (sending.read_iovec_ptr(), sending.read_iovec_len());
    let mut bytes = Vec::new();
    for index in 0..count {
        // SAFETY: the list promises `count` ranges, each of them readable.
        let range = unsafe {
            let iovec = &*start.add(index);
            std::slice::from_raw_parts(iovec.iov_base.cast::<u8>(), iovec.iov_len)
        };
        bytes.extend_from_slice(range);
    }
    bytes.truncate(limit);
    bytes
}

#[test]
fn an_arena_never_exceeds_its_budget_and_gives_the_last_one_first() {
    let arena = Arena::new(3 * CHUNK_BYTES + 100);
    assert_eq!(arena.chunks_max(), 3);
    let chunks: Vec<Blank> = std::iter::from_fn(|| arena.take()).collect();
    assert_eq!(chunks.len(), 3);
    let starts: Vec<*mut u8> = chunks.iter().map(Blank::start).collect();
    assert!(starts.iter().all(|start| start.addr().is_multiple_of(BLOCK_BYTES)));
    drop(chunks);
    assert_eq!(arena.take().unwrap().start(), starts[2]);
    assert_eq!(arena.chunks_made(), 3);
}

#[test]
fn chunks_of_several_slabs_do_not_overlap_and_begin_as_zeros() {
    let arena = Arena::new((2 * SLAB_CHUNKS + 3) * CHUNK_BYTES);
    let mut chunks: Vec<Blank> = std::iter::from_fn(|| arena.take()).collect();
    assert_eq!(chunks.len(), 2 * SLAB_CHUNKS + 3);
    drop(arena);
    for (index, chunk) in chunks.iter_mut().enumerate() {
        assert!(chunk.bytes()[0] == 0 && chunk.bytes()[CHUNK_BYTES - 1] == 0);
        let ends = [0, CHUNK_BYTES - 1];
        ends.into_iter().for_each(|at| chunk.bytes_mut()[at] = index as u8);
    }
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!([chunk.bytes()[0], chunk.bytes()[CHUNK_BYTES - 1]], [index as u8; 2]);
    }
}

#[test]
fn slabs_are_ready_before_they_are_needed_and_twice_as_many_as_were_used() {
    let arena = Arena::new((16 * SLAB_CHUNKS + 1) * CHUNK_BYTES);
    let ready = || arena.bytes_ready() / (SLAB_CHUNKS * CHUNK_BYTES);
    let prepare = || std::iter::from_fn(|| arena.prepare().then_some(())).count();
    let take = |slabs: usize| (0..slabs * SLAB_CHUNKS).filter_map(|_| arena.take()).collect::<Vec<Blank>>();
    assert_eq!((prepare(), ready(), arena.chunks_made()), (2, 2, 0));
    let mut chunks = take(2);
    assert_eq!((ready(), prepare(), ready()), (0, 2, 2));
    chunks.extend(take(4));
    assert_eq!((ready(), prepare(), ready()), (0, 6, 6));
    chunks.extend(take(100));
    assert_eq!((chunks.len(), ready(), prepare()), (arena.chunks_max(), 0, 0));
    let mut starts: Vec<usize> = chunks.iter().map(|chunk| chunk.start().addr()).collect();
    starts.sort_unstable();
    assert!(starts.windows(2).all(|pair| pair[0] + CHUNK_BYTES == pair[1]), "each chunk is given once");
    assert!(chunks.iter().all(|chunk| chunk.bytes().iter().all(|&byte| byte == 0)));
}

#[test]
fn what_is_not_ready_is_taken_untouched_while_another_thread_prepares() {
    let arena = Arena::new(24 * SLAB_CHUNKS * CHUNK_BYTES);
    let preparing = arena.clone();
    let (woken, wakes) = std::sync::mpsc::channel();
    let preparer = std::thread::spawn(move || {
        preparing.wake_to_prepare(std::thread::current());
        woken.send(()).unwrap();
        while preparing.shared.stock.lock().claimed < preparing.chunks_max() {
            if !preparing.prepare() {
                std::thread::park();
            }
        }
    });
    wakes.recv().unwrap();
    let mut chunks = Vec::new();
    while chunks.len() < arena.chunks_max() {
        // At the very end the last slab may still be in the other thread's hands.
        let Some(mut chunk) = arena.take() else { continue };
        assert!(chunk.bytes().iter().all(|&byte| byte == 0));
        chunk.bytes_mut().fill(0xee);
        chunks.push(chunk);
    }
    preparer.join().unwrap();
    assert!(chunks.iter().all(|chunk| chunk.bytes().iter().all(|&byte| byte == 0xee)));
}

#[test]
fn a_chunk_comes_back_when_its_last_piece_goes_on_whichever_thread() {
    let arena = Arena::new(CHUNK_BYTES);
    let piece = Piece::new(filled(&arena, 5), 10, 100);
    assert!(arena.take().is_none());
    std::thread::spawn(move || assert_eq!(piece.as_slice(), [5; 100])).join().unwrap();
    assert!(arena.take().is_some());
}

#[test]
fn blocks_of_a_head_are_seen_once_published_while_others_are_being_written() {
    let arena = Arena::new(CHUNK_BYTES);
    let mut head = arena.take().unwrap().head();
    let chunk = head.chunk().clone();
    let reader = std::thread::spawn(move || {
        for index in 0..CHUNK_BLOCKS {
            while chunk.block(index).is_none() {
                std::thread::yield_now();
            }
            assert_eq!(chunk.block(index).unwrap()[..9], [index as u8 + 1; 9]);
            assert_eq!(chunk.block(index).unwrap()[9..], [0; BLOCK_BYTES - 9]);
        }
    });
    for index in 0..CHUNK_BLOCKS {
        head.write(index, &[0xee; BLOCK_BYTES]);
        let checksum = head.write(index, &[index as u8 + 1; 9]);
        head.publish(index, 1);
        assert_eq!(checksum, crc32c::crc32c(head.chunk().block(index).unwrap()));
    }
    reader.join().unwrap();
}

#[test]
#[should_panic(expected = "never written again")]
fn a_published_block_cannot_be_written() {
    let mut head = Arena::new(CHUNK_BYTES).take().unwrap().head();
    head.write(3, b"once");
    head.publish(3, 1);
    head.write(3, b"twice");
}

#[test]
#[should_panic(expected = "only verified blocks")]
fn bytes_that_were_not_verified_do_not_leave() {
    let chunk = Arena::new(CHUNK_BYTES).take().unwrap().whole();
    Piece::new(chunk, 0, 1);
}

#[test]
fn a_wrong_checksum_leaves_the_block_unverified() {
    let chunk = Arena::new(CHUNK_BYTES).take().unwrap().whole();
    let right = crc32c::crc32c(&[0; BLOCK_BYTES]);
    assert!(!chunk.verify(2, right ^ 1));
    assert!(!chunk.is_verified(2, 1));
    assert!(chunk.verify(2, right));
    assert!(chunk.is_verified(2, 1));
    assert!(!chunk.is_verified(1, 2));
    assert!(!chunk.is_header(2));
    chunk.set_header(2);
    assert!(chunk.is_header(2));
}

#[test]
fn a_gather_sends_heads_and_pieces_in_order_however_short_the_sends() {
    let arena = Arena::new(4 * CHUNK_BYTES);
    for step in [1, 7, 4096, 1 << 20] {
        let mut gather = Gather::new();
        gather.push(Piece::new(filled(&arena, 1), 4090, 12));
        gather.head().extend_from_slice(b"head");
        gather.push(Piece::zeros(3));
        gather.push(Piece::zeros(0));
        gather.head().extend_from_slice(b"xx");
        gather.head()[4..].copy_from_slice(b"ta");
        gather.push(Piece::new(filled(&arena, 2), 0, 5));
        gather.head().extend_from_slice(b"il");
        let wanted = b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01head\0\0\0ta\x02\x02\x02\x02\x02il".to_vec();
        assert_eq!(gather.bytes(), wanted.len());
        let mut sending = gather.seal();
        let mut sent = Vec::new();
        while sending.remaining() > 0 {
            let bytes = kernel_reads(&sending, step);
            sending.advance(bytes.len());
            sent.extend(bytes);
        }
        assert_eq!(sent, wanted, "{step} bytes at a time");
        assert_eq!(sending.read_iovec_len(), 0);
        let gather = sending.reuse();
        assert!(gather.is_empty());
        assert!(gather.head.capacity() > 0, "its memory is used again");
    }
    let back: Vec<Blank> = std::iter::from_fn(|| arena.take()).collect();
    assert_eq!(back.len(), 4, "no piece is kept");
}

#[test]
fn a_gather_counts_the_chunks_that_its_pieces_keep() {
    let arena = Arena::new(4 * CHUNK_BYTES);
    let (one, two) = (filled(&arena, 1), filled(&arena, 2));
    let mut gather = Gather::new();
    gather.push(Piece::new(one.clone(), 0, 1));
    assert!(gather.held_bytes() >= CHUNK_BYTES);
    gather.push(Piece::new(one, 1, CHUNK_BYTES - 1));
    assert!(gather.held_bytes() < CHUNK_BYTES + 1000);
    gather.push(Piece::new(two, 9, 9));
    gather.push(Piece::zeros(7));
    assert!((2 * CHUNK_BYTES..2 * CHUNK_BYTES + 1000).contains(&gather.held_bytes()));
    let sending = gather.seal();
    assert_eq!(sending.surplus_bytes(), 2 * CHUNK_BYTES + 7 + 4 * PIECE_BYTES - sending.remaining());
    assert_eq!(sending.reuse().held_bytes(), 0);
}

#[test]
fn the_kernel_gets_no_more_ranges_than_it_takes() {
    let mut gather = Gather::new();
    (0..IOVECS_MAX + 5).for_each(|_| gather.push(Piece::zeros(1)));
    let mut sending = gather.seal();
    assert_eq!(sending.read_iovec_len(), IOVECS_MAX);
    sending.advance(IOVECS_MAX);
    assert_eq!(sending.read_iovec_len(), 5);
    let mut gather = sending.reuse();
    (0..40).for_each(|_| gather.push(Piece::zeros(CHUNK_BYTES)));
    let mut sending = gather.seal();
    assert_eq!(sending.read_iovec_len() * CHUNK_BYTES, SEND_BYTES);
    sending.advance(100);
    assert_eq!(sending.read_iovec_len() * CHUNK_BYTES, SEND_BYTES + CHUNK_BYTES);
    sending.advance(38 * CHUNK_BYTES);
    assert_eq!(sending.read_iovec_len(), 2);
}

#[test]
fn what_is_in_one_place_is_given_as_it_is_and_what_is_left_of_it() {
    let mut gather = Gather::new();
    gather.head().extend_from_slice(b"answers");
    let mut sending = gather.seal();
    assert_eq!(sending.plain(), Some(&b"answers"[..]));
    sending.advance(3);
    assert_eq!(sending.plain(), Some(&b"wers"[..]));
    sending.advance(4);
    assert_eq!(sending.plain(), Some(&b""[..]));
    let mut gather = sending.reuse();
    gather.head().extend_from_slice(b"and");
    gather.push(Piece::zeros(1));
    assert_eq!(gather.seal().plain(), None);
}
