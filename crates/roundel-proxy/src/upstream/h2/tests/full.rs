//! More requests than there are places on all connections that a worker makes to a server.

use super::*;

/// As `connect::dial` has it.
const CONNECTIONS: usize = 256;

#[test]
fn each_place_that_is_free_again_is_the_next_ones() {
    run(async {
        let mut far = Far::new(|builder| {
            builder.max_concurrent_streams(1);
        })
        .await;
        let stand = far.stand();
        let mut clients = Vec::new();
        for n in 0..CONNECTIONS + 5 {
            let mut client = client(&stand).await;
            ask(&mut client, &format!("GET /{n}")).await;
            clients.push(client);
        }
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(far.asked.recv().await.unwrap());
        }
        let waits = |n: &usize| !held.iter().any(|asked| *asked.path() == format!("/{n}"));
        let waiting: Vec<usize> = (0..CONNECTIONS + 5).filter(waits).collect();
        assert_eq!(waiting.len(), 5);
        let mut came = Vec::new();
        for _ in &waiting {
            let mut one = held.swap_remove(7);
            one.answer("done");
            let next = far.asked.recv().await.unwrap();
            assert_eq!(next.connection, one.connection);
            came.push(next);
        }
        for one in came.iter_mut().chain(&mut held) {
            one.answer("done");
        }
        // No further connection was made.
        let numbers = came.iter().chain(&held).map(|one| one.connection);
        assert!(numbers.max() < Some(CONNECTIONS));
        for n in waiting {
            let got = read_until(&mut clients[n], "0\r\n\r\n").await;
            assert!(got.contains("done"), "{got}");
        }
    });
}
