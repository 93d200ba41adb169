//! A gateway that sends its cluster's name as `:authority`, as Istio's Envoy does.
//!
//! The frames are written by hand, because no client library sends such a name.

use std::sync::Arc;

use murmuration_actors::replica::Tls;
use murmuration_proto::ext_proc::{ProcessingResponse, Response};
use prost::Message;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use murmuration_kit::ext_proc::expect::get;
use murmuration_kit::{Config, Replica, TIMEOUT};

const AUTHORITY: &[u8] = b"outbound|9002||picker.ns.svc.cluster.local";
const PROCESS: &[u8] = b"/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const CHECK: &[u8] = b"/grpc.health.v1.Health/Check";
const POOL: [&str; 1] = ["127.0.0.1:7"];

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The proxy's end of one connection.
struct Proxy<T> {
    io: T,
    /// The stream of the next request.
    stream: u32,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Proxy<T> {
    async fn connected(mut io: T) -> Self {
        io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut proxy = Self { io, stream: 1 };
        proxy.frame(4, 0, 0, b"").await;
        proxy
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.io.write_all(&frame).await.unwrap();
    }

    /// Sends one message to `path`, and returns the one message of the answer. The first request writes its headers in
    /// full. Later ones refer to the header table that it filled, which must hold the repaired authority.
    async fn ask(&mut self, path: &[u8], message: &[u8]) -> Vec<u8> {
        let string = |text: &[u8]| [&[text.len() as u8], text].concat();
        let block = if self.stream == 1 {
            let fields = [(&[0x44][..], path), (&[0x41], AUTHORITY), (&[0x5f], b"application/grpc")];
            let written: Vec<u8> =
                fields.iter().flat_map(|(name, value)| [name, &string(value)[..]].concat()).collect();
            [&[0x83, 0x86][..], &written, &[0x40], &string(b"te"), &string(b"trailers")].concat()
        } else {
            vec![0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]
        };
        let stream = self.stream;
        self.stream += 2;
        self.frame(HEADERS, END_HEADERS, stream, &block).await;
        let length = (message.len() as u32).to_be_bytes();
        self.frame(DATA, END_STREAM, stream, &[&[0], &length[..], message].concat()).await;
        timeout(TIMEOUT, self.answer(stream)).await.expect("an answer")
    }

    async fn answer(&mut self, stream: u32) -> Vec<u8> {
        let mut answer = Vec::new();
        loop {
            let mut head = [0; 9];
            self.io.read_exact(&mut head).await.expect("the connection stays");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.io.read_exact(&mut payload).await.unwrap();
            let (kind, flags, about) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            assert!(kind != 3 && kind != 7, "the replica refused stream {about}: {kind} {payload:?}");
            if about == stream && kind == DATA {
                answer.extend(payload);
            }
            if about == stream && flags & END_STREAM != 0 {
                return answer.split_off(5);
            }
        }
    }

    /// Asserts that the replica routes the first and later requests of this connection.
    async fn assert_is_served(&mut self) {
        for _ in 0..3 {
            let answer = self.ask(PROCESS, &get().encode_to_vec()).await;
            let answer = ProcessingResponse::decode(&answer[..]).unwrap();
            assert!(matches!(answer.response, Some(Response::RequestHeaders(_))), "{answer:?}");
        }
    }
}

/// Accepts any certificate, as a gateway does with `insecureSkipVerify`.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_gateway_that_sends_its_clusters_name_is_served() {
    let replica = Replica::start(Config::default(), &POOL).await;
    let socket = TcpStream::connect(replica.addresses().ext_proc).await.unwrap();
    Proxy::connected(socket).await.assert_is_served().await;
    replica.until_metric("murmuration_authorities_repaired_total", 1).await;
}

#[tokio::test]
async fn a_gateway_that_sends_its_clusters_name_is_served_over_tls() {
    let replica = Replica::start(Config { tls: Tls::SelfSigned, ..Config::default() }, &POOL).await;
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(ring::default_provider())))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(replica.addresses().ext_proc).await.unwrap();
    let name = ServerName::try_from("picker.ns.svc.cluster.local").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    Proxy::connected(stream).await.assert_is_served().await;
    replica.until_metric("murmuration_authorities_repaired_total", 1).await;
}

#[tokio::test]
async fn a_prober_that_sends_its_clusters_name_gets_the_health() {
    let replica = Replica::start(Config::default(), &POOL).await;
    let socket = TcpStream::connect(replica.addresses().health).await.unwrap();
    let mut prober = Proxy::connected(socket).await;
    for _ in 0..2 {
        assert_eq!(prober.ask(CHECK, b"").await, [0x08, 0x01], "SERVING");
    }
}
