//! Starts and ends real servers: Larder in a temporary directory, and `redis-server` to compare with.
//!
//! A [`Server`] belongs to one test. Dropping it kills its process and, unless the test is failing already, panics if
//! the server logged an ERROR that was not announced by [`Server::expect_errors`], or if one of its threads panicked:
//! an error nobody asked for is a failure even where the replies look right.

use crate::wire::{Client, Reply};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take until it answers, or until it has ended.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Lines of the log that are shown when a test fails.
const SHOWN_LINES: usize = 60;

/// Waits until `condition` holds; panics with `what` if it does not within three minutes: a machine under load is slow.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(180);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens on. Below the range from which the system picks ports of outgoing connections, and not
/// handed out twice by this process.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new((std::process::id() % 8000) as u16));
    for _ in 0..8000 {
        let port = 21_000 + next.fetch_add(1, Ordering::Relaxed) % 8000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Whether a program is installed.
pub fn is_installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// What a process has printed so far.
type Lines = Arc<Mutex<Vec<String>>>;

/// A running process whose output is collected.
struct Process {
    child: Child,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    fn spawn(
        program: &Path,
        arguments: &[String],
        environment: &[(&'static str, &'static str)],
        lines: &Lines,
    ) -> Process {
        let mut command = Command::new(program);
        command
            .args(arguments)
            // Redis sorts texts by the rules of the language that the environment names.
            .env("LC_ALL", "C")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(collect(stdout, lines));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(collect(stderr, lines));
        }
        Process { child, readers }
    }

    /// Waits for the end of the process; `None` if it does not come in time.
    fn wait(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + START_TIMEOUT;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.try_wait() {
                for reader in self.readers.drain(..) {
                    reader.join().expect("a reader does not panic");
                }
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// SIGKILL: no handler, no flush.
    fn kill(&mut self) {
        // A process that has ended already is as good as killed.
        let _ = self.child.kill();
        assert!(self.wait().is_some(), "a killed process ends");
    }
}

fn collect(source: impl std::io::Read + Send + 'static, lines: &Lines) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            lines
                .lock()
                .expect("no panic under this lock")
                .push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

/// A Larder.
pub struct Server {
    /// Kept for its removal at the end; `None` if the caller owns the directory.
    temporary: Option<TempDir>,
    directory: PathBuf,
    port: u16,
    options: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
    process: Option<Process>,
    lines: Lines,
    expected_errors: Vec<&'static str>,
}

impl Server {
    /// Starts a server with these options (`"--maxmemory 24mb --save ''"`) in a new directory.
    pub fn start(options: &str) -> Server {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let directory = temporary.path().join("data");
        let mut server = Server::start_in(&directory, options);
        server.temporary = Some(temporary);
        server
    }

    /// Starts a server in this directory.
    pub fn start_in(directory: &Path, options: &str) -> Server {
        let mut server = Server::prepare(directory, options);
        server.start_again();
        server
    }

    /// A server that is not started yet.
    pub fn prepare(directory: &Path, options: &str) -> Server {
        let mut server = Server {
            temporary: None,
            directory: directory.to_owned(),
            port: free_port(),
            options: Vec::new(),
            environment: Vec::new(),
            process: None,
            lines: Lines::default(),
            expected_errors: Vec::new(),
        };
        server.set_options(options);
        server
    }

    /// Gives it other options from the next start on.
    pub fn set_options(&mut self, options: &str) {
        let words = options.split_whitespace();
        self.options = words
            .map(|word| word.trim_matches('\'').to_owned())
            .collect();
    }

    /// Starts it with this variable in its environment from the next start on.
    pub fn set_environment(&mut self, name: &'static str, value: &'static str) {
        self.environment.push((name, value));
    }

    /// ERROR lines that contain one of these texts are part of the test.
    pub fn expect_errors(&mut self, texts: &[&'static str]) {
        self.expected_errors.extend(texts);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets it listen on another port from the next start on.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// Its data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process
            .as_ref()
            .map(|process| process.child.id())
            .expect("the server runs")
    }

    /// Everything that it printed and logged so far, from all its starts.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().expect("no panic under this lock").clone()
    }

    fn spawn(&mut self) {
        let fixed = ["--bind", "127.0.0.1", "--port"].map(str::to_owned);
        let place = [
            self.port.to_string(),
            "--dir".to_owned(),
            self.directory.display().to_string(),
        ];
        let threads = ["--threads", "2", "--enable-debug-command", "yes"].map(str::to_owned);
        let arguments: Vec<String> = fixed
            .into_iter()
            .chain(place)
            .chain(threads)
            .chain(self.options.clone())
            .collect();
        self.process = Some(Process::spawn(
            Path::new(env!("CARGO_BIN_EXE_larder")),
            &arguments,
            &self.environment,
            &self.lines,
        ));
    }

    /// Starts the process and waits until it answers.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.spawn();
        let end = Instant::now() + START_TIMEOUT;
        loop {
            if let Ok(mut client) = Client::connect(self.port)
                && client.send_bytes(b"PING\r\n").is_ok()
                && client.try_read().is_ok()
            {
                return;
            }
            let ended = self
                .process
                .as_mut()
                .and_then(|process| process.child.try_wait().ok().flatten());
            if let Some(status) = ended {
                panic!(
                    "the server ended ({status}) instead of serving:\n{}",
                    self.end_of_log()
                );
            }
            assert!(
                Instant::now() < end,
                "the server does not answer:\n{}",
                self.end_of_log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts a process that cannot serve; returns what it printed. Panics if it serves.
    #[track_caller]
    pub fn start_in_vain(&mut self) -> String {
        let before = self.log().len();
        self.spawn();
        let status = self
            .process
            .as_mut()
            .and_then(Process::wait)
            .expect("a server that cannot serve ends");
        self.process = None;
        let text = self.log()[before..].join("\n");
        assert!(!status.success(), "a failed start has an exit code: {text}");
        text
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGKILL, then a start in the same directory on the same port.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// SIGTERM, waits for the end, and checks that it was an orderly one.
    #[track_caller]
    pub fn terminate(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        let id = process.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("kill runs");
        assert!(sent.success(), "SIGTERM can be sent");
        let status = process.wait();
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?}:\n{}",
            self.end_of_log()
        );
    }

    /// SHUTDOWN, waits for the end, and checks that it was an orderly one.
    #[track_caller]
    pub fn shut_down(&mut self) {
        self.shut_down_with("SHUTDOWN");
    }

    /// The same with options.
    #[track_caller]
    pub fn shut_down_with(&mut self, line: &str) {
        let mut client = self.client();
        client.send(&line.split(' ').collect::<Vec<_>>());
        let mut process = self.process.take().expect("the server runs");
        let status = process.wait();
        assert!(
            status.is_some_and(|status| status.success()),
            "{status:?}:\n{}",
            self.end_of_log()
        );
        assert!(client.is_closed());
    }

    /// A connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.port).unwrap_or_else(|error| panic!("{error}\n{}", self.end_of_log()))
    }

    /// A connection of the real client library.
    #[track_caller]
    pub fn library(&self) -> redis::Connection {
        let client =
            redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).expect("a URL");
        let connection = client.get_connection().expect("the library connects");
        connection
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a time-out");
        connection
    }

    /// TIER STATS.
    #[track_caller]
    pub fn tier_statistics(&self) -> BTreeMap<String, i64> {
        let reply = self.client().line("TIER STATS");
        let pairs = reply.items().chunks(2);
        pairs
            .map(|pair| (pair[0].text(), pair[1].integer()))
            .collect()
    }

    /// A field of INFO.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let text = self.client().line("INFO everything").text();
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found
            .unwrap_or_else(|| panic!("no field {field} in\n{text}"))
            .trim()
            .to_owned()
    }

    /// Resident memory of the process in bytes, without mapped files: those the system takes back when it needs to.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process_id()))
            .expect("Linux tells");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .expect("a resident size");
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    fn end_of_log(&self) -> String {
        let lines = self.log();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    fn unexpected_line(&self) -> Option<String> {
        let is_error = |line: &String| line.contains("ERROR") || line.contains("panicked at");
        let is_expected =
            |line: &String| self.expected_errors.iter().any(|text| line.contains(text));
        self.log()
            .into_iter()
            .find(|line| is_error(line) && !is_expected(line))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self
            .process
            .as_mut()
            .and_then(|process| process.child.try_wait().ok().flatten());
        self.kill();
        if let Some(status) = ended {
            eprintln!(
                "the server on port {} had ended by itself: {status}",
                self.port
            );
        }
        if std::thread::panicking() {
            eprintln!(
                "--- log of the server on port {}\n{}\n---",
                self.port,
                self.end_of_log()
            );
        } else if let Some(line) = self.unexpected_line() {
            panic!("the server logged {line:?}:\n{}", self.end_of_log());
        }
    }
}

/// A `redis-server` without persistence, to compare with. `LARDER_DIFFERENTIAL_REDIS` names another one than that of the system.
pub struct Reference {
    port: u16,
    process: Process,
    _directory: TempDir,
}

impl Reference {
    /// Starts it; `None` where it is not installed.
    pub fn start() -> Option<Reference> {
        let program = std::env::var("LARDER_DIFFERENTIAL_REDIS");
        let program = program.unwrap_or_else(|_| "redis-server".to_owned());
        if !is_installed(&program) {
            println!("redis-server is not installed: nothing is compared with it");
            return None;
        }
        let (port, directory) = (
            free_port(),
            tempfile::tempdir().expect("a temporary directory"),
        );
        let options = format!(
            "--port {port} --bind 127.0.0.1 --appendonly no --dir {}",
            directory.path().display()
        );
        let words = options
            .split_whitespace()
            .map(str::to_owned)
            .chain(["--save".to_owned(), String::new()]);
        let process = Process::spawn(
            Path::new(&program),
            &words.collect::<Vec<_>>(),
            &[],
            &Lines::default(),
        );
        let reference = Reference {
            port,
            process,
            _directory: directory,
        };
        wait_until("redis-server answers", || {
            Client::connect(port).is_ok_and(|mut client| {
                client.send_bytes(b"PING\r\n").is_ok()
                    && client
                        .try_read()
                        .is_ok_and(|reply| reply == Reply::Simple("PONG".to_owned()))
            })
        });
        Some(reference)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection.
    pub fn client(&self) -> Client {
        Client::connect(self.port).expect("redis-server accepts")
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.process.kill();
    }
}
