//! Shells: a terminal's bytes as a stream, its size, and every way in which one can end.

mod bench;

use bench::{code_of, frame, hello, Bench};
use lull_guest::failure::Failure;
use lull_guest::frame::FrameType;
use lull_guest::json::Json;
use lull_guest::pty::Pty;
use lull_guest::streams::SHELLS_LIMIT;
use lull_guest::sys;
use lull_guest::system::Shell;
use lull_guest::terminal::Terminal;
use std::fs::File;
use std::os::unix::io::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const OPEN_SHELL: &[u8] = br#"{"to":"shell"}"#;

#[test]
fn a_shell_from_its_prompt_to_its_end() {
    let mut bench = open_bench();
    open_shell(&mut bench, 1);
    type_in(&mut bench, 1, "tty; stty size\n");
    let said = read_until(&mut bench, 1, "0 0\r\n");
    assert!(said.contains("/dev/pts/"), "{}", said);
    assert_eq!(resize(&mut bench, r#""stream":1,"cols":120,"rows":40"#), "");
    type_in(&mut bench, 1, "stty size; exit\n");
    let mut said = String::new();
    let mut kinds = Vec::new();
    bench.turn_until(|bench| {
        for (kind, _, payload) in bench.take() {
            said.push_str(&String::from_utf8_lossy(&payload));
            kinds.push(kind);
        }
        kinds.last() == Some(&(FrameType::End as u8))
    });
    assert!(said.contains("40 120\r\n"), "{}", said);
    assert_eq!(resize(&mut bench, r#""stream":1,"cols":1,"rows":1"#), "ENXIO");
    assert!(bench.say(&frame(FrameType::Data, 1, b"nobody hears it")).is_empty());
    assert!(bench.say(&frame(FrameType::End, 1, b"")).is_empty());
    assert!(bench.say(&frame(FrameType::Data, 1, b"it is gone")).is_empty());
}

#[test]
fn a_reset_and_the_end_of_a_session_hang_up() {
    let mut bench = open_bench();
    let mut pids = Vec::new();
    for id in 1..=2 {
        open_shell(&mut bench, id);
        type_in(&mut bench, id, "echo \"pid $$ x\"\n");
        let said = read_until(&mut bench, id, " x\r\n");
        let digits = said.rsplit("pid ").next().unwrap().split(' ').next().unwrap();
        pids.push(sys::open_process(digits.parse().unwrap()).unwrap());
    }
    bench.say(&frame(FrameType::Reset, 1, b"{}"));
    ends(&pids[0]);
    assert!(!has_ended(&pids[1]));
    bench.session.hang_up();
    ends(&pids[1]);
}

#[test]
fn so_many_shells_and_no_more() {
    let mut bench = open_bench();
    for id in 1..=SHELLS_LIMIT as u32 {
        open_shell(&mut bench, id);
    }
    let next = SHELLS_LIMIT as u32 + 1;
    assert_eq!(code_of(&bench.say(&frame(FrameType::Open, next, OPEN_SHELL)), FrameType::Refused), "EMFILE");
    bench.say(&frame(FrameType::Reset, 3, b"{}"));
    open_shell(&mut bench, next + 1);
}

#[test]
fn sizes_that_are_none() {
    let mut bench = open_bench();
    open_shell(&mut bench, 1);
    for size in ["", r#""stream":1,"cols":65536,"rows":1"#, r#""stream":1,"cols":1"#, r#""stream":1,"cols":-1,"rows":1"#] {
        assert_eq!(resize(&mut bench, size), "EINVAL", "{}", size);
    }
    assert_eq!(resize(&mut bench, r#""stream":7,"cols":1,"rows":1"#), "ENXIO");
}

#[test]
fn what_was_left_in_the_background_does_not_hold_the_end_back() {
    let Pty { master, slave } = Pty::open(Path::new("/dev/ptmx")).unwrap();
    let mut flood = Command::new("yes").stdout(Stdio::from(File::from(slave))).stderr(Stdio::null()).spawn().unwrap();
    let mut shell = Command::new("true").spawn().unwrap();
    let process = sys::open_process(shell.id() as i32).unwrap();
    shell.wait().unwrap();
    let (report, _) = sys::pipe().unwrap();
    let mut terminal = Terminal::new(Shell { master, process, report }).unwrap();
    while terminal.finish() != Ok(true) {}
    let (mut buffer, mut total) = ([0; 4096], 0);
    while terminal.is_live() {
        total += terminal.read(&mut buffer).unwrap_or(0);
    }
    assert!(total <= 128 * 1024, "{}", total);
    assert_eq!(terminal.read(&mut buffer).unwrap(), 0);
    assert_eq!(terminal.write(b"x").unwrap(), 1);
    // Its terminal is gone.
    assert!(!flood.wait().unwrap().success());
}

#[test]
fn one_that_does_not_become_a_program_says_why_or_is_killed() {
    let (mut failed, child, say) = beginning();
    assert_eq!(failed.finish(), Ok(false));
    Failure::new("no-shell", "none here").tell(say.as_raw_fd());
    assert_eq!(failed.finish(), Ok(false), "it may say more");
    drop(say);
    // Another test's child may have it until it runs its program.
    let outcome = std::iter::repeat_with(|| failed.finish()).find(|outcome| *outcome != Ok(false));
    assert_eq!(outcome.unwrap(), Err(Failure::new("no-shell", "none here")));
    drop(failed);
    was_killed(child);
    let (late, child, _say) = beginning();
    drop(late);
    was_killed(child);
}

/// A child that never runs its program, and the end that it reports by.
fn beginning() -> (Terminal, Child, OwnedFd) {
    let Pty { master, .. } = Pty::open(Path::new("/dev/ptmx")).unwrap();
    let (report, say) = sys::pipe().unwrap();
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let process = sys::open_process(child.id() as i32).unwrap();
    (Terminal::new(Shell { master, process, report }).unwrap(), child, say)
}

fn was_killed(mut child: Child) {
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn open_bench() -> Bench {
    let mut bench = Bench::serving(vec![]);
    let welcome = Json::parse(&bench.say(&hello("\"secret\":\"\""))[0].2).unwrap();
    assert_eq!(welcome.get("features").unwrap().as_array().unwrap()[0].as_str(), Some("shell"));
    bench
}

/// Opens one and waits for its prompt.
fn open_shell(bench: &mut Bench, id: u32) {
    bench.session.inbox.extend(&frame(FrameType::Open, id, OPEN_SHELL));
    bench.session.receive(&mut bench.system);
    let mut frames = Vec::new();
    bench.turn_until(|bench| {
        frames.extend(bench.take().into_iter().filter(|(_, stream, _)| *stream == id));
        frames.last().map_or(false, |(_, _, payload)| payload.ends_with(b"$ "))
    });
    assert_eq!(frames[0].0, FrameType::Opened as u8, "{:?}", frames);
    let said: Vec<u8> = frames[1..].iter().flat_map(|(_, _, payload)| payload.clone()).collect();
    assert_eq!(String::from_utf8(said).unwrap(), "λ $ ");
}

fn type_in(bench: &mut Bench, id: u32, text: &str) {
    bench.session.inbox.extend(&frame(FrameType::Data, id, text.as_bytes()));
    bench.session.receive(&mut bench.system);
}

/// What the shell says up to and with the end that is given; what others say is dropped.
fn read_until(bench: &mut Bench, id: u32, end: &str) -> String {
    let mut said = Vec::new();
    bench.turn_until(|bench| {
        for (kind, stream, payload) in bench.take() {
            if stream == id && kind == FrameType::Data as u8 {
                said.extend(payload);
            }
        }
        String::from_utf8_lossy(&said).contains(end)
    });
    String::from_utf8(said).unwrap()
}

/// The code of a failure, or nothing.
fn resize(bench: &mut Bench, arguments: &str) -> String {
    // Above every stream's.
    static CALLS: AtomicU32 = AtomicU32::new(1000);
    let id = CALLS.fetch_add(1, Ordering::Relaxed);
    let comma = if arguments.is_empty() { "" } else { "," };
    let call = format!(r#"{{"op":"resize"{}{}}}"#, comma, arguments);
    let frames = bench.say(&frame(FrameType::Call, id, call.as_bytes()));
    let (_, _, payload) = frames.iter().find(|(kind, _, _)| *kind == FrameType::Result as u8).unwrap();
    let result = Json::parse(payload).unwrap();
    result.get("error").map_or(String::new(), |error| error.get("code").unwrap().as_str().unwrap().to_string())
}

fn has_ended(process: &OwnedFd) -> bool {
    sys::poll_one(process.as_raw_fd(), sys::POLLIN, 0).unwrap().is_some()
}

fn ends(process: &OwnedFd) {
    assert!(sys::poll_one(process.as_raw_fd(), sys::POLLIN, 10_000).unwrap().is_some(), "it goes on without its terminal");
}
