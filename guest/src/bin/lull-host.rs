//! What the host needs and Node cannot do: measure the TSC, map a sparse file, start a VMM in a jail that may be looked into.

use lull_guest::jail::{self, Jail};
use lull_guest::tap::{self, Tap};
use lull_guest::sys::{self, clock_ns, ffi, CLOCK_MONOTONIC_RAW};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::io::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

const USAGE: &str = "usage: lull-host tsc-khz | extents FILE | exec [--oom-score-adj N] [--cwd DIR] [--tap NAME,GUEST] [--jail [--read PATH]... [--write PATH]...] -- CMD [ARG]...";
/// The TSC is measured this often; the median counts.
const TSC_ROUNDS: usize = 5;
/// Each time for this long: 1 us of error is then 25 ppm.
const TSC_ROUND_NS: u64 = 40_000_000;
const PR_SET_PTRACER: i32 = 0x59616d61;

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match arguments.first().and_then(|name| name.to_str()) {
        Some("tsc-khz") if arguments.len() == 1 => writeln!(io::stdout(), "{}", tsc_khz()),
        Some("extents") if arguments.len() == 2 => extents(Path::new(&arguments[1])),
        Some("exec") => run(&arguments[1..]),
        _ => usage(),
    };
    if let Err(error) = result {
        eprintln!("lull-host: {}", error);
        exit(1);
    }
}

fn usage() -> ! {
    eprintln!("{}", USAGE);
    exit(2)
}

/// Frequency of the time stamp counter in kHz; 0 where there is none.
#[cfg(target_arch = "x86_64")]
fn tsc_khz() -> u64 {
    let counter = || unsafe { std::arch::x86_64::_rdtsc() };
    // The clock read between two counter reads that are close together: an interruption between them shows as a gap.
    let sample = || {
        let tries = (0..8).map(|_| {
            let before = counter();
            let ns = clock_ns(CLOCK_MONOTONIC_RAW);
            let after = counter();
            (after - before, ns, before + (after - before) / 2)
        });
        tries.min().map_or((0, 0), |(_, ns, ticks)| (ns, ticks))
    };
    let mut rounds: Vec<u64> = (0..TSC_ROUNDS)
        .map(|_| {
            let (start_ns, start) = sample();
            while clock_ns(CLOCK_MONOTONIC_RAW) < start_ns + TSC_ROUND_NS {
                std::hint::spin_loop();
            }
            let (end_ns, end) = sample();
            (u128::from(end - start) * 1_000_000 / u128::from(end_ns - start_ns)) as u64
        })
        .collect();
    rounds.sort_unstable();
    rounds[TSC_ROUNDS / 2]
}

#[cfg(not(target_arch = "x86_64"))]
fn tsc_khz() -> u64 {
    let _ = (clock_ns(CLOCK_MONOTONIC_RAW), TSC_ROUNDS, TSC_ROUND_NS);
    0
}

/// `offset length` of every stretch of data, a line each (man 2 lseek, SEEK_DATA).
fn extents(path: &Path) -> io::Result<()> {
    const SEEK_DATA: i32 = 3;
    const SEEK_HOLE: i32 = 4;
    const ENXIO: i32 = 6;
    let file = fs::File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {}", path.display(), error)))?;
    let seek = |offset: i64, whence: i32| sys::check_long(unsafe { ffi::lseek(file.as_raw_fd(), offset, whence) });
    let mut out = io::BufWriter::new(io::stdout());
    let mut end = 0;
    loop {
        let start = match seek(end, SEEK_DATA) {
            Err(error) if error.raw_os_error() == Some(ENXIO) => return out.flush(),
            start => start?,
        };
        end = seek(start, SEEK_HOLE)?;
        writeln!(out, "{} {}", start, end - start)?;
    }
}

/// Becomes the command: same process id, own session, readable by its owner's other processes, no descriptors but 0 to 2.
fn run(arguments: &[OsString]) -> io::Result<()> {
    let mut rest = arguments.iter();
    let (mut oom_score_adj, mut cwd, mut tap, mut is_jailed, mut given) = (None, None, None, false, Jail::default());
    loop {
        let option = rest.next().and_then(|argument| argument.to_str()).unwrap_or_else(|| usage());
        if option == "--" {
            break;
        }
        if option == "--jail" {
            is_jailed = true;
            continue;
        }
        let value = rest.next().unwrap_or_else(|| usage());
        match option {
            "--oom-score-adj" => match value.to_str().and_then(|value| value.parse::<i32>().ok()) {
                Some(value) if (-1000..=1000).contains(&value) => oom_score_adj = Some(value),
                _ => usage(),
            },
            "--cwd" => cwd = Some(PathBuf::from(value)),
            "--tap" => tap = Some(value.to_str().and_then(Tap::parse).unwrap_or_else(|| usage())),
            "--read" => given.read_only.push(PathBuf::from(value)),
            "--write" => given.writable.push(PathBuf::from(value)),
            _ => usage(),
        }
    }
    let command = rest.next().unwrap_or_else(|| usage());
    unsafe {
        // A leader already: fine. No Yama: nothing to allow.
        ffi::setsid();
        ffi::prctl(PR_SET_PTRACER, usize::MAX, 0usize, 0usize, 0usize);
    }
    if let Some(value) = oom_score_adj {
        // Lowering it takes a privilege that an ordinary user lacks.
        let _ = fs::write("/proc/self/oom_score_adj", value.to_string());
    }
    if let Some(folder) = cwd {
        std::env::set_current_dir(&folder).map_err(|error| io::Error::new(error.kind(), format!("{}: {}", folder.display(), error)))?;
    }
    if let Some(tap) = tap {
        tap::make(&tap).map_err(|failure| io::Error::new(io::ErrorKind::Other, failure.message))?;
    }
    if is_jailed {
        jail::enter(&given)?;
    }
    // What else is open is meant for the command: its control connection, a file to load. Node opens its own close-on-exec.
    // Unlike a bare execve this also undoes what Rust did to SIGPIPE.
    let error = Command::new(command).args(rest).exec();
    Err(io::Error::new(error.kind(), format!("{}: {}", Path::new(command).display(), error)))
}
