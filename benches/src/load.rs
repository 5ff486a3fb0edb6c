//! The load generator: closed loop, or open loop at a fixed rate; every answer is checked.
//!
//! In a closed loop each connection sends its next request when it has the answer. In an open
//! loop requests are due at fixed moments whether or not there is a free connection, and each
//! latency counts from the due moment, so that a stall is charged to everyone who waited.

mod client;
mod pace;
mod report;
mod secure;
mod streams;

use std::cell::{Cell, RefCell};
use std::io::{BufRead, Read};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::LocalSet;

use self::client::Client;
use self::pace::Pace;
use self::report::Tally;
pub(crate) use self::report::{Latency, Report};
pub(crate) use self::secure::NAME;
use self::secure::{Secure, SecureOptions};

/// How long after the end an answer may still come.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to send requests.
    address: SocketAddr,
    /// What to ask for.
    path: String,
    /// Bytes that each answer's body must have.
    #[arg(long, default_value_t = 128)]
    expect: u64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests per second in an open loop; a closed loop without it.
    #[arg(long)]
    rate: Option<u64>,
    /// For how long.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// A further header line; may be repeated.
    #[arg(long)]
    header: Vec<String>,
    /// POSTs so many bytes instead of GET.
    #[arg(long)]
    post: Option<usize>,
    /// A connection per request.
    #[arg(long)]
    close: bool,
    /// One request on each connection, then they stay open, idle, until standard input ends.
    #[arg(long)]
    hold: bool,
    /// Each client makes a request first; says `warm`, and begins when a line comes on standard input.
    #[arg(long, conflicts_with_all = ["hold", "rate"])]
    warm: bool,
    #[command(flatten)]
    secure: SecureOptions,
    /// While holding: the answers are not read beyond their beginning.
    #[arg(long, requires = "hold", conflicts_with = "tls")]
    stall: bool,
    /// While holding: over HTTP/2, with so many streams on each connection that ask for what is never answered.
    #[arg(long, requires = "hold", conflicts_with_all = ["tls", "stall"])]
    streams: Option<usize>,
}

/// What every connection does.
struct Plan {
    address: SocketAddr,
    request: Vec<u8>,
    expect: u64,
    close: bool,
    /// `None`: plain connections.
    secure: Option<Secure>,
}

impl Plan {
    fn new(options: &Options) -> Result<Self> {
        let Options { address, path, .. } = options;
        let method = if options.post.is_some() {
            "POST"
        } else {
            "GET"
        };
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
        for header in &options.header {
            text += &format!("{header}\r\n");
        }
        if options.close {
            text += "Connection: close\r\n";
        }
        if let Some(length) = options.post {
            text += &format!("Content-Length: {length}\r\n");
        }
        let mut request = (text + "\r\n").into_bytes();
        request.resize(request.len() + options.post.unwrap_or(0), b'x');
        Ok(Self {
            address: options.address,
            request,
            expect: options.expect,
            close: options.close,
            secure: Secure::new(&options.secure)?,
        })
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    crate::machine::raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    let plan = Rc::new(Plan::new(options)?);
    match options.hold {
        true if options.streams.is_some() => local.block_on(&runtime, streams::hold(options)),
        true => local.block_on(&runtime, hold(&plan, options)),
        false => {
            let report = local.block_on(&runtime, load(plan, options))?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }
    }
}

async fn load(plan: Rc<Plan>, options: &Options) -> Result<Report> {
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let busy = Rc::new(Cell::new(0u64));
    let time = Duration::from_millis(options.millis);
    let mut clients: Vec<_> = (0..options.connections)
        .map(|_| Client::new(&plan))
        .collect();
    if options.warm {
        warm(&mut clients, &plan).await?;
        println!("warm");
        tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()))
            .await??;
    }
    let begun = Instant::now();
    let pace = options
        .rate
        .map(|rate| Pace::start(rate, time))
        .transpose()?;
    let workers: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let worker = Worker {
                plan: Rc::clone(&plan),
                tally: Rc::clone(&tally),
                busy: Rc::clone(&busy),
                end: begun + time,
            };
            tokio::task::spawn_local(worker.work(client, pace.clone()))
        })
        .collect();
    let all = async {
        for worker in workers {
            let _ = worker.await;
        }
    };
    let in_time = tokio::time::timeout(time + PATIENCE, all).await.is_ok();
    let seconds = begun.elapsed().as_secs_f64();
    let mut tally = tally.borrow_mut();
    if !in_time {
        tally.missed(busy.get());
    }
    if let Some(pace) = &pace {
        tally.missed(pace.waiting());
    }
    Ok(tally.report(seconds))
}

/// One connection after the other, with requests on it.
struct Worker {
    plan: Rc<Plan>,
    tally: Rc<RefCell<Tally>>,
    /// Requests under way on all connections.
    busy: Rc<Cell<u64>>,
    end: Instant,
}

impl Worker {
    async fn work(self, mut client: Client, pace: Option<Rc<Pace>>) {
        loop {
            let due = match &pace {
                Some(pace) => match pace.next().await {
                    Some(due) => due,
                    None => return,
                },
                None => Instant::now(),
            };
            if pace.is_none() && due >= self.end {
                return;
            }
            self.busy.set(self.busy.get() + 1);
            let outcome = client.exchange(&self.plan).await;
            self.busy.set(self.busy.get() - 1);
            match outcome {
                Ok(()) => self.tally.borrow_mut().completed(due.elapsed()),
                Err(failure) => {
                    self.tally.borrow_mut().failed(failure.as_str());
                    // A peer that refuses everything is not to be flooded.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
}

/// Has each client make a request.
async fn warm(clients: &mut [Client], plan: &Plan) -> Result<()> {
    for client in clients {
        if let Err(failure) = client.exchange(plan).await {
            anyhow::bail!("the first request of a client: {}", failure.as_str());
        }
    }
    Ok(())
}

/// Opens connections in order and keeps them; says `holding` when each has had its answer, or
/// the beginning of it.
async fn hold(plan: &Plan, options: &Options) -> Result<()> {
    let mut held = Vec::new();
    for number in 0..options.connections {
        let mut client = Client::new(plan);
        let outcome = match options.stall {
            true => client.begin(plan).await,
            false => client.exchange(plan).await,
        };
        if let Err(failure) = outcome {
            anyhow::bail!("connection {number}: {}", failure.as_str());
        }
        client.forget_buffer();
        held.push(client);
    }
    until_told().await
}

/// Says `holding`, and returns when standard input ends.
async fn until_told() -> Result<()> {
    println!("holding");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
