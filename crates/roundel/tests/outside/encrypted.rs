//! Servers that are spoken to over TLS: nginx, which is told who asks and asks for a certificate.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use roundel_testkit::{Process, external, free_address, free_port, get, loopback, wait_for};
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON};

/// A folder with an authority and what it has signed for nginx and for the balancer.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    // OpenSSL takes one whose subject and issuer are alike for self-signed.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(params, key).unwrap();
    fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    for name in ["nodes.internal", "balancer"] {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &authority).unwrap();
        let at = |ending: &str| folder.path().join(format!("{name}.{ending}"));
        fs::write(at("pem"), leaf.pem()).unwrap();
        fs::write(at("key"), key.serialize_pem()).unwrap();
    }
    folder
}

/// nginx that wants a certificate and a PROXY header, and answers with what it knows of who asks.
fn nginx(folder: &TempDir, server: SocketAddr) -> Option<Process> {
    let nginx = external("nginx", "nginx-light")?;
    let at = folder.path().display();
    let text = format!(
        "daemon off;\npid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         server {{ listen {server} ssl proxy_protocol; ssl_certificate {at}/nodes.internal.pem;\n\
         ssl_certificate_key {at}/nodes.internal.key; ssl_client_certificate {at}/ca.pem;\n\
         ssl_verify_client on; ssl_protocols TLSv1.2 TLSv1.3; location / {{ return 200\n\
         \"$ssl_server_name $ssl_client_verify $ssl_protocol $proxy_protocol_addr $connection_requests\"; }} }} }}\n"
    );
    let path = folder.path().join("nginx.conf");
    fs::write(&path, text).unwrap();
    let mut command = Command::new(nginx);
    command.args(["-e", "stderr", "-c"]).arg(&path);
    Some(Process::spawn(&mut command))
}

/// A balancer before it, with these keys of `tls`.
fn balancer(folder: &TempDir, server: SocketAddr, tls: &str) -> Balancer {
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\nsend_proxy = \"v2\"\n\
         server = [{{ name = \"s1\", address = \"{server}\" }}]\n\
         tls = {{ certificate = \"balancer.pem\", key = \"balancer.key\", {tls} }}\n"
    );
    let path = folder.path().join("roundel.toml");
    fs::write(&path, text).unwrap();
    Balancer::with_file(path.to_str().unwrap(), [front, stats])
}

#[test]
fn nginx_is_asked_over_tls_and_told_who_asks() {
    let folder = folder();
    let server = free_address();
    let Some(nginx) = nginx(&folder, server) else {
        return;
    };
    let tls = "server_name = \"nodes.internal\", ca_file = \"ca.pem\"";
    let balancer = balancer(&folder, server, tls);
    balancer.wait_up(1, SOON);
    let answer = get(balancer.front, "/").unwrap();
    let text = answer.text();
    assert!(
        text.starts_with("nodes.internal SUCCESS TLSv1.3 127.0.0."),
        "{text} {nginx}"
    );
    let check = &balancer.snapshot()["backends"][0]["servers"][0];
    assert!(check.to_string().contains("L7OK"), "{check}");
    assert!(!nginx.stderr().contains("SSL_do_handshake"), "{nginx}");
}

#[test]
fn a_server_of_another_name_is_down_for_that_reason_unless_nothing_is_verified() {
    let folder = folder();
    let server = free_address();
    let Some(_nginx) = nginx(&folder, server) else {
        return;
    };
    let tls = "server_name = \"others.internal\", ca_file = \"ca.pem\"";
    let doubtful = balancer(&folder, server, tls);
    wait_for("a check that tells why", SOON, || {
        let check = &doubtful.snapshot()["backends"][0]["servers"][0];
        let text = check.to_string();
        (text.contains("L6RSP") && text.contains("certificate")).then_some(())
    });
    assert_eq!(get(doubtful.front, "/").unwrap().status, 503);
    drop(doubtful);
    let trusting = balancer(&folder, server, "verify = false");
    trusting.wait_up(1, SOON);
    assert_eq!(get(trusting.front, "/").unwrap().status, 200);
    let told = trusting.process.wait_line("tls.verify = false", SOON);
    assert!(told.contains("nodes"), "{told}");
}
