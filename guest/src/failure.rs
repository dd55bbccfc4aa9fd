//! Why something did not work, in the two fields that the host is told.

use crate::sys;
use std::io;
use std::os::unix::io::RawFd;

/// `code` is an errno's name or a word, `message` one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    pub message: String,
}

/// The longest message that is sent: what failed may quote the application.
const MESSAGE_LIMIT: usize = 512;

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Failure {
        let mut message: String = message.into();
        if message.len() > MESSAGE_LIMIT {
            let mut end = MESSAGE_LIMIT;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
        }
        let message = message.replace(|c: char| c.is_control(), " ");
        Failure { code: code.to_string(), message }
    }

    /// From an error of the system, with what was tried.
    pub fn from_io(what: &str, error: &io::Error) -> Failure {
        let code = error.raw_os_error().map_or("EIO", errno_name);
        Failure::new(code, format!("{}: {}", what, describe(error)))
    }

    /// In a child: tells the agent over a pipe why it does not become what it should.
    pub fn tell(&self, report: RawFd) {
        let _ = sys::write(report, format!("{}\n{}", self.code, self.message).as_bytes());
    }

    /// What a child told; nothing where it said no word.
    pub fn told(report: &[u8]) -> Option<Failure> {
        let text = String::from_utf8_lossy(report);
        text.split_once('\n').map(|(code, message)| Failure::new(code, message))
    }
}

fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    // std appends " (os error N)"; the code says that already.
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// The name of an errno on Linux; the rare ones are `EIO`.
pub fn errno_name(errno: i32) -> &'static str {
    match errno {
        1 => "EPERM",
        2 => "ENOENT",
        3 => "ESRCH",
        4 => "EINTR",
        6 => "ENXIO",
        7 => "E2BIG",
        8 => "ENOEXEC",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        16 => "EBUSY",
        17 => "EEXIST",
        19 => "ENODEV",
        20 => "ENOTDIR",
        21 => "EISDIR",
        22 => "EINVAL",
        23 => "ENFILE",
        24 => "EMFILE",
        26 => "ETXTBSY",
        28 => "ENOSPC",
        30 => "EROFS",
        32 => "EPIPE",
        36 => "ENAMETOOLONG",
        40 => "ELOOP",
        95 => "EOPNOTSUPP",
        99 => "EADDRNOTAVAIL",
        101 => "ENETUNREACH",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        105 => "ENOBUFS",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        113 => "EHOSTUNREACH",
        _ => "EIO",
    }
}

/// `value?` with what was tried.
pub trait OrFailure<T> {
    fn or_failure(self, what: &str) -> Result<T, Failure>;
}

impl<T> OrFailure<T> for io::Result<T> {
    fn or_failure(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::from_io(what, &error))
    }
}
