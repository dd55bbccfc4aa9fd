//! A queue of bytes: appended at the end, taken from the front, one block of memory.

/// Below this much dead space at the front nothing is moved.
const COMPACT_BYTES: usize = 64 * 1024;
/// An empty queue keeps at most this much memory.
const KEEP_BYTES: usize = 256 * 1024;

#[derive(Default)]
pub struct ByteQueue {
    bytes: Vec<u8>,
    start: usize,
}

impl ByteQueue {
    pub fn new() -> ByteQueue {
        ByteQueue::default()
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that is in it.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for `length` bytes at the end and lets `fill` write there; keeps as many as it says.
    pub fn fill_with<E>(&mut self, length: usize, fill: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        self.compact();
        let end = self.bytes.len();
        self.bytes.resize(end + length, 0);
        let filled = fill(&mut self.bytes[end..]);
        let kept = filled.as_ref().map_or(0, |count| (*count).min(length));
        self.bytes.truncate(end + kept);
        filled
    }

    /// Overwrites bytes at `offset` from the front.
    pub fn patch(&mut self, offset: usize, bytes: &[u8]) {
        let at = self.start + offset;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Drops everything after the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(self.start + length);
    }

    /// Takes `count` bytes from the front.
    pub fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    pub fn clear(&mut self) {
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
    }

    fn compact(&mut self) {
        if self.start >= COMPACT_BYTES && self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut queue = ByteQueue::new();
        let (mut put, mut taken) = (0u32, 0u32);
        for round in 0..5000u32 {
            for _ in 0..(round * 7919) % 61 {
                queue.extend(&put.to_le_bytes());
                put += 1;
            }
            for _ in 0..(round * 104729) % 67 {
                if queue.is_empty() {
                    break;
                }
                assert_eq!(queue.as_slice()[..4], taken.to_le_bytes());
                queue.consume(4);
                taken += 1;
            }
        }
        assert_eq!(queue.len() as u32, (put - taken) * 4);
        assert!(queue.bytes.len() < 2 * queue.len() + 2 * COMPACT_BYTES);
    }

    #[test]
    fn a_failed_fill_leaves_nothing() {
        let mut queue = ByteQueue::new();
        queue.extend(b"ab");
        assert!(queue.fill_with(10, |_| Err::<usize, ()>(())).is_err());
        assert_eq!(queue.fill_with(10, |room| { room[0] = b'c'; Ok::<usize, ()>(1) }), Ok(1));
        assert_eq!(queue.as_slice(), b"abc");
    }
}
