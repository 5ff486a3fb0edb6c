//! The page behind a door: tokens, passwords, a browser that signs in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use roundel_testkit::{Process, Signal, external, free_port, loopback, poll, request};
use serde_json::Value;

use crate::balancer::{Balancer, SOON, roundel};
use crate::driver::Browser;
use crate::turns::{alone, beside_others};

const TOKEN: &str = "a-token-of-some-length";

/// bcrypt of "correct horse".
const USERS: &str = "ada:$2b$04$x5ooiZc16R7btg9MGFnPLuE4VOMjpkdQsYUy64Z31hZ7NENWAmueK\n";

/// A file that is for its owner alone.
fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A configuration without servers whose `[stats]` says this too.
fn configuration(folder: &Path, stats: &str) -> (PathBuf, [std::net::SocketAddr; 2]) {
    let ip = loopback();
    let at = [(); 2].map(|()| (ip, free_port(ip)).into());
    let [front, page] = at;
    let text = format!(
        "[stats]\nlisten = \"{page}\"\n{stats}\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"f\"\nlisten = \"{front}\"\n[[backend]]\nname = \"b\"\n\
         server = [{{ name = \"s\", address = \"127.0.0.1:1\" }}]\n"
    );
    let path = folder.join("roundel.toml");
    fs::write(&path, text).unwrap();
    (path, at)
}

fn started(folder: &Path, stats: &str) -> Balancer {
    let (path, at) = configuration(folder, stats);
    Balancer::with_file(path.to_str().unwrap(), at)
}

fn output(words: &[&str]) -> Output {
    roundel(words).output().unwrap()
}

#[test]
fn readers_bring_a_token_and_health_needs_none() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let file = secret(folder.path(), "token", TOKEN);
    let file = file.to_str().unwrap();
    let balancer = started(folder.path(), &format!("read_token_file = {file:?}"));
    let bearer = format!("Bearer {TOKEN}");
    let ask = |path: &str, headers: &[(&str, &str)]| {
        request(balancer.stats, "GET", path, headers, b"")
            .unwrap()
            .status
    };
    for path in ["/", "/metrics", "/;csv", "/events", "/api/v1/snapshot"] {
        assert_eq!(ask(path, &[]), 401, "{path}");
    }
    for path in ["/livez", "/readyz", "/ping"] {
        assert_eq!(ask(path, &[]), 200, "{path}");
    }
    assert_eq!(ask("/metrics", &[("Authorization", &bearer)]), 200);

    let url = format!("http://{}", balancer.stats);
    let without = output(&["stat", "--stats", &url]);
    let told = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(
        !without.status.success() && told.contains("--read-token-file"),
        "{told}"
    );
    let with = output(&["stat", "--stats", &url, "--read-token-file", file]);
    assert!(with.status.success(), "{with:?}");
    let health = output(&["healthcheck", &format!("{url}/readyz")]);
    assert!(health.status.success(), "{health:?}");

    // Nothing of it is shown anywhere.
    let print = output(&[
        "check",
        "--print",
        "-c",
        folder.path().join("roundel.toml").to_str().unwrap(),
    ]);
    let page = request(
        balancer.stats,
        "GET",
        "/",
        &[("Authorization", &bearer)],
        b"",
    );
    let shown = [
        String::from_utf8_lossy(&print.stdout).into_owned(),
        page.unwrap().text(),
        balancer.process.to_string(),
    ];
    for text in shown {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn names_and_passwords_work_with_curl() {
    let Some(curl) = external("curl", "curl") else {
        return;
    };
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let file = secret(folder.path(), "users", USERS);
    let more = format!("read = \"basic\"\nusers_file = {file:?}\nopen_metrics = true");
    let balancer = started(folder.path(), &more);
    let status = |words: &[&str], path: &str| {
        let url = format!("http://{}{path}", balancer.stats);
        let mut command = Command::new(&curl);
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]);
        let output = command.args(words).arg(url).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(status(&[], "/;csv"), "401");
    assert_eq!(status(&[], "/metrics"), "200");
    assert_eq!(status(&["-u", "ada:correct horse"], "/;csv"), "200");
    let url = format!("http://{}", balancer.stats);
    let password = secret(folder.path(), "password", "correct horse\n");
    let signed = [
        "--user",
        "ada",
        "--password-file",
        password.to_str().unwrap(),
    ];
    let stat = output(&[&["stat", "--stats", &url], &signed[..]].concat());
    assert!(stat.status.success(), "{stat:?}");
    let shown = format!("http://ada:correct-horse@{}", balancer.stats);
    let refused = output(&["stat", "--stats", &shown]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("--password-file"),
        "{told}"
    );
    assert!(!told.contains("horse"), "{told}");
    assert_eq!(status(&["-u", "ada:wrong"], "/;csv"), "401");
    let bearer = ["-H", "Authorization: Bearer wrong"];
    for _ in 0..9 {
        assert_eq!(status(&bearer, "/;csv"), "401");
    }
    assert_eq!(status(&["-u", "ada:correct horse"], "/;csv"), "429");
    assert_eq!(status(&[], "/livez"), "200");
}

#[test]
fn a_door_that_cannot_be_built_is_told_of() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let users = secret(folder.path(), "users", "ada:secret\n");
    let token = secret(folder.path(), "token", TOKEN);
    for (stats, told) in [
        ("read = \"token\"".to_owned(), "read_token_file = "),
        ("read = \"basic\"".to_owned(), "users_file = "),
        (
            "read = \"all\"".to_owned(),
            "use one of: open, token, basic",
        ),
        (
            format!("users_file = {users:?}"),
            "line 1: neither bcrypt nor argon2",
        ),
        (
            format!("read = \"basic\"\nusers_file = {users:?}\nread_token_file = {token:?}"),
            "only one of",
        ),
        (
            format!("read = \"open\"\nread_token_file = {token:?}"),
            "only one of",
        ),
    ] {
        let (path, _) = configuration(folder.path(), &stats);
        let checked = output(&["check", "-c", path.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(
            !checked.status.success() && text.contains(told),
            "{stats}: {text}"
        );
    }
}

#[test]
fn a_browser_signs_in_sees_the_page_move_and_signs_out() {
    let Some(chromedriver) =
        external("chromium", "chromium").and_then(|_| external("chromedriver", "chromium-driver"))
    else {
        return;
    };
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let file = secret(folder.path(), "users", USERS);
    let balancer = started(folder.path(), &format!("users_file = {file:?}"));
    let browser = Browser::start(&chromedriver, (1280, 900), true);
    browser.open(&format!("http://{}/?theme=dark", balancer.stats));
    let title = || browser.script("return document.title");
    assert_eq!(title(), "Sign in – roundel");
    let fill = "document.querySelector('[name=user]').value = 'ada'; \
                document.querySelector('[name=password]').value = 'correct horse'";
    browser.script(fill);
    browser.click("form.door button");
    let theme = "return document.documentElement.dataset.theme";
    let is_in = poll(SOON, || (browser.script(theme) == "dark").then_some(()));
    assert!(is_in.is_some(), "{}", title());
    // The stream comes with the cookie: the page is live.
    let live = "return document.querySelector('.clock.live') !== null";
    let is_live = poll(SOON, || (browser.script(live) == true).then_some(()));
    assert!(is_live.is_some(), "the page stands still");
    let complaints = browser.complaints();
    let unexpected = complaints
        .iter()
        .filter(|c| !c.contains("401 (Unauthorized)"));
    assert_eq!(unexpected.count(), 0, "{complaints:?}");

    browser.click("footer form button");
    let is_out = poll(SOON, || (title() == "Sign in – roundel").then_some(()));
    assert!(is_out.is_some(), "{}", title());
    let read = "return document.cookie";
    assert_eq!(
        browser.script(read),
        Value::from(""),
        "scripts see no cookie"
    );
}

/// Writes a certificate for this name and its key; gives who signs it.
fn certificate(folder: &Path, name: &str) -> PathBuf {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let pem = made.cert.pem();
    secret(
        folder,
        "page.pem",
        &(pem.clone() + &made.signing_key.serialize_pem()),
    );
    secret(folder, "ca.pem", &pem)
}

#[test]
fn the_page_over_https_shows_another_certificate_after_a_reload() {
    let Some(curl) = external("curl", "curl") else {
        return;
    };
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let token = secret(folder.path(), "token", TOKEN);
    let more = |tls: &str| format!("read_token_file = {token:?}\ntls = {{ {tls} }}");
    let (path, _) = configuration(
        folder.path(),
        &more("certificates = [\"page.pem\"], alpn = [\"h2\"]"),
    );
    let file = path.to_str().unwrap();
    let ca = certificate(folder.path(), "one.example.org");
    let checked = output(&["check", "-c", file]);
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(told.contains("speaks HTTP/1.1 only"), "{told}");

    let (path, [_, page]) = configuration(folder.path(), &more("certificates = [\"page.pem\"]"));
    let process = Process::spawn(&mut roundel(&["serve", "-c", path.to_str().unwrap()]));
    let told = process.wait_line("the page is at https://", SOON);
    assert!(told.contains(&page.to_string()), "{told}");
    let fetch = |host: &str, words: &[&str]| {
        let mut command = Command::new(&curl);
        command.args(["-s", "-i", "--cacert", ca.to_str().unwrap()]);
        command.args([
            "--resolve",
            &format!("{host}:{}:{}", page.port(), page.ip()),
        ]);
        let url = format!("https://{host}:{}/login", page.port());
        let output = command.args(words).arg(url).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let form = format!("token={TOKEN}");
    let answer = fetch("one.example.org", &["-d", &form]);
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    assert!(answer.contains("SameSite=Strict; Secure\r\n"), "{answer}");
    assert_eq!(fetch("two.example.org", &["-d", &form]), "", "not believed");

    let url = format!("https://{page}");
    let words = ["--read-token-file", token.to_str().unwrap()];
    let stat = output(&[&["stat", "--stats", &url], &words[..]].concat());
    assert!(stat.status.success(), "{stat:?}");
    let health = output(&["healthcheck", &format!("{url}/readyz")]);
    assert!(health.status.success(), "{health:?}");
    let in_clear = format!("http://{page}");
    let stat = output(&[&["stat", "--stats", &in_clear], &words[..]].concat());
    let told = String::from_utf8_lossy(&stat.stderr).into_owned();
    let cure = format!("use {url}/ instead");
    assert!(!stat.status.success() && told.contains(&cure), "{told}");

    certificate(folder.path(), "two.example.org");
    process.signal(Signal::HUP);
    let shown = poll(SOON, || {
        fetch("two.example.org", &["-d", &form])
            .starts_with("HTTP/1.1 303")
            .then_some(())
    });
    assert!(shown.is_some(), "{process}");
}
