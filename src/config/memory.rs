//! Amounts of memory: their spelling in configuration files, and how much of it this process may use.

use std::fs;
use std::path::{Path, PathBuf};

/// Units as Redis has them: `k` is 1000, `kb` is 1024. Larger ones first, for printing.
const UNITS: [(&str, u64); 8] = [
    ("gb", 1 << 30),
    ("g", 1_000_000_000),
    ("mb", 1 << 20),
    ("m", 1_000_000),
    ("kb", 1 << 10),
    ("k", 1000),
    ("b", 1),
    ("", 1),
];

/// Reads `100`, `64mb` or `1G` into bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = UNITS
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name))?
        .1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Prints bytes with the largest unit that divides them.
pub fn format_bytes(bytes: u64) -> String {
    let binary = UNITS.iter().filter(|(name, _)| name.len() == 2);
    match binary
        .into_iter()
        .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor))
    {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// Bytes of memory that this process may use: the machine's, or less if a control group (a container) limits it.
/// None where the system does not tell.
pub fn available_bytes() -> Option<u64> {
    available_below(Path::new("/"))
}

/// As [`available_bytes`], with the system's files below `root`.
fn available_below(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| group_limits(root, line));
    machine_bytes(root).into_iter().chain(limits).min()
}

/// `MemTotal` of the machine.
fn machine_bytes(root: &Path) -> Option<u64> {
    let information = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = information
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The limits that apply to a group, its own and its parents', given a line `id:controllers:path` of
/// `/proc/self/cgroup`. Version 2 has the id 0 and no controllers; version 1 has a hierarchy for `memory`.
fn group_limits(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':');
    let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
    else {
        return Vec::new();
    };
    let (mount, file) = match controllers {
        "" => (root.join("sys/fs/cgroup"), "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    // Within a container the path may be the one outside: then only the mount point itself can be read, which is the
    // container's group.
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors()
        .filter_map(|group| limit_in(mount.join(group), file))
        .collect()
}

/// The limit in a group's directory; "max", or an absurdly large number in version 1, means none.
fn limit_in(directory: PathBuf, file: &str) -> Option<u64> {
    let bytes: u64 = fs::read_to_string(directory.join(file))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    (bytes > 0 && bytes < 1 << 60).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_and_print() {
        let cases: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("100", Some(100)),
            ("100b", Some(100)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("5m", Some(5_000_000)),
            ("5Mb", Some(5 << 20)),
            ("2g", Some(2_000_000_000)),
            ("2gB", Some(2 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999gb", None),
            ("", None),
            ("mb", None),
            ("-1", None),
            ("+1", None),
            ("1.5gb", None),
            ("1 gb", None),
            ("1tb", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bytes(text), *expected, "{text:?}");
        }
        for (bytes, expected) in [
            (0, "0"),
            (1000, "1000"),
            (2048, "2kb"),
            (3 << 20, "3mb"),
            (1 << 40, "1024gb"),
        ] {
            assert_eq!(format_bytes(bytes), expected);
        }
    }

    #[test]
    fn the_tightest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:    1024 kB\nMemFree: 5 kB\n");
        type Files<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(Files, Option<u64>)] = &[
            (&[], None),
            (&[meminfo], Some(1 << 20)),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/memory.max", "5000\n"),
                ],
                Some(5000),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/memory.max", "5000\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                    ("sys/fs/cgroup/memory.max", "4000\n"),
                ],
                Some(4000),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "4:cpu:/x\n3:cpuset,memory:/docker/1\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "700000\n"),
                ],
                Some(700_000),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "3:memory:/\n"),
                    (
                        "sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                ],
                Some(1 << 20),
            ),
        ];
        for (files, expected) in cases {
            let root = tempfile::tempdir().expect("a temporary directory");
            for (path, content) in *files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(path, content).expect("a file");
            }
            assert_eq!(available_below(root.path()), *expected, "{files:?}");
        }
    }
}
