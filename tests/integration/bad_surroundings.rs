//! A machine that is not as it should be: a port in use, a directory that cannot be used, damaged files, a full disk.
//! Each gives one clear error, and nothing that was acknowledged is lost.

use crate::harness::{Server, free_port, wait_until};
use crate::wire::{Client, Reply};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use storage_format::Manifest;

const OPTIONS: &str = "--maxmemory 64mb";

/// Starts a server that cannot serve, and checks that it says why, once.
#[track_caller]
fn assert_refused(server: &mut Server, expected: &str) {
    let text = server.start_in_vain();
    assert!(text.contains(expected), "no {expected:?} in\n{text}");
    assert!(!text.contains("panicked"), "{text}");
}

fn new_directory() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let path = temporary.path().join("data");
    (temporary, path)
}

#[test]
fn a_port_in_use_is_named() {
    let (_temporary, directory) = new_directory();
    let port = free_port();
    let _occupied = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let mut server = Server::prepare(&directory, OPTIONS);
    server.set_port(port);
    server.expect_errors(&["cannot listen"]);
    assert_refused(&mut server, &format!("cannot listen on 127.0.0.1:{port}"));
    assert!(
        !directory.join("MANIFEST").exists(),
        "nothing was made before the port was there"
    );
}

#[test]
fn a_directory_serves_one_larder_at_a_time() {
    let mut first = Server::start(OPTIONS);
    first.client().ok("SET key value");
    let mut second = Server::prepare(first.directory(), OPTIONS);
    second.expect_errors(&["locked by another Larder"]);
    assert_refused(&mut second, "locked by another Larder");
    assert_eq!(first.client().line("GET key"), Reply::bulk("value"));
    first.kill_and_restart();
    assert_eq!(
        first.client().line("GET key"),
        Reply::bulk("value"),
        "a killed server leaves no lock"
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let (temporary, _) = new_directory();
    let file = temporary.path().join("file");
    std::fs::write(&file, "in the way").expect("written");
    let mut server = Server::prepare(&file.join("data"), OPTIONS);
    server.expect_errors(&["create data directory"]);
    assert_refused(&mut server, "create data directory");
}

#[test]
fn a_read_only_directory_is_named() {
    let (_temporary, directory) = new_directory();
    let Some(mount) = Mount::new(&directory, "size=1m") else {
        return;
    };
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&mount.path)
        .status();
    assert!(
        remounted.is_ok_and(|status| status.success()),
        "a tmpfs can become read-only"
    );
    let mut server = Server::prepare(&directory, OPTIONS);
    server.expect_errors(&["Read-only file system"]);
    assert_refused(&mut server, "Read-only file system");
}

#[test]
fn a_newer_format_is_told_from_damage_and_left_alone() {
    let mut server = Server::start(OPTIONS);
    server.client().ok("SET key value");
    server.shut_down();
    let path = server.directory().join("MANIFEST");
    let original = std::fs::read(&path).expect("a manifest");
    assert!(Manifest::decode(&original).is_ok());

    let newer = with_version(&original, 99);
    std::fs::write(&path, &newer).expect("written");
    server.expect_errors(&["MANIFEST"]);
    assert_refused(&mut server, "version 99");
    assert_eq!(
        std::fs::read(&path).expect("still there"),
        newer,
        "nothing was changed"
    );

    let mut damaged = original.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&path, &damaged).expect("written");
    assert_refused(&mut server, "MANIFEST");

    std::fs::write(&path, &original).expect("written");
    server.start_again();
    assert_eq!(server.client().line("GET key"), Reply::bulk("value"));
}

/// The same envelope (FORMAT.md section 1.3) with another version number and a CRC that is right.
fn with_version(envelope: &[u8], version: u32) -> Vec<u8> {
    let mut bytes = envelope.to_vec();
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..16]);
    hasher.update(&bytes[20..]);
    bytes[16..20].copy_from_slice(&hasher.finalize().to_le_bytes());
    bytes
}

/// The segment of the log that was written last.
fn newest_segment(directory: &Path) -> PathBuf {
    let items = std::fs::read_dir(directory.join("log")).expect("a log");
    let mut found: Vec<(u64, PathBuf)> = items
        .map(|item| item.expect("readable").path())
        .filter_map(|path| {
            let bytes = std::fs::read(&path).ok()?;
            let scanner = storage_format::log::Scanner::new(&bytes).ok()?;
            Some((scanner.header().segment_number, path))
        })
        .collect();
    found.sort();
    found.pop().expect("a segment").1
}

/// Where the records of a segment begin, and the end of the last one.
fn record_offsets(segment: &Path) -> (Vec<u64>, u64) {
    let bytes = std::fs::read(segment).expect("readable");
    let mut scanner = storage_format::log::Scanner::new(&bytes).expect("a segment");
    let (mut offsets, mut end) = (Vec::new(), 0);
    while let storage_format::log::Scanned::Record(record) = scanner.next_record() {
        offsets.push(record.offset);
        end = record.next_offset;
    }
    (offsets, end)
}

fn change_byte(path: &Path, offset: u64) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[offset as usize] ^= 0x55;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_torn_tail_is_cut_off_and_reported() {
    let mut server = Server::start(OPTIONS);
    let mut client = server.client();
    for number in 0..20 {
        client.line(&format!("RPUSH list {number}"));
    }
    server.kill();
    let segment = newest_segment(server.directory());
    let (offsets, end) = record_offsets(&segment);
    assert_eq!(offsets.len(), 20);
    change_byte(&segment, end - 1);
    server.start_again();
    assert_eq!(
        server.client().line("LLEN list"),
        Reply::Integer(19),
        "all but the torn record"
    );
    assert_eq!(server.client().line("RPUSH list again"), Reply::Integer(20));
    server.kill_and_restart();
    assert_eq!(
        server.client().line("LINDEX list -1"),
        Reply::bulk("again"),
        "what was written behind the cut is there"
    );
}

#[test]
fn damage_in_the_middle_of_the_log_refuses_to_start() {
    let mut server = Server::start(OPTIONS);
    let mut client = server.client();
    for number in 0..20 {
        client.line(&format!("RPUSH list {number}"));
    }
    server.kill();
    let segment = newest_segment(server.directory());
    let (offsets, _) = record_offsets(&segment);
    let place = offsets[10] + 20;
    change_byte(&segment, place);
    server.expect_errors(&["damage"]);
    let text = server.start_in_vain();
    assert!(
        text.contains(&offsets[10].to_string()),
        "the offset {} is named: {text}",
        offsets[10]
    );
    change_byte(&segment, place);
    server.start_again();
    assert_eq!(
        server.client().line("LLEN list"),
        Reply::Integer(20),
        "the damage was not made worse"
    );
}

#[test]
fn a_damaged_snapshot_falls_back_to_the_one_before() {
    let mut server = Server::start("--maxmemory 64mb --save ''");
    let mut client = server.client();
    for round in 0..2 {
        for number in 0..50 {
            client.ok(&format!("SET key:{number} {round}"));
        }
        client.ok("SAVE");
        client.line("INCR saves");
    }
    server.kill();
    let manifest = Manifest::read(&server.directory().join("MANIFEST")).expect("a manifest");
    assert_eq!(manifest.snapshots.len(), 2, "snapshot-keep is 2");
    let newest = server
        .directory()
        .join("snapshots")
        .join(&manifest.snapshots[1].file_name);
    let middle = std::fs::metadata(&newest).expect("a snapshot").len() / 2;
    change_byte(&newest, middle);
    server.expect_errors(&["snapshot"]);
    server.start_again();
    let mut client = server.client();
    for number in 0..50 {
        assert_eq!(client.line(&format!("GET key:{number}")), Reply::bulk("1"));
    }
    assert_eq!(client.line("GET saves"), Reply::bulk("2"));
    assert_eq!(client.line("DBSIZE"), Reply::Integer(51));
}

/// A small file system in memory. Dropped, it is unmounted.
struct Mount {
    path: PathBuf,
}

impl Mount {
    /// `None`, with the reason printed, where this user may not mount.
    fn new(path: &Path, options: &str) -> Option<Mount> {
        std::fs::create_dir_all(path).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Mount {
                path: path.to_owned(),
            }),
            Ok(output) => {
                println!(
                    "skipped, because nothing can be mounted: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("skipped, because there is no mount: {error}");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the server may still be ending.
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.path.display());
        }
    }
}

const VALUE_BYTES: usize = 256 << 10;

fn value_of(number: usize) -> String {
    format!("{number:08}").repeat(VALUE_BYTES / 8)
}

/// Writes values until the server refuses one; how many it took, and the error.
fn write_until_refused(client: &mut Client) -> (usize, String) {
    for number in 0..4000 {
        match client.call(&["SET", &format!("key:{number}"), &value_of(number)]) {
            Reply::Simple(_) => {}
            reply => return (number, reply.error().to_owned()),
        }
    }
    panic!("a gigabyte was written to a disk of a third of it");
}

#[track_caller]
fn assert_values(client: &mut Client, count: usize) {
    for number in 0..count {
        let reply = client.line(&format!("GET key:{number}"));
        assert!(
            reply == Reply::bulk(value_of(number)),
            "key:{number} of {count}: {reply:?}"
        );
    }
}

/// Bytes that cannot be compressed.
fn noise_of(number: usize) -> Vec<u8> {
    let mut state = number as u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..VALUE_BYTES).map(|_| next()).collect()
}

fn set_noise(client: &mut Client, number: usize) -> Reply {
    client.call(&[
        b"SET",
        format!("key:{number}").as_bytes(),
        &noise_of(number),
    ])
}

#[track_caller]
fn assert_noise(client: &mut Client, numbers: &[usize]) {
    for number in numbers {
        let reply = client.line(&format!("GET key:{number}"));
        assert!(
            reply == Reply::bulk(noise_of(*number)),
            "key:{number}: {reply:?}"
        );
    }
}

/// The log has room, the cold tier has none: each write gets an answer, and not after a minute.
#[test]
fn a_full_disk_below_the_cold_tier_keeps_nobody_waiting() {
    let (_temporary, data) = new_directory();
    let cold = data.join("cold");
    let Some(mount) = Mount::new(&cold, "size=100m") else {
        return;
    };
    let options = "--maxmemory 64mb --save '' --auto-aof-rewrite-percentage 0";
    let mut server = Server::start_in(&data, options);
    server.expect_errors(&[
        "the disk of the cold tier is full",
        "No space left",
        "is there space?",
    ]);
    let mut client = server.client();
    let (mut taken, mut refused) = (Vec::new(), 0);
    for number in 0..1000 {
        // One that waits for longer than a minute fails this test.
        match set_noise(&mut client, number) {
            Reply::Simple(_) => taken.push(number),
            reply => {
                assert!(reply.error().starts_with("OOM"), "{reply:?}");
                refused += 1;
            }
        }
        if refused == 200 {
            break;
        }
    }
    assert_eq!(refused, 200, "the disk is full");
    let is_named = |line: &String| {
        line.contains("the disk of the cold tier is full")
            && line.contains(&*cold.to_string_lossy())
    };
    assert!(server.log().iter().any(is_named), "{:?}", server.log());
    assert_noise(&mut client, &taken);
    // A snapshot needs the cold tier on the disk. It fails; it does not wait until there is space.
    assert!(matches!(client.line("SAVE"), Reply::Error(_)));

    let remounted = Command::new("mount")
        .args(["-o", "remount,size=600m"])
        .arg(&mount.path)
        .status();
    assert!(remounted.is_ok_and(|status| status.success()));
    wait_until("writes are taken again", || {
        (2000..2100).all(|number| set_noise(&mut client, number) == Reply::ok())
    });
    wait_until("the log says so", || {
        let mut lines = server.log().into_iter();
        lines.any(|line| line.contains("can be moved to the cold tier again"))
    });
    assert_noise(&mut client, &taken);
    wait_until("a snapshot can be taken again", || {
        client.line("SAVE") == Reply::ok()
    });
    server.kill();
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let (_temporary, directory) = new_directory();
    let Some(mount) = Mount::new(&directory, "size=700m") else {
        return;
    };
    let filler = mount.path.join("filler");
    std::fs::write(&filler, vec![1; 320 << 20]).expect("there is room");
    let options = "--maxmemory 64mb --save '' --auto-aof-rewrite-percentage 0";
    let mut server = Server::start_in(&mount.path.join("data"), options);
    server.expect_errors(&["No space left", "no space", "os error 28"]);
    let mut client = server.client();
    let (count, error) = write_until_refused(&mut client);
    println!("{count} values of {VALUE_BYTES} bytes, then: {error}");
    assert!(count > 100, "only {count} values found room");
    assert!(
        error.starts_with("MISCONF") || error.starts_with("OOM"),
        "{error}"
    );
    assert_eq!(client.line("PING"), Reply::Simple("PONG".to_owned()));
    assert_values(&mut client, count);
    assert_eq!(client.line("DBSIZE"), Reply::Integer(count as i64));

    std::fs::remove_file(&filler).expect("removed");
    wait_until("writes are taken again", || {
        client.line("SET late value") == Reply::ok()
    });
    server.kill_and_restart();
    let mut client = server.client();
    assert_values(&mut client, count);
    assert_eq!(client.line("GET late"), Reply::bulk("value"));
    assert_eq!(client.line("DBSIZE"), Reply::Integer(count as i64 + 1));
    server.kill();
}
