//! The image and the small cluster of docker/, tried from outside.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use roundel_testkit::{Load, LoadReport, Reuse, poll};

use crate::cluster::Cluster;
use crate::drill;
use crate::image;
use crate::step::{self, command, output};
use crate::stock;
use crate::swarm;

/// How long a change may take: mostly the time in which 25 containers start or stop on two cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests that must be answered between two acts, so that each act is really under load.
const BETWEEN: u64 = 300;

/// Builds the image, runs the cluster through its sizes under load, and takes it all down.
pub(crate) fn run() -> Result<()> {
    let binary = image::static_binary()?;
    let mut cluster = Cluster::new();
    drill::ignored(&binary)?;
    image::prebuilt_builder(cluster.builder(), &binary)?;
    let outcome = try_out(&cluster).and_then(|()| stock::try_out(&mut cluster, &binary));
    if outcome.is_err() {
        eprintln!("{}", cluster.logs());
    }
    outcome
}

fn try_out(cluster: &Cluster) -> Result<()> {
    cluster.scale(3, true)?;
    image::check(cluster.image())?;
    cluster.wait_up(3, PATIENCE)?;
    let balancer = cluster.containers("lb")?;
    ensure!(balancer.len() == 1, "one balancer, not {balancer:?}");
    let start = |reuse| Load::start(cluster.front(), 2, reuse);
    let loads = [Reuse::KeepAlive, Reuse::PerRequest].map(start);
    for count in [25, 15, 8] {
        let started = Instant::now();
        cluster.scale(count, false)?;
        cluster.wait_up(count, PATIENCE)?;
        println!(
            "{count} servers after {:.1} s",
            started.elapsed().as_secs_f64()
        );
        go_on(&loads);
        check_rows(cluster, count)?;
    }
    stop_one(cluster)?;
    go_on(&loads);
    for load in loads {
        clean(&load.stop())?;
    }
    ensure!(
        cluster.containers("lb")? == balancer,
        "the balancer was replaced"
    );
    healthy(&balancer[0])?;
    replace_balancer(cluster)?;
    swarm::run_on_overlay(cluster.image())
}

/// A balancer that is new and has another address learns of every server in seconds: it is the
/// servers that look for it.
fn replace_balancer(cluster: &Cluster) -> Result<()> {
    let apps = cluster.apps()?.len();
    cluster.remove("lb")?;
    cluster.scale(apps, false)?;
    let ready = Instant::now();
    cluster.wait_up(apps, PATIENCE)?;
    let took = ready.elapsed().as_secs_f64();
    println!("a new balancer serves with {apps} servers after {took:.1} s");
    Ok(())
}

fn go_on(loads: &[Load]) {
    for load in loads {
        load.wait_more(BETWEEN, PATIENCE);
    }
}

/// Every server that serves has its row in the CSV and its name on the page.
fn check_rows(cluster: &Cluster, count: usize) -> Result<()> {
    let csv = cluster.page("/;csv")?;
    let ours = csv.lines().filter(|line| line.starts_with("nodes,"));
    let serving = ours.filter(|line| line.contains(",UP,") && !line.contains(",BACKEND,"));
    let names: Vec<_> = serving.filter_map(|line| line.split(',').nth(1)).collect();
    ensure!(
        names.len() == count,
        "{} rows for {count} servers:\n{csv}",
        names.len()
    );
    let page = cluster.page("/")?;
    for name in names {
        ensure!(page.contains(name), "{name} is not on the page");
    }
    Ok(())
}

/// `docker stop` of one app is an announced leave, never a failure, and the app ends in order.
fn stop_one(cluster: &Cluster) -> Result<()> {
    let apps = cluster.apps()?;
    let victim = apps.first().context("an app is running")?;
    let started = Instant::now();
    step::run(&mut command("docker", &["stop", victim]))?;
    println!("docker stop took {:.1} s", started.elapsed().as_secs_f64());
    cluster.wait_up(apps.len() - 1, PATIENCE)?;
    let exit = ["inspect", "-f", "{{.State.ExitCode}}", victim];
    let exit = output(&mut command("docker", &exit))?;
    // 143: ended by the TERM that the agent passed on; 137 would be Docker's patience.
    ensure!(
        matches!(exit.as_str(), "0" | "143"),
        "the app's exit code is {exit}"
    );
    let name = &victim[..12];
    let left = poll(PATIENCE, || {
        let snapshot = cluster.snapshot().ok()?;
        let members = snapshot["members"].as_array()?;
        let member = members.iter().find(|member| member["name"] == name)?;
        (member["status"] == "left").then_some(())
    });
    left.with_context(|| format!("{name} is not seen as left"))?;
    let events = cluster.snapshot()?["events"].to_string();
    ensure!(events.contains(name), "no event tells of {name}: {events}");
    Ok(())
}

fn clean(report: &LoadReport) -> Result<()> {
    println!("load: {} answered, {} failed", report.ok, report.failed);
    if report.failed > 0 || report.ok == 0 {
        bail!("requests failed: {report:#?}");
    }
    Ok(())
}

/// Docker's own health check comes to the same verdict.
fn healthy(container: &str) -> Result<()> {
    let words = ["inspect", "-f", "{{.State.Health.Status}}", container];
    let status = poll(PATIENCE, || {
        let status = output(&mut command("docker", &words)).ok()?;
        (status == "healthy").then_some(())
    });
    status.context("the balancer's health check does not pass")
}
