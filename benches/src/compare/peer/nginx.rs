//! nginx: one process that serves itself, so that the process started is the one measured.

use std::path::Path;

use anyhow::Result;

use super::{CALLED, NGINX, ORIGINS, Peer, Place, version};

pub(super) fn peer(binary: &Path, place: &Place<'_>) -> Result<Peer> {
    let ([one, two], [three, four]) = (ORIGINS, CALLED);
    let (plain, sticky) = (place.plain(), place.sticky());
    let (tls, h2, grpc) = (place.tls(), place.h2(), place.grpc());
    let certificate = place.certificate().with_key;
    let certificate = certificate.display();
    let dir = place.scratch.display();
    let files = crate::machine::raise_file_limit()?.min(65_536);
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid;
error_log /dev/null crit;
worker_rlimit_nofile {files};
events {{ worker_connections 16384; use epoll; multi_accept on; }}
http {{
  access_log off; sendfile off; tcp_nodelay on; client_body_buffer_size 16k;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  keepalive_requests 100000000; keepalive_timeout 3600s;
  upstream bk {{ server {one}; server {two}; keepalive 128; keepalive_requests 100000000; }}
  upstream calls {{ server {three}; server {four}; keepalive 128; keepalive_requests 100000000; }}
  map $upstream_addr $ck {{
    default \"\"; \"{one}\" \"SERVERID=b1; path=/\"; \"{two}\" \"SERVERID=b2; path=/\";
  }}
  proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
  proxy_buffers 8 16k; proxy_buffer_size 16k; proxy_max_temp_file_size 0;
  server {{ listen {plain} backlog=4096; location / {{ proxy_pass http://bk; }} }}
  ssl_certificate {certificate}; ssl_certificate_key {certificate}; ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_tickets on; ssl_session_cache shared:tls:10m; ssl_session_timeout 8h;
  server {{ listen {tls} ssl http2 backlog=4096; location / {{ proxy_pass http://bk; }} }}
  server {{ listen {h2} http2 backlog=4096; location / {{ proxy_pass http://bk; }} }}
  server {{ listen {grpc} http2 backlog=4096; location / {{ grpc_pass grpc://calls; }} }}
  server {{ listen {sticky} backlog=4096;
    add_header Set-Cookie $ck; add_header Cache-Control private;
    location / {{ proxy_pass http://bk; }} }}
}}
"
    );
    let file = place.write("nginx.conf", &text)?;
    Ok(Peer {
        version: version(binary, &["-v"]),
        tls: Some(tls),
        h2: Some(h2),
        grpc: Some(grpc),
        more: "its sticky cookie is only set, never followed: it has no affinity",
        ..place.peer(NGINX, binary, &["-c", &file.to_string_lossy()])
    })
}
