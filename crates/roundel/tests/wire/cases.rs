//! The cases: one module per group, each a function that gives data.

pub mod answer_bodies;
pub mod answers;
pub mod breaks;
pub mod chunks;
pub mod connections;
pub mod cookies;
pub mod forwarding;
pub mod hop_by_hop;
pub mod interim;
pub mod methods;
pub mod request_fields;
pub mod request_framing;
pub mod request_line;
pub mod retries;
pub mod slow;
pub mod upgrades;

use roundel_testkit::wire::Case;

/// A request that must be refused with one of these statuses.
pub type Refused = (&'static str, &'static str, &'static [u16]);

/// Makes a case of each row: the answer, then the end, and no server sees anything.
pub fn refused(section: &'static str, rows: &[Refused]) -> Vec<Case> {
    let row = |(name, bytes, status): &Refused| {
        Case::new(*name)
            .section(section)
            .send(bytes)
            .refused(status)
    };
    rows.iter().map(row).collect()
}

/// Sets the section of all.
pub fn section(section: &'static str, cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().map(|c| c.section(section)).collect()
}
