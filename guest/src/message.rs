//! The JSON of frames, as types.

use crate::encoding::{parse_base64, parse_hex};
use crate::failure::Failure;
use crate::frame::{header_bytes, FrameType};
use crate::json::{object, Json};
use crate::pty::Size;
use crate::queue::ByteQueue;
use crate::system::{Application, ApplicationState, Capabilities, NetworkAddress, Restore, StartSpec};

/// The versions of the protocol that this agent speaks.
pub const PROTOCOLS: (u64, u64) = (1, 1);
/// What this agent can do that earlier ones of the same version could not.
pub const FEATURES: [&str; 1] = ["shell"];
/// Bytes of entropy in `restore`.
const ENTROPY_BYTES: usize = 64;
/// The most texts in `argv` and in `env`.
const TEXTS_LIMIT: usize = 4096;
/// The most names in `services`.
const SERVICES_LIMIT: usize = 16;

/// A HELLO. `nonce` is there as soon as it could be read, so that a FAULT can repeat it.
#[derive(Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest and the newest version that the host speaks.
    pub protocols: (u64, u64),
    pub nonce: String,
    pub secret: String,
    pub next_secret: Option<[u8; 32]>,
    pub output_credit: u64,
    pub restore: Option<Restore>,
    pub thaw: bool,
    /// What the host takes streams to.
    pub services: Vec<String>,
}

/// The newest version that two ends, each with an oldest and a newest, both speak.
pub fn common_protocol(ours: (u64, u64), theirs: (u64, u64)) -> Option<u64> {
    let newest = ours.1.min(theirs.1);
    (newest >= ours.0.max(theirs.0)).then(|| newest)
}

/// The nonce of a HELLO, also of one that is otherwise wrong; empty where it cannot be read.
pub fn nonce_of(hello: &Json) -> String {
    let nonce = hello.get("nonce").and_then(Json::as_str).unwrap_or_default();
    if parse_hex::<16>(nonce).is_some() {
        nonce.to_string()
    } else {
        String::new()
    }
}

pub fn parse_hello(hello: &Json) -> Result<Hello, &'static str> {
    let protocol = hello.get("protocol").ok_or("protocol is missing")?;
    let bound = |name| protocol.get(name).and_then(Json::as_integer).ok_or("protocol is not a range");
    let nonce = nonce_of(hello);
    if nonce.is_empty() {
        return Err("nonce is not 32 hexadecimal digits");
    }
    let next_secret = match hello.get("nextSecret") {
        None => None,
        Some(text) => Some(text.as_str().and_then(parse_hex::<32>).ok_or("nextSecret is not 64 hexadecimal digits")?),
    };
    let output_credit = hello.get("outputCredit").and_then(Json::as_integer).ok_or("outputCredit is not a number")?;
    if output_credit > u64::from(u32::MAX) {
        return Err("outputCredit is too large");
    }
    Ok(Hello {
        protocols: (bound("min")?, bound("max")?),
        nonce,
        secret: hello.get("secret").and_then(Json::as_str).ok_or("secret is missing")?.to_string(),
        next_secret,
        output_credit,
        restore: hello.get("restore").map(parse_restore).transpose()?,
        thaw: match hello.get("thaw") {
            None => false,
            Some(thaw) => thaw.as_bool().ok_or("thaw is not a boolean")?,
        },
        services: parse_services(hello)?,
    })
}

fn parse_services(hello: &Json) -> Result<Vec<String>, &'static str> {
    let names = hello.get("services").map_or(Some(&[][..]), Json::as_array).filter(|names| names.len() <= SERVICES_LIMIT);
    let names = names.ok_or("services is not a short list")?.iter().map(|name| name.as_str().map(str::to_string));
    names.collect::<Option<Vec<_>>>().ok_or("services holds something that is not a text")
}

fn parse_restore(restore: &Json) -> Result<Restore, &'static str> {
    let entropy = restore.get("entropy").and_then(Json::as_str).and_then(|text| parse_base64(text, ENTROPY_BYTES));
    Ok(Restore {
        realtime_ns: realtime_ns(restore)?,
        entropy: entropy.filter(|bytes| bytes.len() == ENTROPY_BYTES).ok_or("entropy is not base64 of 64 bytes")?,
        reset_connections: restore.get("resetConnections").map_or(Some(false), Json::as_bool).ok_or("resetConnections is not a boolean")?,
        network: restore.get("network").map(parse_network).transpose()?,
    })
}

/// Without an address the card is to have none.
fn parse_network(network: &Json) -> Result<Option<NetworkAddress>, &'static str> {
    if network.as_object().ok_or("network is not an object")?.is_empty() {
        return Ok(None);
    }
    let address = |name| network.get(name).and_then(Json::as_str).and_then(|text| text.parse().ok()).ok_or("network holds something that is not an address");
    Ok(Some(NetworkAddress { address: address("address")?, gateway: address("gateway")? }))
}

/// The member `realtimeNs`: nanoseconds since the epoch as a decimal text, since they do not fit JSON's numbers.
pub fn realtime_ns(json: &Json) -> Result<u64, &'static str> {
    let text = json.get("realtimeNs").and_then(Json::as_str).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|ns| digits && *ns <= i64::MAX as u64).ok_or("realtimeNs is not a time")
}

/// The arguments of `start`.
pub fn parse_start(call: &Json) -> Result<StartSpec, &'static str> {
    let argv = texts(call.get("argv").and_then(Json::as_array).ok_or("argv is not a list")?)?;
    if argv.is_empty() || argv[0].is_empty() {
        return Err("argv is empty");
    }
    let text = |name: &str, message| call.get(name).map_or(Some(""), Json::as_str).filter(|text| !text.contains('\0')).ok_or(message);
    let mut env = Vec::new();
    for (name, value) in call.get("env").map_or(Some(&[][..]), Json::as_object).ok_or("env is not an object")? {
        let value = value.as_str().filter(|value| !value.contains('\0')).ok_or("env holds something that is not a text")?;
        if name.is_empty() || name.contains(&['=', '\0'][..]) {
            return Err("env holds a name that cannot be one");
        }
        env.push((name.clone(), value.to_string()));
    }
    if env.len() > TEXTS_LIMIT {
        return Err("env is too long");
    }
    Ok(StartSpec {
        argv,
        env,
        cwd: text("cwd", "cwd is not a text")?.to_string(),
        user: text("user", "user is not a text")?.to_string(),
        hostname: text("hostname", "hostname is not a text")?.to_string(),
        capabilities: match call.get("capabilities").map_or(Some("default"), Json::as_str) {
            Some("default") => Capabilities::Default,
            Some("all") => Capabilities::All,
            _ => return Err("capabilities is neither default nor all"),
        },
    })
}

fn texts(items: &[Json]) -> Result<Vec<String>, &'static str> {
    if items.len() > TEXTS_LIMIT {
        return Err("argv is too long");
    }
    let text = |item: &Json| item.as_str().filter(|text| !text.contains('\0')).map(str::to_string);
    items.iter().map(|item| text(item).ok_or("argv holds something that is not a text")).collect()
}

/// A TCP port, 1 to 65535.
pub fn parse_port(port: &Json) -> Option<u16> {
    port.as_integer().filter(|port| (1..=65535).contains(port)).map(|port| port as u16)
}

/// The arguments of `resize`: which stream, and its terminal's size.
pub fn parse_resize(call: &Json) -> Result<(u32, Size), &'static str> {
    let stream = call.get("stream").and_then(Json::as_integer).and_then(|id| u32::try_from(id).ok());
    let side = |name| call.get(name).and_then(Json::as_integer).and_then(|count| u16::try_from(count).ok()).ok_or("cols or rows is no size");
    Ok((stream.ok_or("stream is no id")?, Size { cols: side("cols")?, rows: side("rows")? }))
}

/// A whole frame with JSON in it.
pub fn push_json(outbox: &mut ByteQueue, (frame_type, id): (FrameType, u32), json: &Json) {
    let text = json.to_text();
    debug_assert!(text.len() <= frame_type.limit());
    outbox.extend(&header_bytes(frame_type, id, text.len()));
    outbox.extend(text.as_bytes());
}

pub fn failure_json(failure: &Failure) -> Json {
    object(vec![("code", failure.code.as_str().into()), ("message", failure.message.as_str().into())])
}

pub fn application_json(application: &Application) -> Json {
    let state = match application.state {
        ApplicationState::None => "none",
        ApplicationState::Running => "running",
        ApplicationState::Frozen => "frozen",
        ApplicationState::Exited => "exited",
    };
    let number = |value: Option<i32>| value.map_or(Json::Null, |value| Json::Number(f64::from(value)));
    object(vec![
        ("state", state.into()),
        ("pid", number(application.pid)),
        ("exitCode", number(application.exit_code)),
        ("signal", number(application.signal)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(text: &str) -> Result<Hello, &'static str> {
        parse_hello(&Json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn hello_full_and_bare() {
        let nonce = "0".repeat(32);
        let bare = format!(r#"{{"protocol":{{"min":1,"max":2}},"nonce":"{}","secret":"","outputCredit":5}}"#, nonce);
        let parsed = hello(&bare).unwrap();
        assert_eq!((parsed.protocols, parsed.output_credit, parsed.thaw), ((1, 2), 5, false));
        let full = bare.replace(
            "\"secret\"",
            &format!(
                r#""thaw":true,"nextSecret":"{}","restore":{{"realtimeNs":"1790000000000000000","entropy":"{}==","resetConnections":true,"network":{{"address":"198.19.0.1","gateway":"198.19.255.254"}}}},"secret""#,
                "ab".repeat(32),
                "A".repeat(86)
            ),
        );
        let parsed = hello(&full).unwrap();
        let network = Some(Some(NetworkAddress { address: "198.19.0.1".parse().unwrap(), gateway: "198.19.255.254".parse().unwrap() }));
        assert_eq!(parsed.restore, Some(Restore { realtime_ns: 1_790_000_000_000_000_000, entropy: vec![0; 64], reset_connections: true, network }));
        assert_eq!(parsed.next_secret, Some([0xab; 32]));
        assert_eq!(parsed.services, Vec::<String>::new());
        let offering = |services: &str| hello(&full.replacen("\"thaw\"", &format!("\"services\":{},\"thaw\"", services), 1));
        assert_eq!(offering(r#"["metadata","s3"]"#).unwrap().services, ["metadata", "s3"]);
        for services in [r#""s3""#, "[1]", &format!("[{}1]", r#""x","#.repeat(16))] {
            assert!(offering(services).is_err(), "{}", services);
        }
        for (from, to) in [("AAAA", "AAA"), ("\"17", "\"-17"), ("\"17", "\"99917"), ("abab", "xbab"), ("thaw\":true", "thaw\":1"), (":5", ":-5"), (":5", ":1e10")] {
            assert!(hello(&full.replacen(from, to, 1)).is_err(), "{}", to);
        }
    }

    #[test]
    fn start() {
        let parse = |text: &str| parse_start(&Json::parse(text.as_bytes()).unwrap());
        let spec = parse(r#"{"argv":["a","b"],"env":{"X":"1"},"cwd":"/w","user":"u:g","hostname":"h","capabilities":"all"}"#).unwrap();
        assert_eq!(spec.env, [("X".to_string(), "1".to_string())]);
        assert_eq!(spec.capabilities, Capabilities::All);
        assert!(parse(r#"{"argv":["a"]}"#).is_ok());
        let bad = [
            r#"{}"#, r#"{"argv":[]}"#, r#"{"argv":[""]}"#, r#"{"argv":[1]}"#, r#"{"argv":["a\u0000"]}"#, r#"{"argv":["a"],"env":{"":"1"}}"#,
            r#"{"argv":["a"],"env":{"A=":"1"}}"#, r#"{"argv":["a"],"env":{"A":1}}"#, r#"{"argv":["a"],"capabilities":"some"}"#, r#"{"argv":["a"],"cwd":1}"#,
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{}", text);
        }
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        assert_eq!(common_protocol((1, 1), (1, 1)), Some(1));
        assert_eq!(common_protocol((1, 1), (1, 3)), Some(1));
        assert_eq!(common_protocol((1, 4), (2, 3)), Some(3));
        assert_eq!(common_protocol((2, 3), (1, 2)), Some(2));
        assert_eq!(common_protocol((1, 1), (2, 3)), None);
        assert_eq!(common_protocol((2, 3), (1, 1)), None);
        assert_eq!(common_protocol((1, 3), (3, 1)), None);
    }
}
