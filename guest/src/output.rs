//! The application's stdout and stderr: sent as the credit allows, kept (the newest of it) while the host is away.

use crate::event_loop::EventLoop;
use crate::frame::{header_bytes, FrameType, HEADER_BYTES, PAYLOAD_LIMIT};
use crate::queue::ByteQueue;
use crate::sys;
use std::collections::VecDeque;
use std::io;
use std::os::unix::io::{AsRawFd, OwnedFd};

/// How much output is kept while the host is away.
pub const KEPT_BYTES: usize = 256 * 1024;
/// Output is read, and kept, in pieces of this size.
const PIECE_BYTES: usize = 16 * 1024;
/// Event tokens of the two pipes start here.
pub const FIRST_TOKEN: u64 = 16;
const STDERR: usize = 1;

struct Pipe {
    end: OwnedFd,
    readable: bool,
}

/// The first byte of OUTPUT is the index of the pipe plus one.
#[derive(Default)]
pub struct Output {
    pipes: [Option<Pipe>; 2],
    kept: VecDeque<(usize, Vec<u8>)>,
    kept_bytes: usize,
    lost_bytes: u64,
}

impl Output {
    /// Reads from these pipes from now on.
    pub fn attach(&mut self, events: &EventLoop, ends: [OwnedFd; 2]) -> io::Result<()> {
        for (index, end) in ends.into_iter().enumerate() {
            sys::set_nonblocking(end.as_raw_fd())?;
            events.watch(end.as_raw_fd(), FIRST_TOKEN + index as u64)?;
            self.pipes[index] = Some(Pipe { end, readable: true });
        }
        Ok(())
    }

    /// Takes what the event loop saw.
    pub fn ready(&mut self, token: u64) {
        if let Some(Some(pipe)) = self.pipes.get_mut(token.wrapping_sub(FIRST_TOKEN) as usize) {
            pipe.readable = true;
        }
    }

    /// Without a host: reads everything and keeps the newest. True where there was something.
    pub fn keep(&mut self) -> bool {
        let mut moved = false;
        for index in 0..self.pipes.len() {
            let mut piece = vec![0; PIECE_BYTES];
            let count = self.read(index, &mut piece);
            if count > 0 {
                self.keep_piece(index, &piece[..count]);
                moved = true;
            }
        }
        moved
    }

    /// With a host: moves at most one frame of each into the outbox. True where there was something.
    pub fn send(&mut self, credit: &mut u64, outbox: &mut ByteQueue) -> bool {
        if *credit == 0 {
            return false;
        }
        if self.lost_bytes > 0 {
            let notice = format!("[lull: {} bytes of output lost while the host was away]\n", self.lost_bytes);
            if *credit < notice.len() as u64 {
                return false;
            }
            push_output(STDERR, notice.as_bytes(), outbox);
            *credit -= notice.len() as u64;
            self.lost_bytes = 0;
            return true;
        }
        if let Some((index, mut piece)) = self.kept.pop_front() {
            let count = piece.len().min(*credit as usize);
            push_output(index, &piece[..count], outbox);
            *credit -= count as u64;
            self.kept_bytes -= count;
            piece.drain(..count);
            if !piece.is_empty() {
                self.kept.push_front((index, piece));
            }
            return true;
        }
        (0..self.pipes.len()).fold(false, |moved, index| self.send_pipe(index, credit, outbox) || moved)
    }

    fn send_pipe(&mut self, index: usize, credit: &mut u64, outbox: &mut ByteQueue) -> bool {
        let room = (*credit).min(PAYLOAD_LIMIT as u64 - 1) as usize;
        if room == 0 || !self.pipes[index].as_ref().map_or(false, |pipe| pipe.readable) {
            return false;
        }
        let before = outbox.len();
        outbox.extend(&[0; HEADER_BYTES]);
        outbox.extend(&[index as u8 + 1]);
        let result = outbox.fill_with(room, |buffer| Ok::<usize, ()>(self.read(index, buffer)));
        let count = result.unwrap_or(0);
        if count == 0 {
            outbox.truncate(before);
            return false;
        }
        outbox.patch(before, &header_bytes(FrameType::Output, 0, count + 1));
        *credit -= count as u64;
        true
    }

    /// Reads once; a pipe at its end is closed.
    fn read(&mut self, index: usize, buffer: &mut [u8]) -> usize {
        let pipe = match &mut self.pipes[index] {
            Some(pipe) if pipe.readable => pipe,
            _ => return 0,
        };
        match sys::read(pipe.end.as_raw_fd(), buffer) {
            Ok(count) if count > 0 => return count,
            Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => pipe.readable = false,
            _ => self.pipes[index] = None,
        }
        0
    }

    fn keep_piece(&mut self, index: usize, bytes: &[u8]) {
        match self.kept.back_mut() {
            Some((last, piece)) if *last == index && piece.len() + bytes.len() <= PIECE_BYTES => piece.extend_from_slice(bytes),
            _ => self.kept.push_back((index, bytes.to_vec())),
        }
        self.kept_bytes += bytes.len();
        while self.kept_bytes > KEPT_BYTES {
            let excess = self.kept_bytes - KEPT_BYTES;
            let mut dropped = excess;
            match self.kept.front_mut() {
                Some((_, piece)) if piece.len() > excess => drop(piece.drain(..excess)),
                _ => dropped = self.kept.pop_front().map_or(excess, |(_, piece)| piece.len()),
            }
            self.kept_bytes -= dropped;
            self.lost_bytes += dropped as u64;
        }
    }
}

fn push_output(index: usize, bytes: &[u8], outbox: &mut ByteQueue) {
    outbox.extend(&header_bytes(FrameType::Output, 0, bytes.len() + 1));
    outbox.extend(&[index as u8 + 1]);
    outbox.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_kept_and_the_rest_counted() {
        let mut output = Output::default();
        for round in 0..100_000u32 {
            output.keep_piece((round % 3 / 2) as usize, &round.to_le_bytes());
        }
        assert_eq!(output.kept_bytes, KEPT_BYTES);
        assert_eq!(output.kept.iter().map(|(_, piece)| piece.len()).sum::<usize>(), KEPT_BYTES);
        assert_eq!(output.lost_bytes, 400_000 - KEPT_BYTES as u64);
        let (mut outbox, mut credit) = (ByteQueue::new(), 1_000_000);
        while output.send(&mut credit, &mut outbox) {}
        let notice = format!("[lull: {} bytes of output lost while the host was away]\n", 400_000 - KEPT_BYTES);
        assert_eq!(&outbox.as_slice()[HEADER_BYTES + 1..HEADER_BYTES + 1 + notice.len()], notice.as_bytes());
        assert_eq!(credit, 1_000_000 - KEPT_BYTES as u64 - notice.len() as u64);
        assert!(outbox.as_slice().ends_with(&99_999u32.to_le_bytes()));
    }

    #[test]
    fn nothing_is_read_without_credit() {
        let events = EventLoop::new().unwrap();
        let (out, feed) = sys::pipe().unwrap();
        let (err, _feed) = sys::pipe().unwrap();
        let mut output = Output::default();
        output.attach(&events, [out, err]).unwrap();
        sys::write(feed.as_raw_fd(), &[7; 1000]).unwrap();
        let mut outbox = ByteQueue::new();
        assert!(!output.send(&mut 0, &mut outbox));
        let mut credit = 300;
        assert!(output.send(&mut credit, &mut outbox));
        assert_eq!((credit, outbox.len()), (0, HEADER_BYTES + 1 + 300));
        assert!(output.keep());
        assert_eq!(output.kept_bytes, 700);
    }
}
