//! The calls that are answered at once.

use crate::event_loop::EventLoop;
use crate::failure::{Failure, OrFailure};
use crate::json::{object, Json};
use crate::listening::listening_ports;
use crate::message::{application_json, parse_start, realtime_ns};
use crate::output::Output;
use crate::system::{ApplicationState, System};

/// `start`: once in the life of a microVM, so a second one is refused; one that failed may be tried again.
pub fn start(call: &Json, system: &mut dyn System, output: &mut Output, events: &EventLoop) -> Result<Json, Failure> {
    let spec = parse_start(call).map_err(|message| Failure::new("EINVAL", message))?;
    if system.application().state != ApplicationState::None {
        return Err(Failure::new("started", "the application was started before"));
    }
    let started = system.start(&spec)?;
    output.attach(events, [started.stdout, started.stderr]).or_failure("watch the application's output")?;
    Ok(object(vec![("pid", (started.pid as u64).into())]))
}

/// Everything but `start` and `awaitListening`.
pub fn perform(op: &str, call: &Json, system: &mut dyn System) -> Result<Json, Failure> {
    match op {
        "listening" => {
            let ports = listening_ports().into_iter().map(|port| u64::from(port).into()).collect();
            Ok(object(vec![("ports", Json::Array(ports))]))
        }
        "freeze" => system.freeze().map(|()| object(vec![])),
        "thaw" => system.thaw().map(|()| object(vec![])),
        "quiesce" => {
            if system.application().state == ApplicationState::Running {
                return Err(Failure::new("not-frozen", "the application is not frozen"));
            }
            let trim = call.get("trim").and_then(Json::as_bool).unwrap_or(true);
            system.quiesce(trim).map(|bytes| object(vec![("trimmedBytes", bytes.into())]))
        }
        "clock" => {
            let realtime = realtime_ns(call).map_err(|message| Failure::new("EINVAL", message))?;
            system.set_realtime_ns(realtime)?;
            Ok(object(vec![("realtimeNs", system.realtime_ns().to_string().into())]))
        }
        "status" => {
            let memory = system.memory();
            Ok(object(vec![
                ("application", application_json(&system.application())),
                ("memTotalKib", memory.total_kib.into()),
                ("memAvailableKib", memory.available_kib.into()),
                ("bootId", system.boot_id().into()),
                ("vmcoreinfo", system.vmcoreinfo().into()),
            ]))
        }
        _ => Err(Failure::new("unknown-op", "this agent does not know the operation")),
    }
}
