//! The socket, with and without TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use murmuration::event::Event;
use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{ExternalProcessorClient, HttpHeaders, ProcessingRequest, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::*;
use crate::connection::hello;
use crate::environment::{Acceptor, Connection};
use crate::ext_proc::exchange::tests::settings;
use crate::ext_proc::fake::Table;

fn service() -> Service<Table> {
    let table = Table::default();
    let announced = watch::channel(None).1;
    Service::new(table.clone(), (settings(), announced), Arc::new(table), Arc::new(|| Timestamp::ZERO))
}

fn ignored_events() -> EventSink {
    EventSink::new("ext-proc", |_| {})
}

/// Sends a request of headers only and returns the first reply.
async fn asked(channel: Channel) -> Option<Response> {
    let headers = HttpHeaders { end_of_stream: true, ..Default::default() };
    let message = ProcessingRequest { request: Some(Request::RequestHeaders(headers)), ..Default::default() };
    let answer = ExternalProcessorClient::new(channel).process(tokio_stream::iter([message])).await.unwrap();
    answer.into_inner().message().await.unwrap()?.response
}

#[tokio::test]
async fn a_proxy_that_trusts_the_certificate_is_served_in_spite_of_noise_on_the_port() {
    let directory = std::env::temp_dir().join(format!("murmuration-serve-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let tls = ServerTls::from_directory(&directory).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(serve(listener.into(), Some(tls), service(), ignored_events(), std::future::pending()));

    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut noise = tokio::net::TcpStream::connect(address).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();

    let trust = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made.cert.pem())).domain_name("localhost");
    let endpoint = Endpoint::try_from(format!("https://{address}")).unwrap().tls_config(trust).unwrap();
    assert!(matches!(asked(endpoint.connect().await.unwrap()).await, Some(Response::RequestHeaders(_))));
    drop((silent, noise));
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_returns_when_its_streams_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = JoinSet::new();
    server.spawn(serve(listener.into(), None, service(), ignored_events(), async { drop(stopped.await) }));
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect().await.unwrap();
    assert!(asked(channel).await.is_some());
    stop.send(()).unwrap();
    assert!(server.join_next().await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn a_server_name_that_is_no_dns_name_is_reported() {
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let event_sink = EventSink::new("ext-proc", move |event| drop(sender.send(event.clone())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    let tls = ServerTls::self_signed().unwrap();
    server.spawn(serve(listener.into(), Some(tls), service(), event_sink, std::future::pending()));

    let name = "outbound|9002||picker.ns.svc.cluster.local";
    let mut envoy = tokio::net::TcpStream::connect(address).await.unwrap();
    envoy.write_all(&hello(name.as_bytes())).await.unwrap();
    let mut alert = [0; 7];
    envoy.read_exact(&mut alert).await.unwrap();
    assert_eq!((alert[0], alert[6]), (21, 47), "illegal_parameter");
    let refused = Event::ServerNameRefused { port: "ext-proc", name: name.to_owned() };
    assert_eq!(
        events.recv().await.unwrap(),
        refused,
        "if the library accepts it now, the advice in docs/istio.md can go"
    );
    assert_eq!(events.recv().await.unwrap(), Event::ConnectionClosed { port: "ext-proc", why: "server-name" });
}

/// A listener that accepts one connection.
struct One(Option<Connection>);

impl Acceptor for One {
    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        self.0.take().map_or(Poll::Pending, |connection| Poll::Ready(Ok((connection, ([10, 0, 0, 1], 4_000).into()))))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        Ok(([10, 0, 0, 7], 9002).into())
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_request_ends_with_the_first_ping_that_it_can_not_answer() {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let half = [0, 1, 0, 1, 4, 0, 0, 0, 1, 0x83];
    let (mut caller, there) = tokio::io::duplex(1 << 16);
    let mut server = JoinSet::new();
    server.spawn(serve(
        Listener::new(One(Some(Connection::new(there)))),
        None,
        service(),
        ignored_events(),
        std::future::pending(),
    ));
    caller.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &half].concat()).await.unwrap();
    let began = tokio::time::Instant::now();
    // A ping can't be answered in the middle of a frame.
    caller.read_to_end(&mut Vec::new()).await.ok();
    assert!(began.elapsed() <= KEEPALIVE.0 + KEEPALIVE.1 + Duration::from_secs(1), "{:?}", began.elapsed());
}
