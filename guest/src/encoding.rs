//! Hexadecimal and base64 as the protocol uses them, and a comparison that takes the same time whatever it finds.

/// The bytes of a lower- or upper-case hexadecimal text of exactly `N` bytes.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (index, pair) in digits.chunks_exact(2).enumerate() {
        let high = (pair[0] as char).to_digit(16)?;
        let low = (pair[1] as char).to_digit(16)?;
        bytes[index] = (high * 16 + low) as u8;
    }
    Some(bytes)
}

/// The bytes of padded standard base64 (RFC 4648, section 4); at most `limit` of them.
pub fn parse_base64(text: &str, limit: usize) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() % 4 != 0 || digits.len() / 4 * 3 > limit + 2 {
        return None;
    }
    let padding = digits.iter().rev().take_while(|&&digit| digit == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for &digit in &digits[..digits.len() - padding] {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    if bytes.len() > limit {
        return None;
    }
    Some(bytes)
}

/// Equal or not, in a time that depends on the length alone.
pub fn is_equal_constant_time(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut difference = 0u8;
    for (a, b) in left.iter().zip(right) {
        // Volatile, so that the compiler cannot leave the loop at the first difference.
        difference = unsafe { std::ptr::read_volatile(&difference) } | (a ^ b);
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")] {
            assert_eq!(parse_base64(text, 64).unwrap(), bytes.as_bytes());
        }
        for bad in ["Z", "Zg=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9v\n"] {
            assert_eq!(parse_base64(bad, 64), None, "{}", bad);
        }
        assert_eq!(parse_base64("Zm9v", 2), None);
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(parse_hex::<2>("0aFF"), Some([10, 255]));
        assert_eq!(parse_hex::<2>("0aF"), None);
        assert_eq!(parse_hex::<2>("0aFg"), None);
        assert_eq!(parse_hex::<2>("+1+2"), None);
    }

    #[test]
    fn comparison() {
        assert!(is_equal_constant_time(b"", b""));
        assert!(is_equal_constant_time(b"abc", b"abc"));
        assert!(!is_equal_constant_time(b"abc", b"abd"));
        assert!(!is_equal_constant_time(b"abc", b"ab"));
    }
}
