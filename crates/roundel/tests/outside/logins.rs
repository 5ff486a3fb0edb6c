//! Logins that belong to a connection, the same through Debian's HAProxy and through Roundel.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use roundel_testkit::{Process, external, free_address, free_port, loopback, wait_for};

use crate::balancer::{Balancer, SOON};

/// Serves on a free port: who logged a connection in is told with each answer on it.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || attend(stream));
        }
    });
    address
}

fn attend(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut asked, mut user) = (false, None::<String>);
    while let Some((_, fields)) = read_head(&mut reader) {
        let credentials = field(&fields, "authorization").unwrap_or_default();
        let mut challenge = "NTLM";
        if credentials == "NTLM one" {
            (asked, challenge) = (true, "NTLM go-on");
        } else if let Some(who) = credentials.strip_prefix("NTLM two-")
            && asked
        {
            user = Some(who.to_owned());
        }
        let answer = match &user {
            Some(who) => format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{who}",
                who.len()
            ),
            None => format!(
                "HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: {challenge}\r\n\
                 Content-Length: 6\r\n\r\nnobody"
            ),
        };
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads a start line and the field lines behind it.
fn read_head(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let first = (!lines.is_empty()).then(|| lines.remove(0))?;
    Some((first, lines))
}

fn field<'l>(lines: &'l [String], name: &str) -> Option<&'l str> {
    lines.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A client connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Asks with these credentials: status, and who the server thinks it is.
    fn ask(&mut self, credentials: &str) -> String {
        let line = match credentials {
            "" => String::new(),
            _ => format!("Authorization: {credentials}\r\n"),
        };
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (first, fields) = read_head(&mut self.0).expect("an answer");
        let length = field(&fields, "content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut self.0, &mut body).unwrap();
        format!("{} {}", &first[9..12], String::from_utf8_lossy(&body))
    }
}

/// What a handful of clients are told who come and go beside each other.
fn play(to: SocketAddr) -> Vec<String> {
    let mut clients: Vec<Client> = (0..4).map(|_| Client::new(to)).collect();
    let mut told = Vec::new();
    for client in &mut clients {
        told.push(client.ask(""));
    }
    for n in 0..2 {
        told.push(clients[n].ask("NTLM one"));
        // Others come between the steps.
        told.push(clients[3].ask(""));
        told.push(Client::new(to).ask(""));
        told.push(clients[n].ask(&format!("NTLM two-user{n}")));
    }
    for _ in 0..3 {
        for client in &mut clients {
            told.push(client.ask(""));
        }
        told.push(Client::new(to).ask("Basic eDp5"));
    }
    // The first leaves; who comes next finds nothing of its login.
    drop(clients.remove(0));
    for _ in 0..8 {
        told.push(Client::new(to).ask(""));
    }
    told.push(clients[0].ask(""));
    told
}

fn roundel(servers: &[SocketAddr; 2]) -> Balancer {
    let ip = loopback();
    let at = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let [front, stats] = at;
    let [one, two] = servers;
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\ncheck = \"off\"\n\
         server = [{{ name = \"s1\", address = \"{one}\" }}, {{ name = \"s2\", address = \"{two}\" }}]\n"
    );
    fs::write(&path, text).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), at);
    balancer.wait_up(2, SOON);
    balancer
}

#[test]
fn nobody_meets_another_ones_login_as_through_haproxy() {
    let servers = [server(), server()];
    let balancer = roundel(&servers);
    let ours = play(balancer.front);
    let is_of = |who: &str| ours.iter().filter(|told| *told == who).count();
    assert_eq!(
        (is_of("200 user0"), is_of("200 user1"), is_of("401 nobody")),
        (4, 5, ours.len() - 9),
        "{ours:?}"
    );
    let Some(program) = external("haproxy", "haproxy") else {
        return;
    };
    let [one, two] = servers;
    for reuse in ["safe", "aggressive", "always"] {
        let front = free_address();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             listen front\n  bind {front}\n  http-reuse {reuse}\n  server s1 {one}\n  server s2 {two}\n"
        );
        fs::write(&path, text).unwrap();
        let process = Process::spawn(Command::new(&program).arg("-db").arg("-f").arg(&path));
        wait_for("HAProxy", SOON, || TcpStream::connect(front).ok());
        assert_eq!(play(front), ours, "{reuse}\n{process}");
    }
}
