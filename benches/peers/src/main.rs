//! A plain balancer on Pingora's published crate: round robin over two servers, upstream
//! connections kept, on the second port a cookie that names the server.
//!
//! Usage: `pingora-balancer PLAIN STICKY SERVER SERVER`, all of them addresses.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora::lb::LoadBalancer;
use pingora::lb::selection::RoundRobin;
use pingora::prelude::{HttpPeer, ProxyHttp, Result, Server, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

/// The Pingora that `Cargo.toml` names.
const VERSION: &str = "pingora-balancer 0.9";

struct Balancer {
    servers: Arc<LoadBalancer<RoundRobin>>,
    sticky: bool,
}

#[async_trait]
impl ProxyHttp for Balancer {
    /// Whether the first server was chosen.
    type CTX = bool;

    fn new_ctx(&self) -> bool {
        false
    }

    async fn upstream_peer(&self, _: &mut Session, first: &mut bool) -> Result<Box<HttpPeer>> {
        let server = self.servers.select(b"", 256);
        let server = server.expect("both servers are always there");
        *first = self
            .servers
            .backends()
            .get_backend()
            .first()
            .is_some_and(|one| one.addr == server.addr);
        Ok(Box::new(HttpPeer::new(server, false, String::new())))
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        answer: &mut ResponseHeader,
        first: &mut bool,
    ) -> Result<()> {
        if self.sticky {
            let cookie = match first {
                true => "SERVERID=b1; path=/",
                false => "SERVERID=b2; path=/",
            };
            answer.append_header("Set-Cookie", cookie)?;
            answer.append_header("Cache-Control", "private")?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--version"] => println!("{VERSION}"),
        [plain, sticky, one, two] => serve(plain, sticky, [one, two]),
        _ => {
            eprintln!("usage: pingora-balancer PLAIN STICKY SERVER SERVER");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn serve(plain: &str, sticky: &str, servers: [&str; 2]) {
    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: 256,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let servers = LoadBalancer::try_from_iter(servers).expect("servers are addresses");
    let servers = Arc::new(servers);
    for (listen, sticky) in [(plain, false), (sticky, true)] {
        let balancer = Balancer {
            servers: Arc::clone(&servers),
            sticky,
        };
        let mut service = http_proxy_service(&server.configuration, balancer);
        service.add_tcp(listen);
        server.add_service(service);
    }
    server.run_forever();
}
