//! A small network of hosts on this machine: a network namespace each, on one bridge, so that
//! every host has an address of its own, can get another one, and can be cut off.
//!
//! Needs root and Debian's `iproute2` and `iptables`.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{external, skip};

/// The network; it goes when this is dropped.
///
/// Shape: the hosts have the addresses 1, 2, … of 10.198.N.0/24, N from the process id; this machine has 254 there and reaches all of them.
#[derive(Debug)]
pub struct Lan {
    prefix: [u8; 3],
    tag: String,
    hosts: Vec<Host>,
}

/// One host: what is started there sees only its own interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    namespace: String,
    /// Its address.
    pub ip: Ipv4Addr,
}

impl Lan {
    /// Makes a network of so many hosts, at most 99; or says loudly that the test is skipped, and
    /// panics under `ROUNDEL_REQUIRE_EXTERNALS=1` like [`external`].
    pub fn new(hosts: u8) -> Option<Self> {
        external("ip", "iproute2")?;
        external("iptables", "iptables")?;
        if !geteuid().is_root() {
            skip("needs root to make network namespaces");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (pid, count) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut lan = Self {
            prefix: [10, 198, ((pid + count * 83) % 250) as u8],
            tag: format!("rdl{}x{count}", pid % 100_000),
            hosts: Vec::new(),
        };
        // What a run that was killed may have left behind.
        lan.remove(hosts);
        match lan.build(hosts) {
            Ok(()) => Some(lan),
            Err(why) => {
                lan.remove(hosts);
                skip(&format!("no network namespaces here: {why}"));
                None
            }
        }
    }

    fn build(&mut self, hosts: u8) -> Result<(), String> {
        let (hub, root) = (self.hub(), self.link("r"));
        let [a, b, c] = self.prefix;
        run(&format!("ip netns add {hub}"))?;
        run(&format!("ip -n {hub} link add bridge type bridge"))?;
        run(&format!("ip -n {hub} link set bridge up"))?;
        run(&format!(
            "ip link add {root} type veth peer name here netns {hub}"
        ))?;
        run(&format!("ip -n {hub} link set here master bridge up"))?;
        run(&format!("ip addr add {a}.{b}.{c}.254/24 dev {root}"))?;
        run(&format!("ip link set {root} up"))?;
        for number in 1..=hosts {
            let host = self.named(number);
            let inside = &host.namespace;
            run(&format!("ip netns add {inside}"))?;
            run(&format!("ip -n {inside} link set lo up"))?;
            let port = format!("port{number}");
            run(&format!(
                "ip -n {inside} link add eth0 type veth peer name {port} netns {hub}"
            ))?;
            run(&format!("ip -n {hub} link set {port} master bridge up"))?;
            run(&format!("ip -n {inside} addr add {}/24 dev eth0", host.ip))?;
            run(&format!("ip -n {inside} link set eth0 up"))?;
            self.hosts.push(host);
        }
        Ok(())
    }

    /// The hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// This machine's own address in the network.
    pub fn here(&self) -> Ipv4Addr {
        let [a, b, c] = self.prefix;
        Ipv4Addr::new(a, b, c, 254)
    }

    /// Gives a host another address, 100 above the one it was made with; connections to the old
    /// one die.
    pub fn move_host(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let [a, b, c, d] = host.ip.octets();
        let fresh = Ipv4Addr::new(a, b, c, d + 100);
        let inside = &host.namespace;
        must(&format!("ip -n {inside} addr del {}/24 dev eth0", host.ip));
        must(&format!("ip -n {inside} addr add {fresh}/24 dev eth0"));
        host.ip = fresh;
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }

    fn link(&self, end: &str) -> String {
        format!("{}{end}", self.tag)
    }

    fn named(&self, number: u8) -> Host {
        let [a, b, c] = self.prefix;
        Host {
            namespace: format!("{}-{number}", self.tag),
            ip: Ipv4Addr::new(a, b, c, number),
        }
    }

    /// Removes all there may be, with what still runs there: a process that another one started,
    /// as in a renewal, is nobody's child.
    fn remove(&self, hosts: u8) {
        let _ = run(&format!("ip link del {}", self.link("r")));
        for number in 1..=hosts {
            let inside = self.named(number).namespace;
            end_all(&inside);
            let _ = run(&format!("ip netns del {inside}"));
        }
        let _ = run(&format!("ip netns del {}", self.hub()));
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.remove(self.hosts.len() as u8);
    }
}

impl Host {
    /// Has a command run on this host; its process id is that of the command itself.
    pub fn on(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.namespace]);
        inside.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        inside
    }

    /// Moves the calling thread to this host, with every thread and process that it starts from
    /// then on.
    ///
    /// Errors: no right to, or the network is gone.
    pub fn enter(&self) -> io::Result<()> {
        let namespace = File::open(format!("/run/netns/{}", self.namespace))?;
        let kind = Some(LinkNameSpaceType::Network);
        Ok(move_into_link_name_space(namespace.as_fd(), kind)?)
    }

    /// Gives the host a second interface, `away`, that holds its default route and leads nowhere,
    /// as `docker_gwbridge` does beside an overlay network. Gives the address there.
    pub fn add_wrong_way(&self) -> Ipv4Addr {
        let inside = &self.namespace;
        let away = Ipv4Addr::new(172, 31, 99, 2);
        must(&format!(
            "ip -n {inside} link add away type veth peer name nowhere"
        ));
        must(&format!("ip -n {inside} addr add {away}/24 dev away"));
        must(&format!("ip -n {inside} link set nowhere up"));
        must(&format!("ip -n {inside} link set away up"));
        must(&format!("ip -n {inside} route add default via 172.31.99.1"));
        away
    }

    /// Gives the host an IPv6 address in the network, which it has at once.
    pub fn add_v6(&self) -> Ipv6Addr {
        let [_, _, c, d] = self.ip.octets();
        let ip = Ipv6Addr::new(0xfd52, 0x4f55, 0, c.into(), 0, 0, 0, d.into());
        let inside = &self.namespace;
        must(&format!("ip -n {inside} addr add {ip}/64 dev eth0 nodad"));
        ip
    }

    /// Drops every packet from and to these hosts; with `port` only those that belong to it at
    /// either end, over UDP and TCP.
    pub fn cut_off(&self, others: &[Host], port: Option<u16>) {
        let ips: Vec<String> = others.iter().map(|host| host.ip.to_string()).collect();
        let ips = ips.join(",");
        let whats = match port {
            None => vec![String::new()],
            Some(port) => ["udp", "tcp"]
                .iter()
                .flat_map(|l4| ["dport", "sport"].map(|end| format!("-p {l4} --{end} {port}")))
                .collect(),
        };
        for what in whats {
            self.filter(&format!("-A INPUT -s {ips} {what} -j DROP"));
            self.filter(&format!("-A OUTPUT -d {ips} {what} -j DROP"));
        }
    }

    /// Drops every UDP packet from and to this port, as a firewall does that knows TCP only.
    pub fn block_udp(&self, port: u16) {
        self.filter(&format!("-A INPUT -p udp --dport {port} -j DROP"));
        self.filter(&format!("-A OUTPUT -p udp --dport {port} -j DROP"));
    }

    /// Drops a share, 0 to 1, of the UDP packets that come in.
    pub fn lose(&self, share: f64) {
        let which = format!("-m statistic --mode random --probability {share}");
        self.filter(&format!("-A INPUT -p udp {which} -j DROP"));
    }

    /// Ends every [`Host::cut_off`], [`Host::block_udp`] and [`Host::lose`] of this host.
    pub fn heal(&self) {
        self.filter("-F");
    }

    fn filter(&self, rule: &str) {
        must(&format!(
            "ip netns exec {} iptables -w {rule}",
            self.namespace
        ));
    }
}

fn must(words: &str) {
    run(words).unwrap_or_else(|why| panic!("{why}"));
}

/// Ends every process of a namespace.
fn end_all(namespace: &str) {
    let found = Command::new("ip")
        .args(["netns", "pids", namespace])
        .output();
    let found = found.map(|output| output.stdout).unwrap_or_default();
    let pids = String::from_utf8_lossy(&found);
    let pids = pids
        .lines()
        .filter_map(|pid| Pid::from_raw(pid.trim().parse().ok()?));
    for pid in pids {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Runs one command whose words hold no spaces.
fn run(words: &str) -> Result<(), String> {
    let mut split = words.split_ascii_whitespace();
    let program = split.next().expect("a program");
    let output = Command::new(program).args(split).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{words}`: {}", why.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use crate::poll;

    #[test]
    fn hosts_reach_each_other_until_they_are_cut_off() {
        let Some(mut lan) = Lan::new(2) else {
            return;
        };
        let reaches = |from: &Host, to: Ipv4Addr| {
            // A port that nobody listens on is refused at once by a host that is reached.
            let script = format!("exec 3<>/dev/tcp/{to}/9");
            let mut bash = Command::new("timeout");
            bash.args(["0.5", "bash", "-c", &script]);
            from.on(&bash).status().is_ok_and(|s| s.code() == Some(1))
        };
        let [a, b] = lan.hosts() else { panic!() };
        let (a, b) = (a.clone(), b.clone());
        let inside = thread::scope(|scope| {
            let bind = scope.spawn(|| {
                a.enter()?;
                TcpListener::bind((a.ip, 0)).map(drop)
            });
            bind.join().expect("no panic")
        });
        inside.expect("a thread can be on a host");
        TcpListener::bind((a.ip, 0)).expect_err("this thread is not on it");
        let soon = Duration::from_secs(30);
        poll(soon, || reaches(&a, b.ip).then_some(())).expect("a reaches b");
        a.cut_off(std::slice::from_ref(&b), None);
        assert!(!reaches(&a, b.ip) && !reaches(&b, a.ip));
        a.heal();
        poll(soon, || reaches(&b, a.ip).then_some(())).expect("b reaches a again");
        lan.move_host(1);
        let moved = lan.hosts()[1].ip;
        assert_ne!(moved, b.ip);
        poll(soon, || reaches(&a, moved).then_some(())).expect("a reaches b where it is now");
    }
}
