//! The page in a real Chromium.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use roundel_testkit::{Load, Reuse, external, poll};
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
