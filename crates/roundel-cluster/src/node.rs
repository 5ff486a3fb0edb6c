//! Dials and accepts: the one task of the cluster.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cluster::{Cluster, Inner};
use crate::limits::{DIALS, HANDSHAKE, HANDSHAKES, HANDSHAKES_OF_ONE, LINKS, PACE, RETRY};
use crate::link::{LinkError, greet, run};

/// How often it is looked who is missing, and who has died.
const LOOK: Duration = Duration::from_millis(250);

/// Changes that come together are looked at together.
const BURST: Duration = Duration::from_millis(10);

/// How trying to reach somebody has gone.
#[derive(Debug)]
struct Try {
    address: SocketAddr,
    under_way: bool,
    at: Instant,
    wait: Duration,
    trouble: String,
}

/// What a task that dialed has come to: whom, and why there is no stream any more. An empty reason: there
/// was one.
type Dialed = (String, String);

impl Cluster {
    /// Shares with the balancers that [`Cluster::set_neighbours`] names, and with whoever of them comes to
    /// the listener, until it is dropped.
    pub async fn run(self, listener: TcpListener) {
        let inner = self.0;
        tokio::select! {
            () = accept(&inner, listener) => {}
            () = reach(&inner) => {}
        }
    }
}

/// Takes whoever comes, a few at a time.
async fn accept(inner: &Arc<Inner>, listener: TcpListener) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let crowd = Crowd::default();
    let mut held = inner.held.subscribe();
    let mut links = JoinSet::new();
    loop {
        while links.try_join_next().is_some() {}
        if held.wait_for(|held| !held).await.is_err() {
            return;
        }
        let place = handshakes.clone().acquire_owned();
        let (Ok(place), true) = (place.await, links.len() < LINKS + HANDSHAKES) else {
            sleep(LOOK).await;
            continue;
        };
        let until_held = async { drop(held.wait_for(|held| *held).await) };
        tokio::select! {
            () = until_held => {}
            came = listener.accept() => {
                if let Ok((stream, address)) = came {
                    let Some(seat) = crowd.seat(address.ip()) else {
                        inner.refuse(address, &"too many handshakes of this address are under way");
                        continue;
                    };
                    let inner = inner.clone();
                    links.spawn(async move { serve(&inner, stream, address, (place, seat)).await });
                }
                // Also after an error: descriptors may be short.
                sleep(PACE).await;
            }
        }
    }
}

/// Handshakes of others that are under way, by address.
#[derive(Debug, Clone, Default)]
struct Crowd(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One of them, until it is dropped.
struct Seat(Crowd, IpAddr);

impl Crowd {
    /// Nothing if there are enough from that address.
    fn seat(&self, ip: IpAddr) -> Option<Seat> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(ip).or_default();
        if *taken >= HANDSHAKES_OF_ONE {
            return None;
        }
        *taken += 1;
        Some(Seat(self.clone(), ip))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.1) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.1);
            }
        }
    }
}

async fn serve(
    inner: &Inner,
    stream: TcpStream,
    address: SocketAddr,
    place: (OwnedSemaphorePermit, Seat),
) {
    let greeted = async {
        let _ = stream.set_nodelay(true);
        let acceptor = TlsAcceptor::from(inner.identity.server.clone());
        let mut stream = acceptor.accept(stream).await?;
        let ticket = greet(inner, &mut stream, address, None).await?;
        Ok::<_, LinkError>((stream, ticket))
    };
    let greeted = timeout(HANDSHAKE, greeted)
        .await
        .unwrap_or(Err(LinkError::Silent));
    drop(place);
    match greeted {
        Ok((stream, ticket)) => live(inner, stream, address, ticket).await,
        Err(error) => inner.refuse(address, &reason(&error)),
    }
}

/// Tells of a balancer's coming and going, and in between has both share.
async fn live<S: tokio::io::AsyncRead + tokio::io::AsyncWrite>(
    inner: &Inner,
    stream: S,
    address: SocketAddr,
    mut ticket: crate::cluster::Ticket,
) {
    let name = ticket.name.escape_default().to_string();
    tracing::info!("cluster: shares with {name} at {address}");
    // However it ends, also when this is dropped.
    let guard = End {
        inner,
        ticket: &mut ticket,
    };
    let error = run(inner, stream, guard.ticket).await;
    if inner.end(guard.ticket) {
        tracing::info!("cluster: {name} is gone: {}", reason(&error));
    }
}

struct End<'a> {
    inner: &'a Inner,
    ticket: &'a mut crate::cluster::Ticket,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.inner.end(self.ticket);
    }
}

/// Sees to it that a stream stands to everybody that this balancer is to reach.
async fn reach(inner: &Arc<Inner>) {
    let mut tries: BTreeMap<String, Try> = BTreeMap::new();
    let mut dials: JoinSet<Dialed> = JoinSet::new();
    let places = Arc::new(Semaphore::new(DIALS));
    let (mut changes, mut lived) = (inner.changes(), Vec::new());
    loop {
        while let Some(dialed) = dials.try_join_next() {
            if let Ok((name, trouble)) = dialed {
                settle(&mut tries, name, trouble);
            }
        }
        let is_held = *inner.held.borrow();
        if !is_held {
            begin(inner, &mut tries, &mut dials, &places);
        }
        tell_unproven(inner, &tries);
        let lives = lives(inner);
        if lives != lived {
            lived = lives;
            inner.touch();
        }
        changes.mark_unchanged();
        tokio::select! {
            _ = changes.changed() => sleep(BURST).await,
            () = sleep(LOOK) => {}
        }
    }
}

fn lives(inner: &Inner) -> Vec<String> {
    let state = inner.state();
    let live = state.peers.live(std::time::Instant::now());
    live.map(str::to_owned).collect()
}

fn begin(
    inner: &Arc<Inner>,
    tries: &mut BTreeMap<String, Try>,
    dials: &mut JoinSet<Dialed>,
    places: &Arc<Semaphore>,
) {
    let wanted: BTreeMap<_, _> = inner.state().peers.wanted().into_iter().collect();
    tries.retain(|name, one| one.under_way || wanted.contains_key(name));
    let now = Instant::now();
    // Whoever could not be reached before comes after the others.
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    wanted.sort_by_key(|(name, _)| tries.get(name).map(|one| one.wait));
    for (name, address) in wanted {
        let fresh = || Try {
            address,
            under_way: false,
            at: now,
            wait: RETRY.0,
            trouble: String::new(),
        };
        let one = tries.entry(name.clone()).or_insert_with(fresh);
        if one.address != address && !one.under_way {
            *one = fresh();
        }
        if one.under_way || one.at > now {
            continue;
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            return;
        };
        one.under_way = true;
        let inner = inner.clone();
        dials.spawn(async move {
            let trouble = dial(&inner, &name, address, place).await;
            (name, trouble)
        });
    }
}

/// A try has ended: the next one is later, or at once after a stream that stood.
fn settle(tries: &mut BTreeMap<String, Try>, name: String, trouble: String) {
    let Some(one) = tries.get_mut(&name) else {
        return;
    };
    one.under_way = false;
    one.wait = match trouble.is_empty() {
        true => RETRY.0,
        false => (one.wait * 2).min(RETRY.1),
    };
    one.at = Instant::now() + one.wait;
    one.trouble = trouble;
}

/// Reaches somebody and shares with it to the end. Gives what kept it from that.
async fn dial(
    inner: &Inner,
    name: &str,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
) -> String {
    let greeted = async {
        let stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(inner.identity.client.clone());
        let server = ServerName::IpAddress(address.ip().into());
        let mut stream = connector.connect(server, stream).await?;
        let ticket = greet(inner, &mut stream, address, Some(name)).await?;
        Ok::<_, LinkError>((stream, ticket))
    };
    let greeted = timeout(HANDSHAKE, greeted)
        .await
        .unwrap_or(Err(LinkError::Silent));
    drop(place);
    match greeted {
        Ok((stream, ticket)) => {
            live(inner, stream, address, ticket).await;
            String::new()
        }
        Err(error) => reason(&error),
    }
}

/// Tells once of each that says that it shares and does not prove it.
fn tell_unproven(inner: &Inner, tries: &BTreeMap<String, Try>) {
    let unproven = inner.state().peers.unproven(std::time::Instant::now());
    for (name, address) in unproven {
        let why = tries
            .get(&name)
            .map(|one| one.trouble.as_str())
            .filter(|why| !why.is_empty());
        let why = why.unwrap_or("it has not come");
        inner.complain(&format!(
            "{name} says in the gossip that it shares certificates at {address}, and has not proven that it \
             holds the cluster's key: {why}"
        ));
    }
}

/// In words that say what to do.
fn reason(error: &LinkError) -> String {
    match error {
        LinkError::Io(error)
            if error
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>()) =>
        {
            format!(
                "one of the two has another key, and key_file of [cluster] is to be the same at both ({error})"
            )
        }
        LinkError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it has closed the stream".into()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_a_few_places_and_gives_them_back() {
        let (crowd, one, other) = (
            Crowd::default(),
            [127, 0, 0, 1].into(),
            [127, 0, 0, 2].into(),
        );
        let mut seats: Vec<_> = (0..HANDSHAKES_OF_ONE).map(|_| crowd.seat(one)).collect();
        assert!(seats.iter().all(Option::is_some) && crowd.seat(one).is_none());
        assert!(crowd.seat(other).is_some());
        seats.pop();
        assert!(crowd.seat(one).is_some());
    }
}
