//! Keep-alive, pipelining, HTTP/1.0, idle connections, reuse.

use crate::stage::*;

#[test]
fn a_request_and_its_answer() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(GET);
    let (head, body) = client.read_answer();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "hello");
    assert!(has_field(&head, "date"), "{head}");
    assert!(!has_field(&head, "via"), "{head}");
}
