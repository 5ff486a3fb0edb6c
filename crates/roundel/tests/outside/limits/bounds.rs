//! What strangers can make the process keep: `/metrics` and the README tell the same.

use std::collections::BTreeMap;

use crate::balancer::Balancer;
use crate::turns::beside_others;

/// The README's table, from its names to what they allow, in its words.
fn told() -> BTreeMap<String, String> {
    let readme = include_str!("../../../../../README.md");
    let rows = readme
        .lines()
        .skip_while(|line| !line.starts_with("| bound |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| (cells[1].trim_matches('`').to_owned(), cells[3].to_owned()))
        .collect()
}

/// A number of bytes or of things, as the README writes it: `64 MiB` or `1,000`.
fn worded(limit: u64) -> String {
    const MIB: u64 = 1 << 20;
    if limit >= MIB && limit.is_multiple_of(MIB) {
        return format!("{} MiB", limit / MIB);
    }
    let digits = limit.to_string();
    let parts: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8(parts.join(&b',')).expect("digits and commas")
}

#[test]
fn the_readme_has_each_bound_and_its_number() {
    let _turn = beside_others();
    let demo = Balancer::demo(1, &[]);
    let metrics = demo.page("/metrics");
    let of_limits = "roundel_bound_limit{bound=\"";
    let limits = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(of_limits));
    let shown: BTreeMap<String, String> = limits
        .filter_map(|rest| rest.split_once("\"} "))
        .map(|(name, limit)| (name.to_owned(), worded(limit.parse().expect(limit))))
        .collect();
    assert_eq!(told(), shown);
    for name in shown.keys() {
        let hits = format!("roundel_bound_hits_total{{bound=\"{name}\"}} 0");
        assert!(metrics.contains(&hits), "{hits}\n{metrics}");
    }
}
