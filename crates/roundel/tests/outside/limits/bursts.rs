//! A client of HTTP/2 that gives up far more than it lets be answered.

use roundel_testkit::wait_for;

use super::stage::{Client, Does, GET, Http2, Keys, Server};
use crate::balancer::SOON;

#[test]
fn a_burst_of_streams_given_up_ends_its_connection_and_is_told_of() {
    let server = Server::that(Does::Answers);
    let balancer = Keys::default().serve(&[server.address]);
    let mut client = Http2::giving_up(balancer.front, 2_000);
    let rejected =
        "roundel_frontend_connections_rejected_total{frontend=\"front\",reason=\"http2_resets\"} 1";
    wait_for("the count", SOON, || {
        balancer.page("/metrics").contains(rejected).then_some(())
    });
    let line = balancer.process.wait_line("ENHANCE_YOUR_CALM", SOON);
    assert!(line.contains("WARN") && line.contains("front"), "{line}");
    // It gets to read why, in the GOAWAY, and others are served as before.
    client.read_until("too_many_resets");
    Client::asking(balancer.front, GET).read_until("hello");
}
