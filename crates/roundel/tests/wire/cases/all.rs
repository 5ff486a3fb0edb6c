//! The cases: one module per group, each a function that gives data.

pub(crate) mod answer_bodies;
pub(crate) mod answers;
pub(crate) mod breaks;
pub(crate) mod chunks;
pub(crate) mod connections;
pub(crate) mod cookies;
pub(crate) mod forwarding;
pub(crate) mod hop_by_hop;
pub(crate) mod interim;
pub(crate) mod levels;
pub(crate) mod methods;
pub(crate) mod request_fields;
pub(crate) mod request_framing;
pub(crate) mod request_line;
pub(crate) mod retries;
pub(crate) mod slow;
pub(crate) mod upgrades;

use roundel_testkit::wire::Case;

/// All groups by name.
pub(crate) fn groups() -> Vec<(&'static str, Vec<Case>)> {
    let groups = vec![
        ("request line", request_line::cases()),
        ("request fields", request_fields::cases()),
        ("request framing", request_framing::cases()),
        ("chunks", chunks::cases()),
        ("answers", answers::cases()),
        ("bodies of answers", answer_bodies::cases()),
        ("hop by hop", hop_by_hop::cases()),
        ("forwarding", forwarding::cases()),
        ("methods", methods::cases()),
        ("connections", connections::cases()),
        ("interim answers", interim::cases()),
        ("upgrades", upgrades::cases()),
        ("cookies", cookies::cases()),
        ("retries", retries::cases()),
        ("breaks", breaks::cases()),
        ("slow peers", slow::cases()),
    ];
    let level = |(name, cases)| (name, levels::level(cases));
    groups.into_iter().map(level).collect()
}

/// A request that must be refused with one of these statuses.
pub(crate) type Refused = (&'static str, &'static str, &'static [u16]);

/// Makes a case of each row: the answer, then the end, and no server sees anything.
pub(crate) fn refused(section: &'static str, rows: &[Refused]) -> Vec<Case> {
    let row = |(name, bytes, status): &Refused| {
        Case::new(*name)
            .section(section)
            .send(bytes)
            .refused(status)
    };
    rows.iter().map(row).collect()
}

/// Sets the section of all.
pub(crate) fn section(section: &'static str, cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().map(|c| c.section(section)).collect()
}
