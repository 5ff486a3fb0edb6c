//! The words of HAProxy's status columns.

use roundel_model::{AdminState, ServerState};

use crate::status::{Check, Server};

/// A server's status as HAProxy words it; readers compare its beginning.
pub(crate) fn server_status(server: &Server) -> String {
    let check = server.check.as_ref();
    match server.state {
        ServerState::Joining => "DOWN".into(),
        ServerState::Up | ServerState::Warming => check.map_or("no check".into(), up),
        ServerState::Ejected => "DOWN".into(),
        ServerState::Down => check.map_or("DOWN".into(), down),
        // A weight of zero is told by the weight alone.
        ServerState::Draining if server.user_weight == 0 && server.admin == AdminState::Ready => {
            check.map_or("no check".into(), up)
        }
        ServerState::Draining | ServerState::Leaving => "DRAIN".into(),
        ServerState::Maint => "MAINT".into(),
        ServerState::Left => "MAINT (left)".into(),
    }
}

/// `UP`, or `UP 2/3` while failed probes count against it.
fn up(check: &Check) -> String {
    let full = (check.rise + check.fall).saturating_sub(1);
    if check.health >= full || check.health < check.rise {
        return "UP".into();
    }
    format!("UP {}/{}", check.health + 1 - check.rise, check.fall)
}

/// `DOWN`, or `DOWN 1/2` while passed probes count for it.
fn down(check: &Check) -> String {
    if check.health == 0 || check.health >= check.rise {
        return "DOWN".into();
    }
    format!("DOWN {}/{}", check.health, check.rise)
}

/// HAProxy's phrase for a check status.
pub(crate) fn check_phrase(status: &str) -> &'static str {
    match status {
        "INI" => "Initializing",
        "SOCKERR" => "Socket error",
        "L4OK" => "Layer4 check passed",
        "L4TOUT" => "Layer4 timeout",
        "L4CON" => "Layer4 connection problem",
        "L6OK" => "Layer6 check passed",
        "L6TOUT" => "Layer6 timeout",
        "L6RSP" => "Layer6 invalid response",
        "L7OK" => "Layer7 check passed",
        "L7OKC" => "Layer7 check conditionally passed",
        "L7TOUT" => "Layer7 timeout",
        "L7RSP" => "Layer7 invalid response",
        "L7STS" => "Layer7 wrong status",
        _ => "Unknown",
    }
}
