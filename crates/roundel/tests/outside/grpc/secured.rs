//! Calls and checks over TLS on both sides.

use std::fs;

use roundel_testkit::{Signal, free_address, wait_for};

use super::{calls_over, server_with, wait_counted};
use crate::balancer::{Balancer, SOON};
use crate::multiplexed::folder;
use crate::turns::beside_others;

#[test]
fn calls_and_checks_go_over_tls() {
    let _turn = beside_others();
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let Some(server) = server_with(&["well", &at("nodes.pem"), &at("nodes.key")]) else {
        return;
    };
    let [front, stats] = [(); 2].map(|()| free_address());
    let write = |name: &str| {
        let text = format!(
            "[global]\nthreads = 2\n[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [{{ address = \"{front}\", tls = true }}]\n\
             tls = {{ certificates = [\"both.pem\"] }}\ndefault_backend = \"calls\"\n\
             [[backend]]\nname = \"calls\"\nsticky = \"off\"\nproto = \"h2\"\n\
             check = {{ grpc = true, every = \"200ms\" }}\n\
             tls = {{ server_name = \"{name}\", ca_file = \"ca.pem\" }}\n\
             server = [{{ name = \"s\", address = \"{}\" }}]\n",
            server.address
        );
        fs::write(folder.path().join("grpc.toml"), text).unwrap();
    };
    write("nodes.internal");
    let balancer = Balancer::with_file(&at("grpc.toml"), [front, stats]);
    balancer.wait_up(1, SOON);
    assert_eq!(super::health::checked(&balancer, "L7OK").1, "");
    let all = [
        "echo",
        "large,1000000",
        "upload",
        "download",
        "both",
        "many,50",
    ];
    let told = calls_over(&balancer, Some(&at("ca.pem")), &all).unwrap();
    let names = all.map(|call| call.split(',').next().unwrap());
    assert_eq!(told, names.map(|name| format!("{name} OK ")));
    wait_counted(&balancer, "0", 55);
    // A server that cannot show who it is serves nobody, and its check says why.
    write("others.internal");
    balancer.process.signal(Signal::HUP);
    let words = wait_for("a server that is down for its check", SOON, || {
        let (state, words) = super::health::checked(&balancer, "L6RSP");
        (state != "up").then_some(words)
    });
    assert!(words.contains("certificate"), "{words}");
}
