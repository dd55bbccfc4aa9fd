//! Connections of the application's to services of the host.

mod bench;

use bench::{code_of, frame, hello, Bench};
use lull_guest::frame::FrameType;
use lull_guest::services::Service;
use lull_guest::streams::{FIRST_OWN_ID, SERVICE_STREAMS_LIMIT};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

#[test]
fn a_connection_to_a_service_there_and_back() {
    let (mut bench, service) = offering("\"metadata\"");
    let mut application = TcpStream::connect(service).unwrap();
    application.write_all(b"ping").unwrap();
    let id = asked(&mut bench);
    assert_eq!(id, FIRST_OWN_ID + 1);
    assert!(bench.say(b"").is_empty(), "nothing flows before the host's answer");
    bench.say(&frame(FrameType::Opened, id, b""));
    let mut seen = Vec::new();
    bench.turn_until(|bench| { seen.extend(bench.take()); !seen.is_empty() });
    assert_eq!(seen, [(FrameType::Data as u8, id, b"ping".to_vec())]);
    bench.say(&[frame(FrameType::Data, id, b"pong"), frame(FrameType::End, id, b"")].concat());
    let mut text = String::new();
    application.read_to_string(&mut text).unwrap();
    assert_eq!(text, "pong");
    drop(application);
    seen.clear();
    bench.turn_until(|bench| { seen.extend(bench.take()); !seen.is_empty() });
    assert_eq!(seen, [(FrameType::End as u8, id, vec![])]);
    assert!(bench.say(&frame(FrameType::Credit, id, &[1, 0, 0, 0])).is_empty(), "it is gone");
    TcpStream::connect(service).unwrap();
    assert_eq!(asked(&mut bench), id + 1);
}

#[test]
fn a_service_that_is_not_offered_or_refused_resets() {
    let (mut bench, service) = offering("");
    let mut application = TcpStream::connect(service).unwrap();
    turn_a_while(&mut bench);
    assert!(application.read(&mut [0; 8]).is_err());
    assert!(bench.take().is_empty(), "the host hears nothing of it");
    let (mut bench, service) = offering("\"metadata\"");
    let mut application = TcpStream::connect(service).unwrap();
    let id = asked(&mut bench);
    assert!(bench.say(&frame(FrameType::Refused, id, b"{}")).is_empty());
    assert!(application.read(&mut [0; 8]).is_err());
    assert_eq!(code_of(&bench.say(&frame(FrameType::Opened, id, b"")), FrameType::Fault), "protocol");
}

#[test]
fn connections_to_services_wait_for_a_host_and_end_with_it() {
    let (mut bench, service) = serving();
    let mut application = TcpStream::connect(service).unwrap();
    turn_a_while(&mut bench);
    let frames = bench.say(&hello("\"secret\":\"\",\"services\":[\"metadata\"]"));
    let id = open_of(&frames[1..]);
    bench.say(&frame(FrameType::Opened, id, b""));
    bench.session.hang_up();
    assert!(application.read(&mut [0; 8]).is_err());
}

#[test]
fn so_many_connections_to_services_and_no_more() {
    let (mut bench, service) = offering("\"metadata\"");
    let applications: Vec<TcpStream> = (0..SERVICE_STREAMS_LIMIT + 1).map(|_| TcpStream::connect(service).unwrap()).collect();
    let mut opens = Vec::new();
    bench.turn_until(|bench| { opens.extend(bench.take()); opens.len() >= SERVICE_STREAMS_LIMIT });
    turn_a_while(&mut bench);
    assert!(bench.take().is_empty());
    let frames = bench.say(&frame(FrameType::Refused, opens[7].1, b"{}"));
    assert_eq!(open_of(&frames), FIRST_OWN_ID + 1 + SERVICE_STREAMS_LIMIT as u32);
    drop(applications);
}

#[test]
fn a_service_whose_places_are_taken_leaves_those_of_another() {
    let listeners: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let services = ["metadata", "s3"].into_iter().zip(listeners).map(|(name, listener)| Service { name, listener });
    let mut bench = Bench::serving(services.collect());
    bench.say(&hello("\"secret\":\"\",\"services\":[\"metadata\",\"s3\"]"));
    let applications: Vec<TcpStream> = (0..SERVICE_STREAMS_LIMIT + 1).map(|_| TcpStream::connect(addresses[1]).unwrap()).collect();
    let mut opens = Vec::new();
    bench.turn_until(|bench| { opens.extend(bench.take()); opens.len() >= SERVICE_STREAMS_LIMIT });
    let _asking = TcpStream::connect(addresses[0]).unwrap();
    assert_eq!(asked(&mut bench), FIRST_OWN_ID + 1 + SERVICE_STREAMS_LIMIT as u32);
    drop(applications);
}

#[test]
fn streams_of_the_host_that_never_run_dry_leave_room_for_those_of_the_agent() {
    let (mut bench, service) = offering("\"metadata\"");
    let application = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = format!(r#"{{"to":"tcp","port":{}}}"#, application.local_addr().unwrap().port());
    for id in 1..=BUSY_STREAMS {
        bench.say(&frame(FrameType::Open, id, open.as_bytes()));
        let mut connection = application.accept().unwrap().0;
        std::thread::spawn(move || while connection.write_all(&[0; 65_536]).is_ok() {});
    }
    let mut asking = TcpStream::connect(service).unwrap();
    let mut answer = Vec::new();
    for _ in 0..TURNS {
        let mut ready = Vec::new();
        bench.events.wait(Some(10), &mut ready).unwrap();
        for event in &ready {
            bench.session.ready(event.token, event.readable, event.writable);
        }
        for (kind, id, payload) in bench.say(&std::mem::take(&mut answer)) {
            if id > FIRST_OWN_ID && kind == FrameType::Data as u8 {
                return assert_eq!(payload, b"ping");
            }
            if kind == FrameType::Open as u8 {
                asking.write_all(b"ping").unwrap();
                answer.extend(frame(FrameType::Opened, id, b""));
            } else if kind == FrameType::Data as u8 {
                answer.extend(frame(FrameType::Credit, id, &(payload.len() as u32).to_le_bytes()));
            }
        }
    }
    panic!("the agent's own stream never had its turn");
}

/// More than have room at once.
const BUSY_STREAMS: u32 = 16;
/// Many times what it takes all streams to have had their turn.
const TURNS: u32 = 200;

/// An agent with the service `metadata`, and where the application finds it.
fn serving() -> (Bench, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Bench::serving(vec![Service { name: "metadata", listener }]), address)
}

/// Likewise, in a session with a host that has these services.
fn offering(names: &str) -> (Bench, SocketAddr) {
    let (mut bench, address) = serving();
    bench.say(&hello(&format!("\"secret\":\"\",\"services\":[{}]", names)));
    (bench, address)
}

/// Waits for the agent's OPEN. Returns its id.
fn asked(bench: &mut Bench) -> u32 {
    let mut seen = Vec::new();
    bench.turn_until(|bench| { seen.extend(bench.take()); !seen.is_empty() });
    open_of(&seen)
}

/// Lets the event loop turn as often as anything that is under way could need.
fn turn_a_while(bench: &mut Bench) {
    let mut turns = 0;
    bench.turn_until(|_| { turns += 1; turns > 5 });
}

fn open_of(frames: &[(u8, u32, Vec<u8>)]) -> u32 {
    assert_eq!(frames.len(), 1, "{:?}", frames);
    assert_eq!((frames[0].0, &frames[0].2[..]), (FrameType::Open as u8, &br#"{"to":"metadata"}"#[..]));
    frames[0].1
}
