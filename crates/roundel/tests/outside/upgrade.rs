//! What earlier builds left to a successor is taken by this one. The files of `roundel-program` are
//! what those builds said at SIGUSR2, by the commit that they were built from: a program in the
//! place of the successor wrote down the file that comes with `yours`. The servers and orders were
//! those that the test looks for.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use roundel_testkit::{Process, free_address, get, wait_for};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde_json::Value;

use crate::balancer::{SOON, roundel};
use crate::servers::Toy;
use crate::turns::beside_others;

/// Where the recorded servers listened, `s1` to `s3`; `x1`, added by hand, was `s2` again.
const RECORDED: [&str; 3] = ["127.91.7.1:13001", "127.91.7.1:13002", "127.91.7.1:13003"];

/// The old process, as its successor sees it.
struct Old(OwnedFd);

impl Old {
    /// Starts a successor that listens where its file says.
    fn start(file: &str) -> (Self, Process) {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let mut command = roundel(&["serve", "-c", file]);
        command.env("ROUNDEL_HANDOVER_FROM", std::process::id().to_string());
        let process = Process::spawn_with(&mut command, theirs.into());
        (Self(ours), process)
    }

    fn say(&self, text: &str, left: Option<&OwnedFd>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        let files: Vec<_> = left.into_iter().map(AsFd::as_fd).collect();
        if !files.is_empty() {
            assert!(attached.push(SendAncillaryMessage::ScmRights(&files)));
        }
        let bytes = [IoSlice::new(text.as_bytes())];
        sendmsg(&self.0, &bytes, &mut attached, SendFlags::NOSIGNAL).unwrap();
    }

    fn hears(&self, word: &str, successor: &Process) {
        let mut bytes = [0; 64];
        let heard = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut RecvAncillaryBuffer::default(),
            RecvFlags::empty(),
        );
        let heard = heard.unwrap().bytes;
        assert_eq!(
            String::from_utf8_lossy(&bytes[..heard]),
            word,
            "{successor}"
        );
    }
}

fn in_memory(text: &str) -> io::Result<OwnedFd> {
    let mut file = fs::File::from(memfd_create("left", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    Ok(file.into())
}

fn configuration([front, stats, gossip]: [SocketAddr; 3], servers: &[SocketAddr]) -> String {
    let server = |(i, at): (usize, &SocketAddr)| {
        let weight = if i == 0 { 4 } else { 1 };
        format!(
            "{{ name = \"s{}\", address = \"{at}\", weight = {weight} }}, ",
            i + 1
        )
    };
    let servers: String = servers.iter().enumerate().map(server).collect();
    format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[gossip]\nnode_name = \"lb\"\n\
         listen = \"{gossip}\"\n[[frontend]]\nname = \"f\"\nlisten = \"{front}\"\n\
         default_backend = \"nodes\"\n[[backend]]\nname = \"nodes\"\n\
         discover = [{{ gossip = {{ role = \"backend\" }} }}]\nsticky = {{ cookie = \"SERVERID\" }}\n\
         server = [{servers}]\n"
    )
}

#[test]
fn what_earlier_builds_left_is_taken_over() {
    let _turn = beside_others();
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../roundel-program/tests/handover"
    );
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        println!("{}", file.display());
        take_over(&fs::read_to_string(file).unwrap());
    }
}

fn take_over(recorded: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roundel.toml");
    let toys = ["s1", "s2"].map(Toy::start);
    let servers = [toys[0].address, toys[1].address, free_address()];
    let at = [(); 3].map(|()| free_address());
    fs::write(&file, configuration(at, &servers)).unwrap();
    let mut left = recorded.to_owned();
    for (recorded, now) in RECORDED.iter().zip(servers) {
        left = left.replace(recorded, &now.to_string());
    }
    let memory = in_memory(&left).unwrap();
    let left: Value = serde_json::from_str(&left).unwrap();

    let (old, successor) = Old::start(file.to_str().unwrap());
    old.say("all", None);
    old.hears("bound", &successor);
    old.say("yours nodes=2", Some(&memory));
    old.hears("ready", &successor);
    old.say("rest", Some(&memory));

    let [front, stats, _] = at;
    let snapshot = || -> Option<Value> {
        let page = get(stats, "/api/v1/snapshot").ok()?;
        serde_json::from_str(&page.text()).ok()
    };
    let state = |name: &str, state: &str, weight| (name.to_owned(), state.to_owned(), weight);
    // Fifty per cent of 1 are shown as 1.
    let right = [
        state("s1", "draining", 4),
        state("s2", "up", 1),
        state("s3", "down", 1),
        state("x1", "up", 7),
    ];
    let snapshot = wait_for("the servers", SOON, || {
        let snapshot = snapshot()?;
        (states(&snapshot) == right).then_some(snapshot)
    });
    let told = successor.stderr();
    assert!(!told.contains("cannot be read"), "{told}");
    let backend = &snapshot["backends"][0];
    let of = |name: &str| &left["backends"]["nodes"]["servers"][name];
    for server in backend["servers"].as_array().unwrap() {
        let before = &of(server["name"].as_str().unwrap())["totals"]["requests"];
        assert_eq!(&server["requests_total"], before, "{server}");
    }
    let requests = &left["frontends"]["f"]["requests"];
    assert!(requests.as_u64() >= Some(80));
    assert_eq!(&snapshot["frontends"][0]["requests_total"], requests);
    // Those whose agents have not been heard of yet.
    let kept = backend["kept_orders"].as_array().unwrap().iter();
    let kept: Vec<String> = kept
        .map(|kept| format!("{} {}", kept["server"], kept["orders"]).replace('"', ""))
        .collect();
    assert_eq!(kept, ["g1 maint", "g2 weight 5"]);
    assert_eq!(get(front, "/").unwrap().status, 200);
}

/// Name, state and weight of every server.
fn states(snapshot: &Value) -> Vec<(String, String, u64)> {
    let servers = snapshot["backends"][0]["servers"].as_array().unwrap();
    let word = |server: &Value, key: &str| server[key].as_str().unwrap().to_owned();
    let state = |s: &Value| {
        let weight = s["weight"].as_u64().unwrap();
        (word(s, "name"), word(s, "state"), weight)
    };
    servers.iter().map(state).collect()
}
