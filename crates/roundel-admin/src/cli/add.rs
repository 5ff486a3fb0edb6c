//! `add server`: HAProxy's words for a server.

use std::net::SocketAddr;

use roundel_model::{Name, Weight};

use super::acts::split;
use crate::command::{Command, CommandError};
use crate::status::Snapshot;

/// Words of one value that the backend's configuration decides here, for every server alike.
const BY_BACKEND: [&str; 20] = [
    "addr",
    "cookie",
    "downinter",
    "error-limit",
    "fall",
    "fastinter",
    "id",
    "init-addr",
    "inter",
    "maxqueue",
    "minconn",
    "observe",
    "on-error",
    "on-marked-down",
    "on-marked-up",
    "pool-max-conn",
    "pool-purge-delay",
    "proto",
    "rise",
    "slowstart",
];

/// Words without a value that say what is so in any case, or what the backend decides.
const FLAGS: [&str; 5] = ["check", "enabled", "non-stick", "check-send-proxy", "tfo"];

/// Reads `add server <b>/<s> <addr> [words]`. Errors: HAProxy's sentences, where it has one.
pub(super) fn parse(words: &[&str], snapshot: &Snapshot) -> Result<Command, String> {
    let target = words.first().copied().unwrap_or_default();
    let (backend, server) = split(target).map_err(str::to_owned)?;
    let backend = Name::new(backend)
        .ok()
        .filter(|name| snapshot.backend(name.as_str()).is_some())
        .ok_or_else(|| CommandError::NoBackend.to_string())?;
    let server = Name::new(server).map_err(|_| "Invalid server name.\n".to_owned())?;
    let Some(address) = words.get(1) else {
        return Err("'server' expects <name> and <addr>[:<port>] as arguments.\n".into());
    };
    let address = address.strip_prefix("ipv4@").unwrap_or(address);
    let Ok(address) = address.parse::<SocketAddr>() else {
        return Err("An address and a port are expected, such as 10.0.0.1:3000.\n".into());
    };
    let mut read = Words {
        weight: Weight::ONE,
        backup: false,
        maxconn: None,
        disabled: false,
        passed_over: Vec::new(),
    };
    read.all(&server, &words[2..])?;
    Ok(Command::AddServer {
        backend,
        server,
        address,
        weight: read.weight,
        backup: read.backup,
        maxconn: read.maxconn,
        disabled: read.disabled,
        passed_over: read.passed_over,
    })
}

struct Words {
    weight: Weight,
    backup: bool,
    maxconn: Option<u32>,
    disabled: bool,
    passed_over: Vec<String>,
}

impl Words {
    fn all(&mut self, server: &Name, words: &[&str]) -> Result<(), String> {
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next();
                value.ok_or_else(|| format!("'{word}' expects an argument.\n"))
            };
            match word {
                "weight" => {
                    let value = value()?;
                    let weight = value.parse().ok().map(Weight::new);
                    let Some(Ok(weight)) = weight else {
                        return Err(format!(
                            "weight of server {server} is not within 0 and 256 ({value}).\n"
                        ));
                    };
                    self.weight = weight;
                }
                "maxconn" => {
                    let most = value()?.parse();
                    self.maxconn = Some(most.map_err(|_| "'maxconn' expects a number.\n")?);
                }
                "port" => {
                    value()?;
                    return Err("'port': use set server <b>/<s> check-port instead.\n".into());
                }
                "backup" => self.backup = true,
                "disabled" => self.disabled = true,
                "enabled" => self.disabled = false,
                word if BY_BACKEND.contains(&word) => {
                    let value = value()?;
                    self.passed_over.push(format!("{word} {value}"));
                }
                word if FLAGS.contains(&word) => {}
                word => return Err(format!("unknown keyword '{word}'\n")),
            }
        }
        Ok(())
    }
}
