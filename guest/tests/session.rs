//! The session's rules, by bytes alone: what breaks one, what is ignored, and that garbage is only garbage.

mod bench;

use bench::{code_of, frame, hello, Bench, NONCE};
use lull_guest::frame::{FrameType, HOST_PREAMBLE};
use lull_guest::json::Json;
use lull_guest::streams::{FIRST_OWN_ID, OUTBOX_LIMIT};
use std::io::{Read, Write};
use std::net::TcpListener;

fn new_bench() -> Bench {
    Bench::serving(vec![])
}

fn open_bench() -> Bench {
    let mut bench = new_bench();
    let frames = bench.say(&hello("\"secret\":\"\""));
    assert_eq!(frames.len(), 1);
    bench
}

#[test]
fn hello_in_single_bytes_after_garbage() {
    let mut bench = new_bench();
    let bytes = [&b"LULL-AGENT-LULL-AGENT-HELL"[..], &hello("\"secret\":\"\"")].concat();
    let mut frames = Vec::new();
    for byte in &bytes {
        frames.extend(bench.say(&[*byte]));
    }
    assert_eq!(frames.len(), 1);
    let welcome = Json::parse(&frames[0].2).unwrap();
    assert_eq!(welcome.get("nonce").unwrap().as_str(), Some(NONCE));
    assert_eq!(welcome.get("bootId").unwrap().as_str(), Some("boot"));
}

#[test]
fn the_secret_comes_first_and_is_replaced() {
    let mut bench = new_bench();
    let (first, second) = ("ab".repeat(32), "cd".repeat(32));
    let restore = format!(r#""restore":{{"realtimeNs":"7","entropy":"{}=="}},"thaw":true"#, "A".repeat(86));
    let wrong = bench.say(&hello(&format!(r#""secret":"{}",{}"#, first, restore)));
    assert_eq!(code_of(&wrong, FrameType::Fault), "secret");
    assert_eq!(Json::parse(&wrong[0].2).unwrap().get("nonce").unwrap().as_str(), Some(NONCE));
    assert!(bench.system.asked.is_empty());
    let right = bench.say(&hello(&format!(r#""secret":"","nextSecret":"{}",{}"#, first, restore)));
    assert_eq!(right[0].0, FrameType::Welcome as u8);
    assert_eq!(bench.system.asked, ["restore 7", "thaw"]);
    bench.session.hang_up();
    assert_eq!(code_of(&bench.say(&hello("\"secret\":\"\"")), FrameType::Fault), "secret");
    assert_eq!(code_of(&bench.say(&hello(&format!(r#""secret":"{}""#, second))), FrameType::Fault), "secret");
    assert_eq!(bench.say(&hello(&format!(r#""secret":"{}""#, first)))[0].0, FrameType::Welcome as u8);
}

#[test]
fn versions_must_overlap() {
    let offering = |range: &str| String::from_utf8(hello("\"secret\":\"\"")).unwrap().replace("\"min\":1,\"max\":1", range);
    let mut bench = new_bench();
    assert_eq!(code_of(&bench.say(offering("\"min\":2,\"max\":3").as_bytes()), FrameType::Fault), "protocol");
    let newer_host = bench.say(offering("\"min\":1,\"max\":9").as_bytes());
    let welcome = Json::parse(&newer_host[0].2).unwrap();
    assert_eq!(welcome.get("protocol").unwrap().as_integer(), Some(1));
    assert_eq!(welcome.get("protocols").unwrap().get("max").unwrap().as_integer(), Some(1));
}

#[test]
fn broken_rules_end_the_session() {
    let over_long = header_bytes_of(FrameType::Data as u8, 1, 65_537);
    let open = |id| frame(FrameType::Open, id, br#"{"to":"tcp","port":1}"#);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("unknown type", header_bytes_of(99, 0, 0)),
        ("zero type", header_bytes_of(0, 0, 0)),
        ("wrong direction", frame(FrameType::Output, 0, b"x")),
        ("too long", over_long),
        ("reserved", { let mut bytes = header_bytes_of(11, 1, 1); bytes[2] = 1; bytes }),
        ("hello again", frame(FrameType::Hello, 0, b"{}")),
        ("data for nothing", frame(FrameType::Data, 1, b"x")),
        ("data for zero", frame(FrameType::Data, 0, b"x")),
        ("id zero", frame(FrameType::Call, 0, br#"{"op":"status"}"#)),
        ("id twice", [open(3), open(3)].concat()),
        ("id falling", [open(3), open(2)].concat()),
        ("no json", frame(FrameType::Call, 1, b"{")),
        ("no op", frame(FrameType::Call, 1, b"{}")),
        ("an id of the agent's", open(FIRST_OWN_ID + 1)),
        ("data for a stream that the agent never opened", frame(FrameType::Data, FIRST_OWN_ID + 1, b"x")),
        ("an answer that nobody asked for", frame(FrameType::Opened, FIRST_OWN_ID + 1, b"")),
        ("an answer to itself", [open(3), frame(FrameType::Opened, 3, b"")].concat()),
        ("no port", frame(FrameType::Open, 1, br#"{"to":"tcp","port":0}"#)),
        ("not tcp", frame(FrameType::Open, 1, br#"{"to":"udp","port":1}"#)),
        ("short credit", frame(FrameType::Credit, 0, &[1, 0])),
        ("too much credit", frame(FrameType::Credit, 0, &[0xff; 4])),
    ];
    for (name, bytes) in cases {
        let mut bench = open_bench();
        assert_eq!(code_of(&bench.say(&bytes), FrameType::Fault), "protocol", "{}", name);
        assert!(bench.session.is_closing, "{}", name);
        assert_eq!(bench.say(&hello("\"secret\":\"\""))[0].0, FrameType::Welcome as u8, "{}", name);
    }
}

#[test]
fn frames_for_what_is_gone_are_ignored() {
    let mut bench = open_bench();
    bench.say(&frame(FrameType::Call, 1, br#"{"op":"status"}"#));
    for (kind, payload) in [(FrameType::Data, &b"x"[..]), (FrameType::Credit, &[1, 0, 0, 0]), (FrameType::End, b""), (FrameType::Reset, b"{}")] {
        assert!(bench.say(&frame(kind, 1, payload)).is_empty());
    }
}

#[test]
fn calls() {
    let mut bench = open_bench();
    let mut call = |id: u32, json: &str| {
        let frames = bench.say(&frame(FrameType::Call, id, json.as_bytes()));
        assert_eq!((frames.len(), frames[0].1), (1, id));
        String::from_utf8(frames[0].2.clone()).unwrap()
    };
    assert_eq!(call(1, r#"{"op":"quiesce"}"#), r#"{"ok":{"trimmedBytes":17}}"#);
    assert_eq!(call(2, r#"{"op":"quiesce","trim":false}"#), r#"{"ok":{"trimmedBytes":0}}"#);
    assert_eq!(call(3, r#"{"op":"freeze"}"#), r#"{"ok":{}}"#);
    assert!(call(4, r#"{"op":"dance"}"#).contains("unknown-op"));
    assert!(call(5, r#"{"op":"start","argv":["x"]}"#).contains("ENOENT"));
    assert!(call(6, r#"{"op":"start"}"#).contains("EINVAL"));
    assert_eq!(call(9, r#"{"op":"awaitListening","ports":[1],"timeoutMs":0}"#), r#"{"ok":{"port":null}}"#);
}

#[test]
fn too_many_calls_at_once() {
    let mut bench = open_bench();
    let wait = |id| frame(FrameType::Call, id, br#"{"op":"awaitListening","ports":[1],"timeoutMs":60000}"#);
    for id in 1..=64 {
        bench.session.inbox.extend(&wait(id));
    }
    bench.session.receive(&mut bench.system);
    assert!(bench.take().is_empty());
    bench.session.inbox.extend(&wait(65));
    bench.session.receive(&mut bench.system);
    let frames = bench.take();
    assert!(String::from_utf8_lossy(&frames[0].2).contains("busy"));
}

#[test]
fn a_stream_there_and_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = open_bench();
    bench.say(&open_to(1, &listener));
    let (mut peer, _) = listener.accept().unwrap();
    let mut seen = Vec::new();
    bench.turn_until(|bench| { seen.extend(bench.take()); !seen.is_empty() });
    assert_eq!((seen[0].0, seen[0].1), (FrameType::Opened as u8, 1));
    bench.say(&[frame(FrameType::Data, 1, b"ping"), frame(FrameType::End, 1, b"")].concat());
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ping");
    peer.write_all(b"pong").unwrap();
    drop(peer);
    let mut frames = Vec::new();
    bench.turn_until(|bench| { frames.extend(bench.take()); frames.iter().any(|(kind, _, _)| *kind == FrameType::End as u8) });
    assert_eq!(frames, [(FrameType::Data as u8, 1, b"pong".to_vec()), (FrameType::End as u8, 1, vec![])]);
    assert!(bench.say(&frame(FrameType::Data, 1, b"late")).is_empty());
}

#[test]
fn an_answer_before_a_reset_is_not_lost() {
    // The application answers and closes without reading: the kernel sends a reset, before or behind its end.
    for ends_first in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut bench = open_bench();
        bench.say(&open_to(1, &listener));
        let (mut peer, _) = listener.accept().unwrap();
        bench.turn_until(|bench| !bench.take().is_empty());
        bench.say(&frame(FrameType::Data, 1, b"unread"));
        peer.write_all(&[b'a'; 100_000]).unwrap();
        if ends_first {
            peer.shutdown(std::net::Shutdown::Write).unwrap();
        }
        drop(peer);
        // The write fails while the answer is still unread.
        let mut frames = bench.say(&[frame(FrameType::Data, 1, b"more"), frame(FrameType::Data, 1, b"and more")].concat());
        bench.turn_until(|bench| { frames.extend(bench.take()); frames.iter().any(|(kind, _, _)| *kind == FrameType::Reset as u8) });
        let answer: usize = frames.iter().filter(|(kind, _, _)| *kind == FrameType::Data as u8).map(|(_, _, payload)| payload.len()).sum();
        assert_eq!(answer, 100_000);
        let has_ended = frames.iter().any(|(kind, _, _)| *kind == FrameType::End as u8);
        assert_eq!(has_ended, ends_first);
        assert_eq!(code_of(&frames, FrameType::Reset), "ECONNRESET");
        assert_eq!(frames.last().unwrap().0, FrameType::Reset as u8);
    }
}

#[test]
fn credit_holds_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = open_bench();
    bench.say(&open_to(1, &listener));
    let (mut peer, _) = listener.accept().unwrap();
    bench.turn_until(|bench| !bench.take().is_empty());
    let writer = std::thread::spawn(move || {
        let _ = peer.write_all(&vec![1; 1 << 20]);
        peer
    });
    let mut received = 0;
    bench.turn_until(|bench| {
        received += bench.take().iter().map(|(_, _, payload)| payload.len()).sum::<usize>();
        received >= 262_144
    });
    bench.turn_until({ let mut turns = 0; move |bench| { turns += 1; assert!(bench.take().is_empty()); turns > 20 } });
    assert_eq!(received, 262_144);
    let more = bench.say(&frame(FrameType::Credit, 1, &1_000_000u32.to_le_bytes()));
    received += more.iter().map(|(_, _, payload)| payload.len()).sum::<usize>();
    bench.turn_until(|bench| {
        received += bench.take().iter().map(|(_, _, payload)| payload.len()).sum::<usize>();
        received == 1 << 20
    });
    let _peer = writer.join().unwrap();
    // Nobody reads at the other end: the host may send its credit and what came back of it, not a byte more.
    let mut credit = 262_144usize;
    while credit > 0 {
        let size = credit.min(65_536);
        credit -= size;
        for (kind, _, payload) in bench.say(&frame(FrameType::Data, 1, &vec![2; size])) {
            assert_eq!(kind, FrameType::Credit as u8);
            credit += u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]) as usize;
        }
        bench.turn_until({ let mut turns = 0; move |_| { turns += 1; turns > 2 } });
        for (_, _, payload) in bench.take() {
            credit += u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]) as usize;
        }
    }
    assert_eq!(code_of(&bench.say(&frame(FrameType::Data, 1, &[3; 65_536])), FrameType::Fault), "protocol");
}

#[test]
fn refused_and_dropped() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut bench = open_bench();
    bench.session.inbox.extend(&frame(FrameType::Open, 1, format!(r#"{{"to":"tcp","port":{}}}"#, port).as_bytes()));
    bench.session.receive(&mut bench.system);
    let mut frames = Vec::new();
    bench.turn_until(|bench| { frames.extend(bench.take()); !frames.is_empty() });
    assert_eq!(code_of(&frames, FrameType::Refused), "ECONNREFUSED");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    bench.say(&open_to(2, &listener));
    let (mut peer, _) = listener.accept().unwrap();
    bench.turn_until(|bench| !bench.take().is_empty());
    bench.session.hang_up();
    assert!(peer.read(&mut [0; 8]).is_err(), "the application is told that the connection broke");
}

#[test]
fn a_hang_up_that_was_not_seen() {
    let mut bench = open_bench();
    bench.say(&frame(FrameType::Call, 9, br#"{"op":"status"}"#));
    let frames = bench.say(&hello("\"secret\":\"\""));
    assert_eq!(frames[0].0, FrameType::Welcome as u8);
    assert_eq!(bench.say(&frame(FrameType::Call, 1, br#"{"op":"status"}"#)).len(), 1);
}

#[test]
fn a_host_that_does_not_read_is_not_served_further() {
    let mut bench = open_bench();
    let call = |id: u32| frame(FrameType::Call, id, br#"{"op":"status"}"#);
    let many: Vec<u8> = (1..200_000).flat_map(call).collect();
    bench.session.inbox.extend(&many);
    while bench.session.receive(&mut bench.system) | bench.session.advance() {}
    assert!(bench.session.outbox.len() < OUTBOX_LIMIT + 1024);
    assert!(!bench.session.has_room());
}

#[test]
fn garbage_is_only_garbage() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..3000 {
        let mut bench = if round % 3 == 0 { new_bench() } else { open_bench() };
        for _ in 0..20 {
            let bytes = match random() % 4 {
                0 => (0..random() % 300).map(|_| random() as u8).collect(),
                1 => header_bytes_of((random() % 16) as u8, (random() % 4) as u32, (random() % 40) as u32),
                2 => HOST_PREAMBLE[..(random() % 17) as usize].to_vec(),
                _ => frame([FrameType::Call, FrameType::Data, FrameType::Open, FrameType::End][(random() % 4) as usize], (random() % 9) as u32, b""),
            };
            bench.session.inbox.extend(&bytes);
            while bench.session.receive(&mut bench.system) {}
            bench.session.advance();
            assert!(bench.session.inbox.len() < 1024 * 1024 + 64);
            assert!(bench.session.outbox.len() < OUTBOX_LIMIT * 2);
        }
        bench.session.hang_up();
        assert_eq!(bench.say(&hello("\"secret\":\"\""))[0].0, FrameType::Welcome as u8);
    }
}

fn open_to(id: u32, listener: &TcpListener) -> Vec<u8> {
    frame(FrameType::Open, id, format!(r#"{{"to":"tcp","port":{}}}"#, listener.local_addr().unwrap().port()).as_bytes())
}

fn header_bytes_of(kind: u8, id: u32, length: u32) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], &id.to_le_bytes(), &length.to_le_bytes()].concat()
}
