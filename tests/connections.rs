//! What foreign_traffic on the ports of a replica can't do: hold its places, or read what is not for them.
//!
//! | port | rule | test |
//! |---|---|---|
//! | admin | half requests hold a bounded number of places, and those are free again | `half_requests_of_one_address_leave_room_and_their_places_come_back` |
//! | all | who does not speak the port's language is sent away | `who_says_nothing_of_http2_is_sent_away` (deadline: `connection/repaired_tests.rs`) |
//! | ext-proc | handshakes that never end delay no other | `idle_tls_connections_delay_nobody` |
//! | admin | debug pages are for this machine | `actors/src/admin/pages_server.rs`, `access.rs` |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use murmuration_actors::admin::client;
use murmuration_actors::replica::Tls;
use support::{Config, PATIENCE, Replica};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const POOL: [&str; 1] = ["127.0.0.1:7"];

#[tokio::test]
async fn half_requests_of_one_address_leave_room_and_their_places_come_back() {
    let replica = Replica::start(Config::default(), &POOL).await;
    let admin = replica.addresses().admin;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut half = TcpStream::connect(admin).await.unwrap();
        half.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        held.push(half);
    }
    // Those that found no place are told so by a closed connection.
    replica.until_metric("murmuration_connections_closed_total", 200 - 128).await;
    drop(held);
    let asked = async {
        while client::fetch(admin, "/metrics").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asked).await.expect("the places are free again");
}

#[tokio::test]
async fn who_says_nothing_of_http2_is_sent_away() {
    let replica = Replica::start(Config::default(), &POOL).await;
    for port in [replica.addresses().ext_proc, replica.addresses().health] {
        let mut stranger = TcpStream::connect(port).await.unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let told = timeout(PATIENCE, stranger.read_to_end(&mut Vec::new())).await;
        told.expect("the connection ends").ok();
    }
}

#[tokio::test]
async fn idle_tls_connections_delay_nobody() {
    let replica = Replica::start(Config { tls: Tls::SelfSigned, ..Config::default() }, &POOL).await;
    let at = replica.addresses().ext_proc;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(at).await.unwrap());
    }
    // One more than the quota of an address takes the place of the oldest, and does not wait for it.
    replica.until_metric("murmuration_connections_closed_total", 300 - 64).await;
    let ended = timeout(PATIENCE, idle[0].read_to_end(&mut Vec::new())).await;
    ended.expect("the oldest is gone").ok();
}
