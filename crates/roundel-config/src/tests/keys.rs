//! What must hold for every key, whatever it says.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use roundel_balance::{CheckSpec, OutlierSpec, Policy, RetryBudget};
use roundel_proxy::{ClientTimeouts, Limits, LogFormat, Marks, ServerTimeouts, Sticky};
use serde_json::Value;

use super::validator::faults;
use super::{STATIC, fine, load, shown};
use crate::key::{Described, Table};
use crate::{File, Problems, Source, schema};

fn read(text: &str) -> Result<File, Problems> {
    let source = Source::new("roundel.toml", text.to_owned());
    File::read(&source, &|name| (name == "PORT").then(|| "3001".to_owned()))
}

fn json(text: &str) -> Value {
    let table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    serde_json::to_value(table).unwrap()
}

#[test]
fn defaults_are_those_of_the_parts() {
    let s = fine(STATIC, &[]);
    let (f, b) = (&s.frontends[0], &s.backends[0]);
    assert_eq!(f.timeouts, ClientTimeouts::default());
    assert_eq!(f.limits, Limits::default());
    assert_eq!(f.marks, Marks::default());
    assert_eq!(b.balance, Policy::default());
    assert_eq!(b.timeouts, ServerTimeouts::default());
    assert_eq!(b.outlier, OutlierSpec::default());
    assert_eq!(b.check, CheckSpec::default());
    assert_eq!(b.retry_budget, RetryBudget::default());
    assert_eq!(b.sticky, Some(Sticky::new("SERVERID")));
    assert_eq!(s.process.access_log, Some(LogFormat::default()));
}

#[test]
fn every_key_has_a_value_to_show_and_a_default_that_reads() {
    fn all(path: &str, keys: &[Described]) {
        for key in keys {
            let about = &key.about;
            let path = format!("{path}.{}", about.name);
            let has_value = about.default.or(about.example).is_some();
            assert!(has_value || !key.shape.keys.is_empty(), "{path}");
            all(&path, &key.shape.keys);
        }
    }
    let keys = File::described();
    all("", &keys);
    assert!(keys.len() >= 8, "{} tables", keys.len());
    // A wrong default would be left out, and be missed when settings are made of it.
    let mut file = read(&crate::reference()).unwrap();
    file.fill();
    let s = fine(&crate::reference(), &[]);
    assert!(fine(&s.to_string(), &[]).frontends == s.frontends);
}

/// A file of some of the keys, each with a value that its description has.
fn some_file(keys: &[Described], rng: &mut Rng) -> String {
    let pairs = some_keys(keys, rng);
    pairs.map(|pair| pair + "\n").collect()
}

fn some_keys<'a>(keys: &'a [Described], rng: &'a mut Rng) -> impl Iterator<Item = String> + 'a {
    keys.iter().filter_map(move |key| {
        let about = &key.about;
        let counts = about.is_required || rng.u8(..) < 100;
        counts.then(|| format!("{} = {}", about.name, some_value(key, rng)))
    })
}

fn some_value(key: &Described, rng: &mut Rng) -> String {
    let about = &key.about;
    let mut values: Vec<&str> = about.default.into_iter().chain(about.example).collect();
    // A table alone counts as a list of one.
    if !key.shape.keys.is_empty() && (values.is_empty() || rng.bool()) {
        let pairs: Vec<String> = some_keys(&key.shape.keys, rng).collect();
        return format!("{{ {} }}", pairs.join(", "));
    }
    let other = other_value(&key.shape.schema, rng);
    values.extend(other.as_deref());
    rng.choice(values).expect("every key has one").to_owned()
}

/// A value that most likely is not the default.
fn other_value(schema: &Value, rng: &mut Rng) -> Option<String> {
    let (kind, pattern) = (schema["type"].to_string(), schema["pattern"].to_string());
    let word = schema["anyOf"][0]["enum"].as_array();
    Some(match (word, kind.as_str()) {
        (Some(words), _) => rng.choice(words)?.to_string(),
        (_, kind) if kind.contains("integer") => {
            let (least, most) = (schema["minimum"].as_u64()?, schema["maximum"].as_u64()?);
            rng.u64(least..=most).to_string()
        }
        (_, kind) if kind.contains("number") => format!("0.{:02}", rng.u8(0..100)),
        (_, kind) if kind.contains("boolean") => {
            let other = ["true", "false", "\"${NONE:-true}\""];
            rng.choice(other)?.to_owned()
        }
        _ if pattern.contains("us|ms") => format!("\"{}ms\"", rng.u32(1000..9000)),
        _ if pattern.contains("KiB") => format!("\"{}KiB\"", rng.u8(1..)),
        _ => return None,
    })
}

#[test]
fn what_is_written_of_a_file_reads_back_and_fits_the_schema() {
    let schema = schema();
    let keys = File::described();
    let mut count = 0;
    for seed in 0..2000 {
        let text = some_file(&keys, &mut Rng::with_seed(seed));
        let Ok(mut file) = read(&text) else {
            continue;
        };
        count += 1;
        assert_eq!(
            faults(&schema, &json(&text)),
            [""; 0],
            "seed {seed}\n{text}"
        );
        let written = file.to_string();
        let mut again = read(&written).unwrap_or_else(|p| panic!("seed {seed}\n{p}\n{written}"));
        assert_eq!(again.to_string(), written, "seed {seed}\n{text}");
        assert_eq!(
            faults(&schema, &json(&written)),
            [""; 0],
            "seed {seed}\n{written}"
        );
        file.fill();
        again.fill();
        assert_eq!(file, again, "seed {seed}\n{text}\n{written}");
    }
    println!("{count} files are right");
    assert!(count > 500, "only {count} files are right");
}

#[test]
fn only_what_differs_from_the_defaults_is_written() {
    let check = |text: &str, expected: &str| {
        let file = read(text).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(file.to_string(), expected);
    };
    check("", "");
    check("[global]\nthreads = 0\n[stats]\nlisten = \"*:1936\"\n", "");
    check("gossip = {}\n", "[gossip]\n");
    check(
        "defaults = { retries = 3, timeouts = { connect = \"1000ms\" } }\n\
         [[frontend]]\nname = \"f\"\nlisten = { address = \":80\", h2c = true }\n\
         [[backend]]\nname = \"b\"\ncheck = \"HEAD /\"\nretries = 3\nsticky = { cookie = \"SERVERID\" }\n\
         server = { name = \"s\", address = \"10.0.0.1\", weight = 1, backup = true }\n\
         outlier = { consecutive = 5 }\nhash_on = \"source\"\n",
        "[defaults]\ntimeouts.connect = \"1s\"\n\n\
         [[frontend]]\nname = \"f\"\nlisten = [\":80\"]\n\n\
         [[backend]]\nname = \"b\"\n\
         server = [{ name = \"s\", address = \"10.0.0.1\", backup = true }]\n\
         check = { http = \"HEAD /\" }\nretries = 3\n",
    );
    // Secrets belong to a file, but not to what is shown.
    let text = format!("{STATIC}sticky = {{ cookie = \"c\", key = \"hush\" }}\n");
    assert!(read(&text).unwrap().to_string().contains("hush"));
    assert!(!fine(&text, &[]).to_string().contains("hush"));
}

/// What a reload says of a key is what it does with it.
#[test]
fn a_change_that_needs_a_restart_is_told_and_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "MDEyMzQ1Njc4OWFiY2RlZg==\n").unwrap();
    let secret = format!("{secret:?}");
    let cluster = folder.path().join("cluster");
    fs::write(&cluster, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").unwrap();
    let cluster = format!("{cluster:?}");
    let sharing = format!("cluster.key_file = {cluster}\n");
    let users = folder.path().join("users");
    let hash = "$2b$04$x5ooiZc16R7btg9MGFnPLuE4VOMjpkdQsYUy64Z31hZ7NENWAmueK";
    fs::write(&users, format!("ada:{hash}\n")).unwrap();
    let users = format!("{users:?}");
    let page = folder.path().join("page.pem");
    let made = rcgen::generate_simple_self_signed(["lb".to_owned()]).unwrap();
    fs::write(&page, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    let tls = format!("{{ certificates = [{page:?}] }}");
    let by_token = format!("\"token\"\nstats.read_token_file = {secret}");
    let base = format!("gossip.node_name = \"a\"\n{STATIC}");
    let alone = fine(&base, &[]);
    let shares = fine(&format!("{sharing}{base}"), &[]);
    let mut count = 0;
    for table in File::described() {
        let name = table.about.name;
        let is_of_process = !matches!(name, "defaults" | "frontend" | "backend");
        for key in table.shape.keys.iter().filter(|_| is_of_process) {
            let path = format!("{name}.{}", key.about.name);
            let value = match path.as_str() {
                "stats.admin" => "\"loopback\"",
                "stats.listen" | "gossip.listen" => "\"127.0.0.1:1\"",
                "cli.listen" | "access_log.format" => "\"off\"",
                "cluster.key_file" => cluster.as_str(),
                "cluster.listen" => "\"127.0.0.1:2\"",
                "stats.admin_token_file" | "stats.read_token_file" | "gossip.key_file" => {
                    secret.as_str()
                }
                "stats.read" => by_token.as_str(),
                "stats.users_file" => users.as_str(),
                "stats.open_metrics" => "true",
                "stats.tls" => tls.as_str(),
                "stats.memory" => "\"64MiB\"",
                "stats.alarm" => "{ critical = 0.2 }",
                "gossip.join" => "[\"b\"]",
                "gossip.tags" => "{ zone = \"a\" }",
                "global.drain_timeout" => "\"1s\"",
                "global.http2_memory" => "\"32MiB\"",
                "gossip.memory" => "\"64MiB\"",
                "gossip.max_members" => "1000",
                _ => key.about.example.unwrap_or("7"),
            };
            let text = format!("{path} = {value}\n");
            let (text, running) = match path.as_str() {
                "cluster.listen" => (format!("{sharing}{text}"), &shares),
                _ => (text, &alone),
            };
            let base = match path.as_str() {
                "gossip.node_name" => STATIC,
                _ => &base,
            };
            let mut fresh = fine(&format!("{text}{base}"), &[]);
            let told = fresh.needs_restart(running);
            assert_eq!(!told.is_empty(), key.about.needs_restart, "{path}");
            let implied = [
                "cluster.listen",
                "stats.admin",
                "stats.read",
                "stats.read_token_file",
            ];
            let fits = |told: &String| *told == path || implied.contains(&told.as_str());
            assert!(told.iter().all(fits), "{told:?}");
            fresh.keep_running(running);
            let is_kept = fresh.process == running.process
                && fresh.gossip == running.gossip
                && fresh.cluster == running.cluster
                && fresh.stats_tls == running.stats_tls
                && fresh.alarm == running.alarm;
            assert_eq!(is_kept, key.about.needs_restart, "{path}");
            assert_eq!(fresh.needs_restart(running), [""; 0], "{path}");
            count += 1;
        }
    }
    assert!(count >= 16, "only {count} keys");
}

/// Every file that is right in this repository.
fn right_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = [
        "config",
        "crates/roundel-config/fuzz/corpus/config",
        "crates/roundel/tests/upgrade/8b3f11c",
    ];
    let files = folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    });
    files
        .filter(|path| path.extension().is_none_or(|e| e == "toml"))
        .collect()
}

#[test]
fn files_that_are_right_fit_the_schema() {
    let schema = schema();
    let mut count = 0;
    for path in right_files() {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let Ok(settings) = load(Some(&text), &[]) else {
            continue;
        };
        count += 1;
        if !text.trim_start().starts_with('{') {
            assert_eq!(faults(&schema, &json(&text)), [""; 0], "{}", path.display());
        }
        let written = read(&text).map(|file| file.to_string());
        if let Ok(written) = written {
            let again = fine(&written, &[]);
            assert_eq!(again.process, settings.process, "{written}");
            assert_eq!(again.gossip, settings.gossip, "{written}");
            assert_eq!(again.frontends, settings.frontends, "{written}");
            assert_eq!(again.backends, settings.backends, "{written}");
        }
        let printed = settings.to_string();
        assert_eq!(
            faults(&schema, &json(&printed)),
            [""; 0],
            "{}",
            path.display()
        );
    }
    assert!(count >= 10, "only {count} files");
}

#[test]
fn files_that_are_wrong_do_not_fit_the_schema() {
    let schema = schema();
    for (text, part) in [
        ("thread = 1\n", ".thread: an unknown key"),
        ("[global]\nthread = 1\n", ".global.thread: an unknown key"),
        ("[global]\nthreads = 1025\n", ".global.threads: too high"),
        ("[global]\nthreads = 1.5\n", ".global.threads: another type"),
        ("[global]\nthreads = \"2\"\n", ".global.threads: no match"),
        (
            "[global]\ndrain_timeout = \"5\"\n",
            ".global.drain_timeout: no match",
        ),
        (
            "[global]\ndrain_timeout = 5\n",
            ".global.drain_timeout: another type",
        ),
        (
            "[access_log]\nformat = \"jsn\"\n",
            ".access_log.format: fits none",
        ),
        ("[cli]\nlisten = 80\n", ".cli.listen: fits none"),
        (
            "[defaults.limits]\nmax_body = \"1XB\"\n",
            ".defaults.limits.max_body: no match",
        ),
        ("[[frontend]]\nname = \"f\"\n", ".frontend: fits none"),
        (
            "[[backend]]\nname = \"b\"\ncheck = 1\n",
            ".backend: fits none",
        ),
        (
            "[[backend]]\nname = \"b\"\nretry_budget = 2\n",
            ".backend: fits none",
        ),
        (
            "[[backend]]\nname = \"b\"\nerror_pages = { 200 = \"a\" }\n",
            ".backend: fits none",
        ),
    ] {
        let error = load(Some(text), &[]).expect_err(text);
        assert!(!shown(&error).is_empty());
        assert_eq!(faults(&schema, &json(text)), [part], "{text}");
    }
}
