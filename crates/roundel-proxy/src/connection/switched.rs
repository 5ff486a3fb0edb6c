//! A connection of HTTP/1 that was switched.

use roundel_http1::RequestHead;

use crate::body::Writer;
use crate::deadline::Deadline;
use crate::downstream::h1::H1Client;
use crate::exchange::Tunnelled;
use crate::peer::Connection;
use crate::scene::Scene;
use crate::story::Story;
use crate::tunnel;
use crate::worker::InFlight;

/// What a switched connection takes over from its exchange.
pub(crate) struct Switched {
    pub(super) tunnelled: Tunnelled,
    pub(super) head: Box<RequestHead>,
    /// Holds the head of the 101, not flushed yet.
    pub(super) writer: Writer,
    pub(super) story: Story,
    pub(super) in_flight: InFlight,
}

/// Moves bytes both ways until the connection ends.
pub(super) async fn run(connection: Connection, deadline: &Deadline, switched: Switched) {
    let Connection {
        peer, mut stream, ..
    } = connection;
    let (rules, worker) = (peer.slot.rules(), &peer.worker);
    let scene = Scene {
        worker,
        rules: &rules,
        peer: &peer,
    };
    let Switched {
        tunnelled,
        head,
        writer,
        mut story,
        in_flight,
    } = switched;
    let mut client = H1Client::switched(&mut stream, head, writer, &worker.blocks);
    tunnel::run(scene, deadline, &mut client, tunnelled, &mut story).await;
    drop(in_flight);
}
