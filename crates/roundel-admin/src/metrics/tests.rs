use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::*;
use crate::fixture;
use crate::status::Snapshot;

fn text(snapshot: Snapshot) -> String {
    let moment = Moment::new(Arc::new(snapshot), Default::default());
    let own = OwnNumbers {
        viewers: 2,
        draining: false,
        wrong_tokens: 5,
        acts: vec![(("drain", "ok"), 3)],
    };
    render(&moment, &own, Scope::ALL)
}

#[test]
fn values_and_labels_are_those_of_the_snapshot() {
    let text = text(fixture::every_state(8));
    let now = fixture::every_state(8);
    let line = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    let ok = now.backends[0].servers[1].traffic.responses_total[1];
    line(&format!(
        "roundel_server_requests_total{{backend=\"nodes\",server=\"webapp-2\",code=\"2xx\"}} {ok}"
    ));
    line("roundel_server_state{backend=\"nodes\",server=\"webapp-5\",state=\"draining\"} 1");
    line("roundel_server_up{backend=\"nodes\",server=\"webapp-8\"} 0");
    line("roundel_backend_servers{backend=\"nodes\",state=\"up\"} 2");
    line("roundel_gossip_members{role=\"backend\",state=\"alive\"} 7");
    line("roundel_admin_actions_total{action=\"drain\",result=\"ok\"} 3");
    line("roundel_admin_wrong_tokens_total 5");
    line("roundel_sse_clients 2");
    let gossip = now.gossip.as_ref().unwrap();
    assert!(gossip.asked_back_total > gossip.hearsay_refuted_total);
    for (name, count) in [
        ("asked_back", gossip.asked_back_total),
        ("hearsay_refuted", gossip.hearsay_refuted_total),
    ] {
        line(&format!("roundel_gossip_{name}_total {count}"));
    }
    let count = now.backends[0].request_duration.count();
    line(&format!(
        "roundel_backend_request_duration_seconds_count{{backend=\"nodes\"}} {count}"
    ));
    line(&format!(
        "roundel_backend_request_duration_seconds_bucket{{backend=\"nodes\",le=\"+Inf\"}} {count}"
    ));
}

#[test]
fn certificates_are_known_by_name_key_and_file() {
    let text = text(fixture::secured(1));
    let labels = "name=\"www.example.org\",key=\"ECDSA\",file=\"/etc/roundel/certs/www.pem\"";
    for line in [
        format!("roundel_certificate_not_before_seconds{{{labels}}} 1788000000"),
        format!("roundel_certificate_not_after_seconds{{{labels}}} 1795776000"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[test]
fn orders_are_told_of_those_that_are_ordered_only() {
    let text = text(fixture::secured(1));
    let labels = "names=\"shop.example.org\",directory=\"https://ca.example/directory\"";
    for line in [
        format!("roundel_acme_orders_total{{{labels},outcome=\"issued\"}} 3"),
        format!("roundel_acme_orders_total{{{labels},outcome=\"failed\"}} 2"),
        format!("roundel_acme_last_success_seconds{{{labels}}} 1789000000"),
        format!("roundel_acme_next_try_seconds{{{labels}}} 1790086400"),
        format!("roundel_acme_failures{{{labels}}} 0"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let orders = text.lines().filter(|l| l.starts_with("roundel_acme_"));
    assert_eq!(orders.count(), 5);
}

#[test]
fn what_has_no_true_value_is_left_out() {
    let mut snapshot = fixture::calm(1, 0);
    snapshot.gossip = None;
    let text = text(snapshot);
    assert!(!text.contains("roundel_gossip"));
    assert!(!text.contains("roundel_server_"));
    assert!(text.contains("roundel_backend_up{backend=\"nodes\"} 0"));
}

#[test]
fn haproxys_names_carry_the_same_numbers() {
    let now = fixture::every_state(8);
    let requests = now.backends[0].servers[1].requests_total;
    let moment = Moment::new(Arc::new(now), Default::default());
    let text = render_compat(&moment, &OwnNumbers::default(), Scope::ALL);
    let line = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    line(&format!(
        "haproxy_server_sessions_total{{proxy=\"nodes\",server=\"webapp-2\"}} {requests}"
    ));
    line("haproxy_server_status{proxy=\"nodes\",server=\"webapp-5\",state=\"DRAIN\"} 1");
    line("haproxy_server_status{proxy=\"nodes\",server=\"webapp-5\",state=\"UP\"} 0");
    line("haproxy_backend_active_servers{proxy=\"nodes\"} 3");
    line("haproxy_backend_agg_server_status{proxy=\"nodes\",state=\"DOWN\"} 3");
    line("haproxy_frontend_status{proxy=\"localnodes\",state=\"UP\"} 1");
    assert!(text.contains("haproxy_backend_total_time_average_seconds{proxy=\"nodes\"} 0.0042"));
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let Some(promtool) = roundel_testkit::external("promtool", "prometheus") else {
        return;
    };
    let snapshots = [
        fixture::every_state(8),
        fixture::hostile(),
        fixture::calm(0, 0),
    ];
    let own_names = snapshots.iter().cloned().map(text);
    let compat = |s: &Snapshot| {
        let moment = Moment::new(Arc::new(s.clone()), Default::default());
        render_compat(&moment, &OwnNumbers::default(), Scope::ALL)
    };
    for input in own_names.chain(snapshots.iter().map(compat)) {
        let mut child = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.is_empty(),
            "{said}\n{input}"
        );
    }
}

#[test]
fn a_hostile_role_makes_no_label_of_its_own() {
    let text = text(fixture::hostile());
    assert!(text.contains("roundel_gossip_members{role=\"other\",state=\"alive\"} 1"));
    assert!(!text.contains('\u{1b}'));
}
