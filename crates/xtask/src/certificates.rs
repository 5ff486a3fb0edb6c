//! Several balancers with one certificate, against Debian's Pebble: how many orders, how long, what fails.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use roundel_testkit::{Client, Town, Townsman, poll};

use crate::step::product;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// How long an order may take, with what it waits for somebody who has died.
const ISSUED: Duration = Duration::from_secs(120);
/// Certificates of one process in the run of renewals.
const FRONTENDS: usize = 10;
/// The life of certificates there: they are renewed at half of it.
const LIFE: Duration = Duration::from_secs(40);
/// Balancers that join, and sessions that are taken elsewhere.
const JOINS: usize = 20;
const SESSIONS: usize = 300;
/// What the CA logs when an order has come so far.
const STEPS: [&str; 8] = [
    "accounts in memory",
    "Added order",
    "POST /authZ",
    "POST /chalZ",
    "set VALID by",
    "POST /finalize-order",
    "Issued certificate serial",
    "POST /certZ",
];

/// Runs all of it: so many renewals, and an eighth of that number of kills at each step, at least one.
///
/// Errors: a figure that is not held.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let runs: usize = match words {
        [] => 100,
        ["--runs", runs] => runs.parse().context("--runs NUMBER")?,
        _ => bail!("usage: cargo xtask certificates [--runs NUMBER]"),
    };
    let program = product()?;
    renewals(&program, runs)?;
    kills(&program, runs.div_ceil(50))
}

fn town(program: &Path, names: usize, more: &str) -> Result<Town> {
    let key = || -> Result<String> {
        let output = Command::new(program).arg("keygen").output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let (key, gossip) = (key()?, key()?);
    Town::start(program, names, [&key, &gossip], more).context("pebble is needed")
}

/// Renewals under handshakes, then joins and resumed sessions.
fn renewals(program: &Path, runs: usize) -> Result<()> {
    let more = format!(", \"certificateValidityPeriod\": {}", LIFE.as_secs());
    let mut town = town(program, FRONTENDS, &more)?;
    let all = Arc::new(NAMES.map(|name| town.join(name, true)));
    let client = town.client();
    for n in 0..FRONTENDS {
        town.wait_shown(&*all, n, &client, ISSUED);
    }
    let counts = Arc::new(Counts::default());
    let load = {
        let (all, counts, client) = (all.clone(), counts.clone(), town.client());
        thread::spawn(move || handshakes(&*all, &counts, &client))
    };
    let issued = |town: &Town| {
        town.pebble
            .log()
            .matches("Issued certificate serial")
            .count()
    };
    let done = poll(ISSUED * 20, || (issued(&town) >= runs).then_some(()));
    counts.0.store(true, Ordering::Relaxed);
    ensure!(
        load.join().is_ok() && done.is_some(),
        "only {} of {runs} certificates",
        issued(&town)
    );
    let (asked, failed) = (
        counts.1.load(Ordering::Relaxed),
        counts.2.load(Ordering::Relaxed),
    );
    let (orders, issued, invalid) = (town.orders(), issued(&town), town.failed_validations());
    println!(
        "certificates issued by turns and renewals of {FRONTENDS} names: {issued}; orders: {orders}; failed validations: {invalid}"
    );
    println!("handshakes meanwhile: {asked}; failed: {failed}");

    let client = town.client();
    let mut resumed = 0;
    for n in 0..SESSIONS {
        let [from, to] = [n, n + 1 + n % 2].map(|n| &all[n % NAMES.len()]);
        let fresh = town.client();
        from.ask(n % FRONTENDS, &fresh)?;
        resumed += usize::from(to.ask(n % FRONTENDS, &fresh)?.resumed);
    }
    println!("sessions of one balancer resumed by another: {resumed} of {SESSIONS}");
    let mut times = Vec::new();
    for n in 0..JOINS {
        let late = town.join(&format!("late-{n}"), true);
        times.push(first_answer(&late, &client)?);
        town.kill(late);
    }
    times.sort();
    let (median, most) = (times[JOINS / 2], times[JOINS - 1]);
    println!(
        "from the start of a new balancer to its first answer over TLS: median {median:?}, most {most:?} of {JOINS}"
    );
    // One that is under way when the count is taken may be on either side.
    ensure!(
        orders.abs_diff(issued) <= FRONTENDS && invalid == 0,
        "more orders than certificates"
    );
    ensure!(failed == 0, "handshakes failed");
    ensure!(
        resumed * 100 >= SESSIONS * 99,
        "too few sessions are resumed"
    );
    ensure!(
        most <= Duration::from_secs(1),
        "a new balancer takes too long"
    );
    Ok(())
}

type Counts = (AtomicBool, AtomicU64, AtomicU64);

/// Asks all frontends of all, until it is told to stop; counts what was asked and what failed.
fn handshakes(all: &[Townsman], (stop, asked, failed): &Counts, client: &Client) {
    for n in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
        let one = &all[n % all.len()];
        asked.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = one.ask(n / all.len() % FRONTENDS, client) {
            eprintln!("{}: {error}", one.name);
            failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// From the start of a process to the first answer by a certificate of the CA. Errors: the first connection
/// that it took was shown another.
fn first_answer(one: &Townsman, client: &Client) -> Result<Duration> {
    let answer = poll(ISSUED, || match one.ask(0, client) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
        answer => Some(answer),
    });
    answer.context("it takes no connections")??;
    Ok(one.started.elapsed())
}

/// Kills the owner at each step, so many times each.
fn kills(program: &Path, times: usize) -> Result<()> {
    println!("| killed at | orders | failed validations |\n|---|---|---|");
    for step in STEPS {
        let (mut orders, mut invalid) = (Vec::new(), 0);
        for _ in 0..times {
            let mut town = town(program, 1, "")?;
            let mut all: Vec<_> = NAMES.map(|name| town.join(name, true)).into();
            poll(ISSUED, || town.pebble.log().contains(step).then_some(())).context(step)?;
            let owner = |one: &Townsman| one.process.stderr().contains("orders a certificate");
            let at = all.iter().position(owner).context("nobody orders")?;
            town.kill(all.remove(at));
            let client = town.client();
            town.wait_shown(&all, 0, &client, ISSUED);
            orders.push(town.orders());
            invalid += town.failed_validations();
        }
        println!("| {step} | {orders:?} | {invalid} |");
        ensure!(orders.iter().all(|n| *n <= 2) && invalid == 0, "{step}");
    }
    Ok(())
}
