//! The binary `larder`: reads the settings, starts the server, waits for its end.

use larder::config::{AppendFsync, Invocation, LogLevel, Settings};
use larder::error::InternalError;
use std::io::Write as _;
use std::process::ExitCode;

/// jemalloc, with huge pages for what grows: nearly all time of a cache is cache and TLB misses.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A pointer that C code reads.
#[repr(transparent)]
pub struct Options(*const u8);
// SAFETY: it points to a constant.
unsafe impl Sync for Options {}

/// What jemalloc reads at its start; `MALLOC_CONF` in the environment overrides it.
// SAFETY: jemalloc looks for this very name and expects a pointer to a string that ends with a zero byte.
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_OPTIONS: Options = Options(
    c"thp:always,metadata_thp:always,background_thread:true"
        .as_ptr()
        .cast(),
);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (settings, warnings) = match larder::config::parse_command_line(&arguments) {
        Ok(Invocation::Serve { settings, warnings }) => (*settings, warnings),
        Ok(Invocation::Print(text)) => {
            // A reader that closes the pipe has read enough.
            let _ = writeln!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    larder::tier::avoid_huge_pages_if_small(settings.maxmemory_bytes);
    if let Err(error) = start_logging(&settings) {
        eprintln!("cannot open the log file: {error}");
        return ExitCode::FAILURE;
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            eprintln!("larder: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> Result<(), InternalError> {
    let started = std::time::Instant::now();
    let directory = settings.dir.display().to_string();
    let sync = match (settings.appendonly, settings.appendfsync) {
        (false, _) => "off",
        (true, AppendFsync::Always) => "always",
        (true, AppendFsync::EverySecond) => "everysec",
        (true, AppendFsync::No) => "no",
    };
    let maxmemory_mib = settings.maxmemory_bytes >> 20;
    let running = larder::server::start(settings)?;
    // Where nobody listens, the server starts all the same.
    let _ = writeln!(
        std::io::stdout(),
        "Larder {} on port {}, process {}\n  data     {directory}\n  keys     {}, {}\n  ready in {:.3} s, log sync {sync}, maxmemory {maxmemory_mib} MiB",
        env!("CARGO_PKG_VERSION"),
        running.port(),
        std::process::id(),
        running.keys(),
        running.report(),
        started.elapsed().as_secs_f64(),
    );
    tracing::info!(
        port = running.port(),
        keys = running.keys(),
        "ready to accept connections"
    );
    running.wait()
}

fn start_logging(settings: &Settings) -> std::io::Result<()> {
    use tracing::level_filters::LevelFilter;
    let level = match settings.loglevel {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false);
    if settings.logfile.is_empty() {
        builder.with_writer(std::io::stderr).init();
    } else {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&settings.logfile)?;
        builder
            .with_ansi(false)
            .with_writer(std::sync::Mutex::new(file))
            .init();
    }
    Ok(())
}
