//! The entry functions of the fuzz targets: each takes any bytes and panics if a reader misbehaves on them.
//!
//! They serve `fuzz/` (libFuzzer, needs a nightly compiler) and the seeded mutation of the golden files below, which runs with the
//! other tests on a stable one. CRCs would keep a fuzzer from ever reaching what is behind them, so besides the bytes as they are, each
//! function also tries them as the inside of something whose CRCs it makes right.
//!
//! What is checked beyond "no panic": whatever is accepted is complete, and writing it again gives the very same bytes.

use crate::bytes::u64_at;
use crate::effect::EffectsIter;
use crate::envelope::Envelope;
use crate::log::{RecordBody, Scanned, Scanner, SegmentHeader, frame_record};
use crate::manifest::Manifest;
use crate::rdb;
use crate::record::{
    ColdHeader, ColdKey, DeadlineKey, decode_deadline_value, encode_deadline_value,
};
use crate::snapshot::block::{BLOCK_HEADER_LENGTH, DecodedBlock, reseal_block};
use crate::snapshot::index::BlockIndex;
use crate::snapshot::statistics::STATISTICS_ENVELOPE;
use crate::snapshot::{HEADER_ENVELOPE, SnapshotHeader, SnapshotReader, Statistics};
use crate::stream::{EncodedStream, StreamEntry, put_consumer, put_group_head, put_pending};
use crate::value::{CollectionWriter, EncodedCollection, ValueKind};
use crate::varint::put_varint;

/// The value encoding: the first byte is the type.
pub fn fuzz_value(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let Some(kind) = ValueKind::from_byte(kind) else {
        return;
    };
    if kind == ValueKind::Stream {
        if let Ok(stream) = EncodedStream::parse(bytes) {
            assert_eq!(write_stream(&stream), bytes, "there is one encoding");
        }
        return;
    }
    let Ok(collection) = EncodedCollection::parse(kind, bytes) else {
        return;
    };
    let mut seen = 0;
    let mut again = Vec::new();
    let begin = if collection.has_field_deadlines() {
        CollectionWriter::begin_with_field_deadlines
    } else {
        CollectionWriter::begin
    };
    let mut writer = begin(
        &mut again,
        collection.len() as u64,
        collection.chunk_count() as u64,
    );
    for chunk in collection.chunks() {
        seen += match kind {
            ValueKind::SortedSet => chunk.scored().iter().count(),
            ValueKind::Hash => chunk.pairs().count(),
            _ => chunk.items().iter().count(),
        };
        writer.encoded_chunk(chunk.element_count() as u64, chunk.elements());
    }
    writer.finish();
    assert_eq!(seen, collection.len(), "every element is seen");
    assert_eq!(again, bytes, "there is one encoding");
}

/// Writes a stream anew from what its reader gives.
fn write_stream(stream: &EncodedStream<'_>) -> Vec<u8> {
    let mut again = Vec::new();
    stream.head.encode(&mut again);
    for chunk in stream.chunks() {
        let seen: Vec<StreamEntry<'_>> = chunk.entries_from(0).collect();
        assert_eq!(seen.len(), chunk.entry_count, "every entry is seen");
        for entry in seen {
            assert_eq!(entry.fields().count(), entry.field_count);
        }
        chunk.encode(&mut again);
    }
    put_varint(&mut again, stream.groups().len() as u64);
    for group in stream.groups() {
        put_group_head(
            &mut again,
            group.name,
            group.last_delivered_id,
            group.entries_read,
        );
        put_varint(&mut again, group.consumers().len() as u64);
        group
            .consumers()
            .for_each(|consumer| put_consumer(&mut again, &consumer));
        put_varint(&mut again, group.pending().len() as u64);
        group
            .pending()
            .for_each(|pending| put_pending(&mut again, &pending));
    }
    again
}

/// The body of a log record.
pub fn fuzz_effects(data: &[u8]) {
    let mut again = Vec::new();
    for effect in EffectsIter::new(data) {
        let Ok(effect) = effect else { break };
        effect.encode(&mut again);
    }
    assert!(data.starts_with(&again), "there is one encoding");
}

/// A log segment, and the body of a record in one.
pub fn fuzz_log(data: &[u8]) {
    scan_all(data);
    let header = SegmentHeader {
        segment_number: 1,
        first_lsn: 1,
        hash_seed: 1,
    };
    let mut segment = header.encode().to_vec();
    if !data.is_empty()
        && let Ok(body) = RecordBody::new(data)
    {
        let start = segment.len();
        segment.resize(start + body.frame_length(), 0);
        frame_record(&mut segment[start..], header.frame_seed(), 1, 0, &body);
    }
    segment.extend_from_slice(data);
    assert_eq!(
        scan_all(&segment),
        u64::from(!data.is_empty()),
        "only the valid record passes"
    );
}

/// How many records a scan finds.
fn scan_all(segment: &[u8]) -> u64 {
    let Ok(mut scanner) = Scanner::new(segment) else {
        return 0;
    };
    let mut count = 0;
    let mut offset = 0;
    while let Scanned::Record(record) = scanner.next_record() {
        assert_eq!(
            record.lsn,
            scanner.header().first_lsn + count,
            "LSNs are consecutive"
        );
        assert!(
            record.offset >= offset && record.next_offset > record.offset,
            "records follow one another"
        );
        fuzz_effects(record.body);
        offset = record.next_offset;
        count += 1;
    }
    count
}

/// A snapshot file, and the inside of each of its parts.
pub fn fuzz_snapshot(data: &[u8]) {
    if let Ok(reader) = SnapshotReader::from_bytes(data) {
        let entries: u64 = (0..reader.block_count())
            .filter_map(|block| reader.decode_block(block).ok())
            .map(|block| use_block(&block))
            .sum();
        assert!(
            entries <= reader.entry_count(),
            "no more entries than announced"
        );
    }
    if data.len() >= BLOCK_HEADER_LENGTH {
        let mut block = data.to_vec();
        reseal_block(&mut block);
        if let Ok(block) = DecodedBlock::decode(&block) {
            use_block(&block);
        }
    }
    let index = BlockIndex::new(data);
    if let Some((start, _)) = data.split_first_chunk::<32>() {
        let hash = u64_at(start, 8);
        assert!(
            index
                .block_of(u64_at(start, 0) as u32, hash)
                .is_none_or(|block| block < index.len())
        );
        let range = index.blocks_of_range(0, hash..=u64_at(start, 16));
        assert!(range.start <= range.end && range.end <= index.len());
        let entry_count = u64_at(start, 24);
        assert!(
            index.validate(64..hash, 0, entry_count).is_err()
                || index.rows().all(|row| row.entry_count > 0)
        );
    }
    fuzz_envelope::<SnapshotHeader>(&HEADER_ENVELOPE, data);
    fuzz_envelope::<Statistics>(&STATISTICS_ENVELOPE, data);
}

/// Reads all of a decoded block; how many entries it holds.
fn use_block(block: &DecodedBlock) -> u64 {
    let mut again = Vec::new();
    for entry in block.entries() {
        assert_eq!(
            block.find(entry.generation, entry.hash, entry.key),
            Some(entry)
        );
        entry.encode(&mut again);
    }
    assert_eq!(again.len(), block.raw_length(), "every entry is seen");
    u64::from(block.entry_count())
}

/// The manifest, and the body of one.
pub fn fuzz_manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::decode(data) {
        assert_eq!(
            manifest.encode().ok().as_deref(),
            Some(data),
            "there is one encoding"
        );
    }
    fuzz_envelope::<Manifest>(&crate::manifest::ENVELOPE, data);
}

/// `data` as the body of an envelope whose CRC is right.
fn fuzz_envelope<T: serde::Serialize + serde::de::DeserializeOwned>(
    envelope: &Envelope,
    data: &[u8],
) {
    let sealed = envelope.seal_body(data);
    if let Ok((content, length)) = envelope.open::<T>(&sealed) {
        assert_eq!(length, sealed.len());
        assert!(
            envelope.seal(&content).is_ok(),
            "what was read can be written"
        );
    }
}

/// A cold record's key and value, and a row of the index of deadlines.
pub fn fuzz_record(data: &[u8]) {
    if let Ok(key) = ColdKey::decode(data) {
        assert_eq!(key.to_vec(), data, "there is one encoding");
    }
    if let Ok((header, value)) = ColdHeader::decode(data) {
        assert_eq!(
            [&header.encode()[..], value].concat(),
            data,
            "there is one encoding"
        );
    }
    if let Ok(key) = DeadlineKey::decode(data) {
        let mut again = Vec::new();
        key.encode(&mut again);
        assert_eq!(again, data, "there is one encoding");
    }
    if let Ok(lsn) = decode_deadline_value(data) {
        assert_eq!(encode_deadline_value(lsn), data);
    }
}

/// A value of RDB (the first byte is its type), and a payload of DUMP. What is accepted is well formed, and what is written of it is
/// read as the same value.
pub fn fuzz_rdb(data: &[u8]) {
    if let Ok(value) = rdb::payload::decode(data) {
        use_rdb_value(&value);
    }
    let Some((&type_byte, body)) = data.split_first() else {
        return;
    };
    if let Ok(value) = rdb::load::read_value(type_byte, &mut rdb::reader::RdbReader::new(body)) {
        use_rdb_value(&value);
    }
}

fn use_rdb_value(value: &rdb::load::LoadedValue) {
    let rewritten = |value: &rdb::load::LoadedValue| {
        let payload = rdb::payload::encode(value.kind, &value.encoded).expect("well formed");
        rdb::payload::decode(&payload).expect("it was just written")
    };
    let once = rewritten(value);
    assert_eq!(once.kind, value.kind);
    // The order of a set's members may change once: integers are sorted.
    assert_eq!(once.encoded.len(), value.encoded.len(), "nothing is lost");
    assert_eq!(rewritten(&once), once);
}

#[cfg(test)]
#[path = "fuzzing_tests.rs"]
mod tests;
