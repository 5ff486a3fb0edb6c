//! How often a connection to a server is used again when traffic is slow and servers are many.

use std::time::Duration;

use anyhow::Result;

use super::onlooker::get;
use super::{Options, Table, place, servers};
use crate::compare::peer::{Variant, variant};
use crate::compare::row::Work;
use crate::compare::{Setting, sample};

const PORT: u16 = 18_700;
const SERVERS: usize = 25;
/// Requests per second: at the first a server is due less often than a connection may rest.
const RATES: [u32; 3] = [5, 25, 250];
/// Long enough for many turns of all servers.
const TIME: Duration = Duration::from_secs(12);

pub(super) fn rows(setting: &Setting<'_>, _: &Options, table: &mut Table) -> Result<()> {
    for (rate, at) in RATES.into_iter().zip(0..) {
        let place = place(setting, PORT + 10 * at);
        let how = Variant {
            servers: servers(SERVERS),
            threads: 2,
            ..Variant::default()
        };
        let one = variant(setting.roundel, &place, how)?.start(&setting.cores.two)?;
        let work = Work {
            rate: Some(rate),
            connections: 16,
            ..Work::SMALL
        };
        let sample = sample::take(&one, &work, &setting.cores.load, TIME)?;
        // The figures of the status are a second old at most.
        std::thread::sleep(Duration::from_millis(1200));
        let metrics = get(([127, 0, 0, 1], place.port + 2).into(), "/metrics")?;
        let sum = |name: &str| -> f64 {
            let values = metrics.lines().filter(|line| line.starts_with(name));
            let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            values.sum()
        };
        let reused = sum("roundel_server_connections_reused_total{");
        let opened = sum("roundel_server_connection_attempts_total{");
        table.row(
            &format!("requests on a connection used before: {SERVERS} servers, 2 workers, {rate} requests/s"),
            "",
            &format!(
                "{:.0} % ({opened:.0} connections opened); p50 {:.0} µs; {}",
                100.0 * reused / (reused + opened),
                sample.latency_us.p50,
                super::failed(sample.failed())
            ),
        );
    }
    Ok(())
}
