//! JSON against the grammar of RFC 8259, its limits, and bytes that are none.

use lull_guest::json::Json;

#[test]
fn values_of_the_grammar() {
    let text = br#" {"a":[1,-2.5e1,true,false,null],"b":"\u0041\n\ud83d\ude00\"","c":{}} "#;
    let value = Json::parse(text).unwrap();
    assert_eq!(value.get("b").unwrap().as_str(), Some("A\n\u{1f600}\""));
    assert_eq!(value.get("a").unwrap().as_array().unwrap()[1], Json::Number(-25.0));
    assert_eq!(Json::parse(value.to_text().as_bytes()), Ok(value));
}

#[test]
fn what_is_no_json() {
    let texts = [
        "", " ", "{", "[", "\"", "{]", "[1,]", "{\"a\":1,}", "{\"a\"}", "{a:1}", "01", "+1", "1.", ".5", "1e", "nul", "[1 2]", "1 1", "\"\\x\"",
        "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\n\"", "1e999", "{\"a\":1,\"a\":2}", "\u{feff}1",
    ];
    for text in texts {
        assert!(Json::parse(text.as_bytes()).is_err(), "{:?}", text);
    }
    assert!(Json::parse(b"\"\xff\"").is_err());
}

#[test]
fn depth_is_limited() {
    assert!(Json::parse(format!("{}{}", "[".repeat(8), "]".repeat(8)).as_bytes()).is_ok());
    assert!(Json::parse(format!("{}{}", "[".repeat(9), "]".repeat(9)).as_bytes()).is_err());
    assert!(Json::parse("[".repeat(1 << 20).as_bytes()).is_err());
    assert!(Json::parse("{\"a\":".repeat(1 << 17).as_bytes()).is_err());
}

#[test]
fn the_number_of_values_is_limited() {
    assert!(Json::parse(format!("[{}1]", "1,".repeat(60_000)).as_bytes()).is_ok());
    assert!(Json::parse(format!("[{}1]", "1,".repeat(70_000)).as_bytes()).is_err());
}

#[test]
fn integers() {
    for (text, integer) in [("0", Some(0)), ("65535", Some(65535)), ("-1", None), ("1.5", None), ("1e30", None), ("1e3", Some(1000))] {
        assert_eq!(Json::parse(text.as_bytes()).unwrap().as_integer(), integer, "{}", text);
    }
}

#[test]
fn garbage_never_panics() {
    let alphabet = b"{}[]\",:\\u0dc8truefalsn1-+.e \n\xff";
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..20_000 {
        let mut text = Vec::new();
        for _ in 0..state % 40 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push(alphabet[(state % alphabet.len() as u64) as usize]);
        }
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        if let Ok(value) = Json::parse(&text) {
            assert_eq!(Json::parse(value.to_text().as_bytes()), Ok(value));
        }
    }
}
