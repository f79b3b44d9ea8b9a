//! Reading configuration files: lines of a directive and its arguments, comments, quotes, `include`.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Source};
use crate::glob;
use crate::resp::quoting;

/// How deeply files may include each other.
const INCLUDE_DEPTH: usize = 16;

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub source: Source,
    /// Its number there, from 1.
    pub number: usize,
    /// As it was written, without blanks around it.
    pub text: String,
    /// The directive.
    pub name: String,
    /// Its arguments, unquoted.
    pub arguments: Vec<String>,
}

impl Line {
    /// The error that this line cannot be accepted.
    pub fn refuse(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::Line {
            source_of: self.source.clone(),
            line: self.number,
            text: self.text.clone(),
            reason: reason.into(),
        }
    }
}

/// Reads a file and what it includes. `-` is standard input.
pub fn read(path: &str) -> Result<Vec<Line>, ConfigError> {
    let mut lines = Vec::new();
    read_into(path, Source::File, 0, &mut lines)?;
    Ok(lines)
}

fn read_into(
    path: &str,
    source: Source,
    depth: usize,
    lines: &mut Vec<Line>,
) -> Result<(), ConfigError> {
    if depth > INCLUDE_DEPTH {
        return Err(ConfigError::TooManyIncludes {
            path: path.to_owned(),
        });
    }
    for line in parse(&content(path)?, &source)? {
        if !line.name.eq_ignore_ascii_case("include") {
            lines.push(line);
            continue;
        }
        let [pattern] = line.arguments.as_slice() else {
            return Err(line.refuse("wrong number of arguments"));
        };
        for included in included_files(pattern)? {
            read_into(
                &included,
                Source::Included(included.clone()),
                depth + 1,
                lines,
            )?;
        }
    }
    Ok(())
}

fn content(path: &str) -> Result<Vec<u8>, ConfigError> {
    let mut content = Vec::new();
    let outcome = if path == "-" {
        std::io::stdin().lock().read_to_end(&mut content)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut content))
    };
    outcome.map_err(|cause| ConfigError::Read {
        path: path.to_owned(),
        cause,
    })?;
    Ok(content)
}

/// Splits a text into its lines that say something.
pub fn parse(content: &[u8], source: &Source) -> Result<Vec<Line>, ConfigError> {
    let numbered = content
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .zip(1..);
    let spoken = numbered.filter(|(line, _)| !line.is_empty() && line[0] != b'#');
    spoken
        .map(|(line, number)| parse_line(line, number, source))
        .collect()
}

fn parse_line(text: &[u8], number: usize, source: &Source) -> Result<Line, ConfigError> {
    let mut line = Line {
        source: source.clone(),
        number,
        text: String::from_utf8_lossy(text).into_owned(),
        name: String::new(),
        arguments: Vec::new(),
    };
    let words =
        quoting::split(text).map_err(|_| line.refuse("Unbalanced quotes in configuration line"))?;
    let words = words
        .into_iter()
        .map(String::from_utf8)
        .collect::<Result<Vec<_>, _>>();
    let mut words = words
        .map_err(|_| line.refuse("The line is not UTF-8 text"))?
        .into_iter();
    line.name = words.next().unwrap_or_default();
    line.arguments = words.collect();
    Ok(line)
}

/// The files that an `include` names: one, or with wildcards in the last part of the path, those that match.
fn included_files(pattern: &str) -> Result<Vec<String>, ConfigError> {
    let path = Path::new(pattern);
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if !name.contains(['*', '?', '[']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let failed = |cause| ConfigError::Read {
        path: pattern.to_owned(),
        cause,
    };
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        // A pattern that matches nothing is no mistake: the directory of overrides may not exist yet.
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry
            .map_err(failed)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if glob::matches(name.as_bytes(), entry.as_bytes()) && !entry.starts_with('.') {
            found.push(directory.join(entry).to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}
