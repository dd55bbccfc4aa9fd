//! Frames: a header of twelve bytes, little endian, then the payload.

/// Bytes before the host's HELLO.
pub const HOST_PREAMBLE: &[u8; 16] = b"LULL-AGENT-HELLO";
/// Bytes before the agent's answer to it.
pub const AGENT_PREAMBLE: &[u8; 16] = b"LULL-AGENT-READY";
/// Length of a header.
pub const HEADER_BYTES: usize = 12;
/// The longest payload of DATA and OUTPUT, and of most JSON.
pub const PAYLOAD_LIMIT: usize = 64 * 1024;
/// The longest CALL and RESULT.
pub const CALL_LIMIT: usize = 1024 * 1024;
/// The longest answer to a HELLO: small, since the host looks for it among bytes that the application may have chosen.
pub const ANSWER_LIMIT: usize = 4 * 1024;

/// What a frame is; the numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    Hello = 1,
    Welcome = 2,
    Fault = 3,
    Call = 4,
    Result = 5,
    Event = 6,
    Output = 7,
    Open = 8,
    Opened = 9,
    Refused = 10,
    Data = 11,
    Credit = 12,
    End = 13,
    Reset = 14,
}

impl FrameType {
    fn from_byte(byte: u8) -> Option<FrameType> {
        use FrameType::*;
        Some(match byte {
            1 => Hello,
            2 => Welcome,
            3 => Fault,
            4 => Call,
            5 => Result,
            6 => Event,
            7 => Output,
            8 => Open,
            9 => Opened,
            10 => Refused,
            11 => Data,
            12 => Credit,
            13 => End,
            14 => Reset,
            _ => return None,
        })
    }

    /// The longest payload allowed.
    pub fn limit(self) -> usize {
        use FrameType::*;
        match self {
            Hello | Event | Output | Open | Refused | Data | Reset => PAYLOAD_LIMIT,
            Welcome | Fault => ANSWER_LIMIT,
            Call | Result => CALL_LIMIT,
            Credit => 4,
            Opened | End => 0,
        }
    }

    /// True where the host may send it.
    pub fn is_from_host(self) -> bool {
        use FrameType::*;
        matches!(self, Hello | Fault | Call | Open | Opened | Refused | Data | Credit | End | Reset)
    }
}

/// A header that keeps the rules of frames (not yet those of the session).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub frame_type: FrameType,
    pub stream: u32,
    pub length: usize,
}

/// Reads the header of a frame that the host sent; the error is the rule that it breaks.
pub fn parse_header(bytes: &[u8; HEADER_BYTES]) -> Result<Header, &'static str> {
    let frame_type = FrameType::from_byte(bytes[0]).ok_or("unknown frame type")?;
    if bytes[1..4] != [0, 0, 0] {
        return Err("reserved bytes are not zero");
    }
    if !frame_type.is_from_host() {
        return Err("frame type of the other direction");
    }
    let stream = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    let length = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    if length > frame_type.limit() {
        return Err("frame too long");
    }
    Ok(Header { frame_type, stream, length })
}

/// The twelve bytes of a header.
pub fn header_bytes(frame_type: FrameType, stream: u32, length: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(length <= frame_type.limit());
    let mut bytes = [0; HEADER_BYTES];
    bytes[0] = frame_type as u8;
    bytes[4..8].copy_from_slice(&stream.to_le_bytes());
    bytes[8..12].copy_from_slice(&(length as u32).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_wire() {
        for byte in 0..=255u8 {
            let header = header_of(byte, 7, 0);
            match FrameType::from_byte(byte) {
                Some(kind) if kind.is_from_host() => {
                    let parsed = parse_header(&header).unwrap();
                    assert_eq!(parsed, Header { frame_type: kind, stream: 7, length: 0 });
                    assert_eq!(header_bytes(kind, 7, 0), header);
                }
                _ => assert!(parse_header(&header).is_err()),
            }
        }
    }

    #[test]
    fn lengths_beyond_the_limit_are_refused() {
        for kind in [FrameType::Data, FrameType::Call, FrameType::Credit, FrameType::End] {
            assert!(parse_header(&header_of(kind as u8, 1, kind.limit() as u32)).is_ok());
            assert!(parse_header(&header_of(kind as u8, 1, kind.limit() as u32 + 1)).is_err());
            assert!(parse_header(&header_of(kind as u8, 1, u32::MAX)).is_err());
        }
    }

    #[test]
    fn reserved_bytes_must_be_zero() {
        for index in 1..4 {
            let mut header = header_of(FrameType::Data as u8, 1, 1);
            header[index] = 1;
            assert_eq!(parse_header(&header), Err("reserved bytes are not zero"));
        }
    }

    fn header_of(kind: u8, stream: u32, length: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = kind;
        bytes[4..8].copy_from_slice(&stream.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes
    }
}
