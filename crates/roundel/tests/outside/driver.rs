//! A small client of the W3C WebDriver protocol over the test kit's own HTTP client.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roundel_testkit::{Connection, Process, wait_for};
use serde_json::{Value, json};

use crate::balancer::SOON;

/// One headless browser with one window.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Process,
    address: std::net::SocketAddr,
    session: String,
}

impl Browser {
    /// Starts the driver and a browser with a window of this size. `scripts` off means a
    /// browser that runs no script of any page.
    pub(crate) fn start(chromedriver: &Path, size: (u32, u32), scripts: bool) -> Self {
        // The driver listens on 127.0.0.1 only, whatever else is free.
        let port = roundel_testkit::free_port([127, 0, 0, 1].into());
        let address = ([127, 0, 0, 1], port).into();
        let driver = Process::spawn(Command::new(chromedriver).arg(format!("--port={port}")));
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
        };
        wait_for("the driver", SOON, || {
            Connection::open(address).ok().map(drop)
        });
        let javascript = if scripts { 1 } else { 2 };
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--ignore-certificate-errors",
                format!("--window-size={},{}", size.0, size.1),
            ],
            "prefs": {"profile.managed_default_content_settings.javascript": javascript},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.command("POST", "/session", &wanted);
        let id = session["sessionId"].as_str().expect("a session has an id");
        browser.session = format!("/session/{id}");
        browser
    }

    /// Loads a page and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.act("POST", "/url", &json!({"url": url}));
    }

    /// Runs a script's body in the page and gives what it returns.
    pub(crate) fn script(&self, body: &str) -> Value {
        self.act(
            "POST",
            "/execute/sync",
            &json!({"script": body, "args": []}),
        )
    }

    /// Clicks the first element that the CSS selector finds, as a hand does. Waits for it, and
    /// tries again where the page has just drawn it anew.
    pub(crate) fn click(&self, selector: &str) {
        wait_for(selector, SOON, || {
            let by = json!({"using": "css selector", "value": selector});
            let found = self.ask("POST", "/element", &by).ok()?;
            let id = found.as_object()?.values().next()?.as_str()?.to_owned();
            let path = format!("/element/{id}/click");
            self.ask("POST", &path, &json!({})).ok()
        });
    }

    /// Answers the dialog that is open and returns its text.
    pub(crate) fn answer_dialog(&self, yes: bool) -> String {
        let text = wait_for("a dialog", SOON, || {
            self.ask("GET", "/alert/text", &Value::Null).ok()
        });
        let way = if yes {
            "/alert/accept"
        } else {
            "/alert/dismiss"
        };
        self.act("POST", way, &json!({}));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Takes a picture of the window as PNG.
    pub(crate) fn picture(&self) -> Vec<u8> {
        let picture = self.act("GET", "/screenshot", &Value::Null);
        let text = picture.as_str().expect("a picture is base64");
        STANDARD.decode(text).expect("a picture is base64")
    }

    /// What the page said on its console, warnings and errors only.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.act("POST", "/se/log", &json!({"type": "browser"}));
        let severe = |entry: &&Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        let entries = log.as_array().expect("a log is a list");
        entries
            .iter()
            .filter(severe)
            .map(Value::to_string)
            .collect()
    }

    fn act(&self, method: &str, path: &str, body: &Value) -> Value {
        self.command(method, &format!("{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.try_command(method, &format!("{}{path}", self.session), body)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_command(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let headers = [("Content-Type", "application/json"), ("Host", "127.0.0.1")];
        let response = Connection::open(self.address)
            .and_then(|mut c| c.send(method, path, &headers, body.as_bytes()))
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.driver));
        if response.status != 200 {
            return Err(response.text());
        }
        let answer: Value =
            serde_json::from_slice(&response.body).expect("the driver answers JSON");
        Ok(answer["value"].clone())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Ok(mut connection) = Connection::open(self.address) {
            let _ = connection.send("DELETE", &self.session, &[("Host", "127.0.0.1")], b"");
        }
    }
}
