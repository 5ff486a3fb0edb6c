//! Certificates that the balancer orders itself, of Pebble.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use roundel_testkit::{
    Origin, Pebble, Process, Reply, Signal, external, free_address, get, poll, wait_for,
};
use serde_json::Value;

use crate::balancer::{SOON, roundel};

const NAME: &str = "www.roundel.example";
/// An order has a dozen requests, each of which half of the time is to be made again.
const ISSUED: Duration = Duration::from_secs(60);

/// With which curl ends that does not trust a certificate. Source: curl(1), exit codes.
const UNTRUSTED: i32 = 60;

/// Writes a configuration with a frontend over TLS at `tls`, of which `more` ends the orders and goes on,
/// and one at `plain` that redirects to it; gives its path.
fn configure(
    pebble: &Pebble,
    [tls, plain, stats]: [SocketAddr; 3],
    origin: SocketAddr,
    more: &str,
) -> String {
    let (directory, ca_file, state) = (pebble.directory(), pebble.ca_file(), pebble.at("state"));
    let (ca_file, state) = (ca_file.display(), state.display());
    let text = format!(
        r#"
stats = {{ listen = "{stats}" }}
cli = {{ listen = "off" }}
[[frontend]]
name = "https"
listen = [{{ address = "{tls}", tls = true }}]
tls = {{ acme = {{ names = ["{NAME}"], accept_terms = true, directory = "{directory}", ca_file = "{ca_file}", state = "{state}" {more} }}
[[frontend]]
name = "http"
listen = ["{plain}"]
route = [{{ redirect = {{ scheme = "https" }} }}]
[[backend]]
name = "nodes"
server = [{{ name = "s1", address = "{origin}" }}]
"#
    );
    let path = pebble.at("roundel.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn serve(file: &str) -> Process {
    let process = Process::spawn(&mut roundel(&["serve", "-c", file]));
    process.wait_line("the page is at", SOON);
    process
}

/// Asks for `/` by the name, over a connection to `address`, with a certificate signed by `root`.
fn curl(address: SocketAddr, root: &Path) -> Output {
    let url = format!("https://{NAME}:{}/", address.port());
    let resolve = format!("{NAME}:{}:{}", address.port(), address.ip());
    let mut command = Command::new(external("curl", "curl").unwrap());
    command.args(["-sS", "--max-time", "10", "--resolve", &resolve, "--cacert"]);
    command.arg(root).arg(url).output().unwrap()
}

fn certificate(stats: SocketAddr) -> Value {
    let body = get(stats, "/api/v1/snapshot").unwrap().text();
    let all: Value = serde_json::from_str(&body).unwrap();
    all["certificates"][0].clone()
}

#[test]
fn a_certificate_is_ordered_served_without_a_restart_and_kept() {
    let Some(mut pebble) = Pebble::start("") else {
        return;
    };
    let origin = Origin::start(|_| Reply::text("hello"));
    let (tls, plain, stats) = (free_address(), pebble.http(), free_address());
    let file = configure(&pebble, [tls, plain, stats], origin.address(), "}");
    let root = pebble.root();
    let mut process = serve(&file);
    process.wait_line("self-signed certificate until", SOON);
    process.wait_line(&format!("certificate for {NAME} issued"), ISSUED);
    let answer = wait_for("an answer by the CA's certificate", SOON, || {
        let output = curl(tls, &root);
        output.status.success().then_some(output)
    });
    assert_eq!(answer.stdout, b"hello");
    let seen = poll(SOON, || {
        let seen = certificate(stats);
        let issuer = seen["issuer"].as_str().unwrap_or_default().to_owned();
        issuer.contains("Pebble").then_some(seen)
    });
    let seen = seen.unwrap_or_else(|| panic!("{}", certificate(stats)));
    assert_eq!(seen["warning"], "", "{seen}");
    assert_eq!(seen["source"], "acme", "{seen}");
    let orders = &seen["orders"];
    assert_eq!(orders["directory"], pebble.directory(), "{seen}");
    assert_eq!(
        (&orders["issued_total"], &orders["last_error"]),
        (&Value::from(1), &Value::Null)
    );
    // Renewal is due within its life, not when the CA is asked of it again.
    let of = |field: &Value| field.as_u64().unwrap_or_else(|| panic!("{seen}"));
    let (done, next) = (&orders["last_success_seconds"], &orders["next_try_seconds"]);
    let (from, to) = (&seen["not_before_seconds"], &seen["not_after_seconds"]);
    assert!(of(from) <= of(done) + 3_600, "{seen}");
    assert!(of(next) > of(from) + (of(to) - of(from)) / 3, "{seen}");
    assert!(of(next) < of(to), "{seen}");
    let metrics = get(stats, "/metrics").unwrap().text();
    let line = format!("roundel_acme_orders_total{{names=\"{NAME}\",directory=");
    assert!(metrics.contains(&line), "{metrics}");

    process.signal(Signal::TERM);
    process.wait_exit(SOON);
    // The CA is not needed for what was kept.
    pebble.stop();
    let process = serve(&file);
    let again = curl(tls, &root);
    assert_eq!(again.stdout, b"hello", "{again:?}\n{process}");
    assert!(
        !process.stderr().contains("orders a certificate"),
        "{process}"
    );
}

/// The files below a folder with this ending, but for those of the account.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let files = entries.flat_map(|path| match path.is_dir() {
        true => files(&path, ending),
        false => vec![path],
    });
    let fits = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == ending) && !path.ends_with("account.lock")
    };
    files.filter(fits).collect()
}

#[test]
fn a_fault_in_a_folder_holds_back_no_order() {
    let Some(pebble) = Pebble::start("") else {
        return;
    };
    let origin = Origin::start(|_| Reply::text("hello"));
    let (tls, plain, stats) = (free_address(), pebble.http(), free_address());
    let file = configure(&pebble, [tls, plain, stats], origin.address(), "}");
    let certs = pebble.at("certs");
    fs::create_dir(&certs).unwrap();
    let made = rcgen::generate_simple_self_signed(["files.example".to_owned()]).unwrap();
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    fs::write(certs.join("good.pem"), pem).unwrap();
    let more = format!(
        "[[frontend]]\nname = \"files\"\nlisten = [{{ address = \"{}\", tls = true }}]\n\
         tls = {{ certificates = [{certs:?}] }}\n",
        free_address()
    );
    let text = fs::read_to_string(&file).unwrap() + &more;
    fs::write(&file, text).unwrap();
    let issued = format!("certificate for {NAME} issued");
    let mut process = serve(&file);
    process.wait_line(&issued, ISSUED);
    process.signal(Signal::TERM);
    process.wait_exit(SOON);

    // It is gone, and may be ordered again once the lock is free.
    let state = pebble.at("state");
    files(&state, "pem")
        .iter()
        .for_each(|path| fs::remove_file(path).unwrap());
    let locks = files(&state, "lock").into_iter().map(|path| {
        let lock = fs::File::open(path).unwrap();
        lock.try_lock().unwrap();
        lock
    });
    let locks: Vec<_> = locks.collect();
    assert_eq!(locks.len(), 1);
    let process = serve(&file);
    fs::write(certs.join("bad.pem"), "no PEM").unwrap();
    process.wait_line("bad.pem: it holds no certificate", SOON);
    assert!(!process.stderr().contains(&issued), "{process}");
    drop(locks);
    process.wait_line(&issued, ISSUED);
    let root = pebble.root();
    wait_for("an answer by the CA's certificate", SOON, || {
        curl(tls, &root).status.success().then_some(())
    });
}

#[test]
fn a_name_is_proven_within_a_handshake_where_clients_need_certificates() {
    let Some(pebble) = Pebble::start("") else {
        return;
    };
    let origin = Origin::start(|_| Reply::text("hello"));
    let (tls, plain, stats) = (pebble.tls(), free_address(), free_address());
    let clients = pebble.ca_file();
    let more = format!(
        r#", challenge = "tls-alpn-01" }}, client_auth = "required", client_ca = ["{}"]"#,
        clients.display()
    );
    let file = configure(&pebble, [tls, plain, stats], origin.address(), &more);
    let process = serve(&file);
    process.wait_line(&format!("certificate for {NAME} issued"), ISSUED);
    let root = pebble.root();
    // Who shows none is refused, after it has seen the CA's certificate and found it good.
    let refused = wait_for("a handshake by the CA's certificate", SOON, || {
        let output = curl(tls, &root);
        (output.status.code() != Some(UNTRUSTED)).then_some(output)
    });
    assert!(!refused.status.success(), "{refused:?}");
    assert!(
        !process.stderr().contains("no certificate for"),
        "{process}"
    );
}
