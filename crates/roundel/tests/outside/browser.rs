//! The page in a real Chromium.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use roundel_testkit::{Load, Origin, Reply, Reuse, external, free_port, poll};
use serde_json::Value;

use crate::balancer::{Balancer, SOON};
use crate::driver::Browser;
use crate::turns::alone;

/// How soon a change must be on the page: the collector's second and half a second for the way.
const FRESH: Duration = Duration::from_millis(1_500);

/// What a browser needs, or a loud line that the test is skipped.
fn chromedriver() -> Option<PathBuf> {
    external("chromium", "chromium")?;
    external("chromedriver", "chromium-driver")
}

fn page(balancer: &Balancer) -> String {
    format!("http://{}/", balancer.stats)
}

/// The text of the rows in the backend's table.
fn rows(browser: &Browser) -> Vec<String> {
    let script = "const ours = table => table.caption?.innerText.includes('nodes'); \
                  const tables = [...document.querySelectorAll('table')].filter(ours); \
                  return tables.flatMap(t => [...t.tBodies]).flatMap(b => [...b.rows]) \
                  .map(row => row.innerText)";
    let rows = browser.script(script);
    let rows = rows.as_array().cloned().unwrap_or_default();
    let text = |row: &Value| row.as_str().unwrap_or_default().to_string();
    rows.iter()
        .map(text)
        .filter(|row| row.contains("webapp-"))
        .collect()
}

#[test]
fn the_page_shows_three_servers_and_moves_without_reload() {
    let Some(chromedriver) = chromedriver() else {
        return;
    };
    let _turn = alone();
    let demo = Balancer::demo(3, &["--access-log", "off"]);
    let browser = Browser::start(&chromedriver, (1280, 1180), true);
    browser.open(&page(&demo));
    assert_eq!(rows(&browser).len(), 3, "{:?}", rows(&browser));
    browser.script("window.sameDocument = true");
    let fits = "const members = document.querySelector('[aria-label=Members]'); \
                return members.scrollWidth <= members.clientWidth";
    assert_eq!(
        browser.script(fits),
        true,
        "the members' table scrolls sideways"
    );

    let before = rows(&browser);
    let load = Load::start(demo.front, 4, Reuse::KeepAlive);
    load.wait_more(200, SOON);
    let moved = poll(FRESH * 2, || (rows(&browser) != before).then_some(()));
    assert!(moved.is_some(), "the counts stand still: {before:?}");
    keep_picture(&browser, &load);
    load.stop().assert_clean();

    for (direction, first) in [("ascending", "webapp-1"), ("descending", "webapp-3")] {
        let click = "[...document.querySelectorAll('table.servers thead a')] \
                     .find(a => a.innerText.trim() === 'Server').click()";
        browser.script(click);
        let sorted = poll(SOON, || {
            let rows = rows(&browser);
            let head = "return document.querySelector('th[aria-sort]')?.ariaSort";
            (rows[0].contains(first) && browser.script(head) == direction).then_some(())
        });
        assert!(sorted.is_some(), "{first} first: {:?}", rows(&browser));
    }

    assert_eq!(browser.script("return window.sameDocument === true"), true);
    assert_eq!(
        browser.script("return document.querySelectorAll('h1').length"),
        1
    );
    let captions = "return document.querySelectorAll('table > caption').length";
    assert!(browser.script(captions).as_u64() >= Some(1));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn certificates_and_handshakes_are_shown_and_move() {
    let (Some(chromedriver), Some(curl)) = (chromedriver(), external("curl", "curl")) else {
        return;
    };
    let _turn = alone();
    let demo = Balancer::demo(1, &["--tls", "--access-log", "off"]);
    let browser = Browser::start(&chromedriver, (1280, 1180), true);
    browser.open(&page(&demo));
    browser.script("window.sameDocument = true");
    let cells = |table: usize| {
        let script = format!(
            "const table = document.querySelectorAll('#certificates table')[{table}]; \
             return [...table.tBodies[0].rows[0].cells].map(cell => cell.innerText).join('|')"
        );
        let text = browser.script(&script);
        text.as_str().unwrap_or_default().to_owned()
    };
    let certificate = cells(0);
    assert!(certificate.contains("localhost"), "{certificate}");
    for version in ["1.3", "1.2", "1.3"] {
        let mut command = Command::new(&curl);
        command.args(["-sSk", "--tls-max", version, "-o", "/dev/null"]);
        let url = format!("https://{}/", demo.front);
        assert!(command.arg(url).status().unwrap().success());
    }
    assert_eq!(demo.get("/").status, 400, "in clear");
    let counted = poll(SOON, || {
        cells(1).ends_with("|2|1|1|1 not tls").then_some(())
    });
    assert!(counted.is_some(), "{}", cells(1));
    let fits = "return [...document.querySelectorAll('#certificates .scroll')] \
                .every(one => one.scrollWidth <= one.clientWidth)";
    assert_eq!(browser.script(fits), true, "a table scrolls sideways");
    assert_eq!(browser.script("return window.sameDocument === true"), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn without_scripts_the_page_has_all_rows() {
    let Some(chromedriver) = chromedriver() else {
        return;
    };
    let _turn = alone();
    let demo = Balancer::demo(3, &["--access-log", "off"]);
    let browser = Browser::start(&chromedriver, (1280, 900), false);
    browser.open(&page(&demo));
    assert_eq!(rows(&browser).len(), 3);
    let plots = "return document.querySelectorAll('svg').length";
    assert!(
        browser.script(plots).as_u64() >= Some(5),
        "plots are drawn by the server"
    );
    // The page offers to reload itself; with scripts on this is no element at all.
    let offer = "return document.querySelector('noscript a').getAttribute('href')";
    let offer = browser.script(offer);
    let offer = offer.as_str().expect("an offer to reload");
    browser.open(&format!(
        "http://{}/{}",
        demo.stats,
        offer.trim_start_matches('/')
    ));
    let refresh = "return document.querySelector('meta[http-equiv=refresh]') !== null";
    assert_eq!(browser.script(refresh), true);
    assert_eq!(rows(&browser).len(), 3);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// The state of one server as its row says it.
fn state(browser: &Browser, server: &str) -> String {
    let rows = rows(browser);
    let row = rows.iter().find(|row| row.contains(server));
    row.and_then(|row| row.split_whitespace().next())
        .unwrap_or_default()
        .to_owned()
}

fn wait_state(browser: &Browser, server: &str, wanted: &str) {
    let seen = poll(SOON, || (state(browser, server) == wanted).then_some(()));
    assert!(seen.is_some(), "{server} not {wanted}: {:?}", rows(browser));
}

/// Presses a button of `webapp-2` and answers its question, if it asks one.
fn press(browser: &Browser, word: &str, answer: Option<bool>) {
    browser.click(&format!("button[aria-label='{word} webapp-2']"));
    if let Some(yes) = answer {
        let question = browser.answer_dialog(yes);
        assert!(question.contains("webapp-2"), "{question}");
    }
}

/// Goes through every button of a server's row as a hand does.
fn play_buttons(browser: &Browser, url: &str) {
    browser.open(url);
    press(browser, "Drain", Some(false));
    wait_state(browser, "webapp-2", "UP");
    press(browser, "Drain", Some(true));
    wait_state(browser, "webapp-2", "DRAINING");
    press(browser, "Maint", Some(true));
    wait_state(browser, "webapp-2", "MAINT");
    press(browser, "Ready", None);
    wait_state(browser, "webapp-2", "UP");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn buttons_do_what_they_say() {
    let Some(chromedriver) = chromedriver() else {
        return;
    };
    let _turn = alone();
    let near = Ipv4Addr::LOCALHOST;
    let ports = || [(); 3].map(|()| SocketAddr::from((near, free_port(near))));
    let flags = ["--servers", "3", "--access-log", "off"];
    let demo = Balancer::start_at(&["demo"], &flags, ports()).ready();
    demo.wait_up(3, SOON);
    let browser = Browser::start(&chromedriver, (1280, 900), true);
    play_buttons(&browser, &page(&demo));
    play_buttons(
        &browser,
        &format!("http://localhost:{}/", demo.stats.port()),
    );

    let app = Origin::named("app");
    let [front, stats, _] = ports();
    let file = format!(
        "[stats]\nlisten = \"{stats}\"\nadmin = \"loopback\"\n\
         [[frontend]]\nname = \"web\"\nlisten = [\"{front}\"]\n\
         [[backend]]\nname = \"nodes\"\ncheck = \"tcp\"\n\
         [[backend.server]]\nname = \"webapp-1\"\naddress = \"{0}\"\n\
         [[backend.server]]\nname = \"webapp-2\"\naddress = \"{0}\"\n",
        app.address()
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    fs::write(&path, file).unwrap();
    let serve = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    serve.wait_up(2, SOON);
    play_buttons(&browser, &format!("http://localhost:{}/", stats.port()));
    play_buttons(&browser, &page(&serve));
    refuse_another_site(&browser, &serve);
}

/// A page of another port is another origin: its form changes nothing.
fn refuse_another_site(browser: &Browser, balancer: &Balancer) {
    let form = format!(
        "<form method=post action='http://{}/'><input name=b value=nodes><input name=do \
         value='maint webapp-2'><button id=go>go</button></form>",
        balancer.stats
    );
    let site = Origin::start(move |_| Reply {
        headers: vec![("Content-Type".into(), "text/html".into())],
        ..Reply::text(form.clone())
    });
    browser.open(&format!("http://{}/", site.address()));
    browser.click("#go");
    let said = poll(SOON, || {
        let text = browser.script("return document.body.innerText");
        text.as_str()?.contains("another site's page").then_some(())
    });
    assert!(said.is_some(), "the form was not refused");
    assert!(balancer.states().iter().all(|(_, state)| state == "up"));
}

/// Keeps the picture beside the build, and as the README's where `ROUNDEL_PICTURE` names a file;
/// that one is taken after a minute, so that the plots have something to show.
fn keep_picture(browser: &Browser, load: &Load) {
    let beside_build = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png");
    let wanted = std::env::var_os("ROUNDEL_PICTURE").map(PathBuf::from);
    if wanted.is_some() {
        let minute = Instant::now() + Duration::from_secs(60);
        while Instant::now() < minute {
            load.wait_more(100, SOON);
        }
    }
    let picture = browser.picture();
    assert!(picture.starts_with(b"\x89PNG"), "not a picture");
    for path in [Some(beside_build), wanted].into_iter().flatten() {
        fs::write(&path, &picture).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
